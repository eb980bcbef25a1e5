"""How alike images are, every one of a set to every one of another: SSIM, squared error, correlation, histograms."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from src.metrics.diversity import WINDOW, similarities_of_moments, window_means

BINS = 64  # of a channel's histogram
ROWS = 8  # images of the other set compared at once: what they take stays in the cache of the processor


def ssim(images: Tensor, others: Tensor) -> Tensor:
    """(N, M) structural similarity (Wang et al., 2004), with images mirrored at their edges, as torchmetrics has it.

    Equal to ``torchmetrics.functional.image.structural_similarity_index_measure`` with ``data_range=1`` of every pair;
    the windows' means are products of matrices, and those of each image are computed once.

    Raises:
        ValueError: images smaller than the window.
    """
    if min(images.shape[2:]) < WINDOW:
        raise ValueError(f"images of {tuple(images.shape[2:])} pixels are smaller than the window of {WINDOW}")
    images, others = _padded(images), _padded(others)
    found = []
    for block in others.split(ROWS):
        mean, square = window_means(block), window_means(block.square())
        rows = []
        for image in images.split(1):
            product = window_means(image * block)
            moments = window_means(image), mean, window_means(image.square()), square, product
            rows.append(similarities_of_moments(*moments))
        found.append(torch.stack(rows))
    return torch.cat(found, 1)


def mean_squared_error(images: Tensor, others: Tensor) -> Tensor:
    """(N, M) mean over all pixels of the squared difference."""
    one, other = images.flatten(1), others.flatten(1)
    squares = one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T
    return squares.clamp(min=0) / one.shape[1]


def peak_signal_to_noise(images: Tensor, others: Tensor) -> Tensor:
    """(N, M) PSNR in dB of images in [0, 1]; at most 100, where they are the same."""
    return -10 * mean_squared_error(images, others).clamp(min=1e-10).log10()


def correlation(images: Tensor, others: Tensor) -> Tensor:
    """(N, M) Pearson's correlation of the pixels; 0 with an image of one value."""

    def normalised(batch: Tensor) -> Tensor:
        flat = batch.flatten(1)
        return F.normalize(flat - flat.mean(1, keepdim=True), dim=1)

    return normalised(images) @ normalised(others).T


def histogram_distance(images: Tensor, others: Tensor) -> Tensor:
    """(N, M) Hellinger distance of the brightness histograms, 0 to 1: √(1 − Σ √(pq)), mean over the channels of Σ."""

    def roots(batch: Tensor) -> Tensor:
        places = (batch.flatten(2) * BINS).long().clamp(0, BINS - 1)
        counts = torch.zeros(*batch.shape[:2], BINS).scatter_add_(2, places, torch.ones(places.shape))
        return (counts / places.shape[2] / batch.shape[1]).sqrt().flatten(1)

    return (1 - roots(images) @ roots(others).T).clamp(min=0).sqrt()


class Measure(NamedTuple):
    title: str
    compare: Callable[[Tensor, Tensor], Tensor]  # (N, C, H, W) and (M, C, H, W) in [0, 1] → (N, M)
    higher: bool  # whether more of it means more alike


MEASURES = {
    "ssim": Measure("SSIM", ssim, True),
    "mse": Measure("MSE", mean_squared_error, False),
    "psnr": Measure("PSNR", peak_signal_to_noise, True),
    "correlation": Measure("correlation", correlation, True),
    "histogram": Measure("histogram distance", histogram_distance, False),
}


def _padded(images: Tensor) -> Tensor:
    return F.pad(images, (WINDOW // 2,) * 4, mode="reflect")
