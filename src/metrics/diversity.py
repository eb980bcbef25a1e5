"""SSIM diversity: how alike the images of a set are to each other."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW = 11  # pixels a side of the Gaussian window in which structure is compared
SIGMA = 1.5  # of that window, in pixels
STABILISERS = 0.01**2, 0.03**2  # of luminance and contrast, for images in [0, 1]
CHUNK = 32  # pairs compared at once


def mean_pairwise_ssim(images: Tensor, pairs: int = 500) -> float:
    """Mean structural similarity (Wang et al., 2004) over pairs of different images; 1 where all are the same.

    The windows are those that lie within the image, as in Wang's definition; a smaller image has none.

    Generated images that are more alike than real ones are a sign of mode collapse (Odena et al., 2017, section 4.2).

    Args:
        images: (N, C, H, W) in [0, 1], at least ``WINDOW`` px a side.
        pairs: how many pairs are drawn, always the same for the same N; all of them where there are fewer.

    Raises:
        ValueError: fewer than two images, or smaller ones than the window.
    """
    if len(images) < 2:
        raise ValueError("at least two images are needed to compare them")
    if min(images.shape[2:]) < WINDOW:
        raise ValueError(f"images of {tuple(images.shape[2:])} pixels are smaller than the window of {WINDOW}")
    combinations = torch.combinations(torch.arange(len(images)))
    drawn = combinations[torch.randperm(len(combinations), generator=torch.Generator().manual_seed(0))[:pairs]]
    means, squares = window_means(images), window_means(images.square())
    values = []
    for one, other in (chunk.unbind(1) for chunk in drawn.split(CHUNK)):
        products = window_means(images[one] * images[other])
        values.append(similarities_of_moments(means[one], means[other], squares[one], squares[other], products))
    return float(torch.cat(values).double().mean())


def similarities(images: Tensor, others: Tensor) -> Tensor:
    """(B,) structural similarity of pairs (B, C, H, W) in [0, 1]."""
    moments = (images, others, images.square(), others.square(), images * others)
    return similarities_of_moments(*map(window_means, moments))


def similarities_of_moments(
    mean_x: Tensor, mean_y: Tensor, square_x: Tensor, square_y: Tensor, product: Tensor
) -> Tensor:
    """(B,) from the means of x, y, x², y² and xy in all windows."""
    luminance, contrast = STABILISERS
    both, sum_of_squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    covariance, variances = product - both, square_x + square_y - sum_of_squares
    above = (2 * both + luminance) * (2 * covariance + contrast)
    return (above / ((sum_of_squares + luminance) * (variances + contrast))).mean((1, 2, 3))


def window_means(images: Tensor) -> Tensor:
    """Gaussian means in all windows, (…, H, W) → (…, H - 10, W - 10); as products of matrices, the fastest way."""
    height, width = (_windows(side).to(images) for side in images.shape[-2:])
    return height @ images @ width.T


def _windows(side: int) -> Tensor:
    """(side - 10, side): in every row the weights of a window, one pixel further than in the row before."""
    weights = torch.exp(-((torch.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    places = torch.arange(side - WINDOW + 1)[:, None] + torch.arange(WINDOW)
    return torch.zeros(len(places), side).scatter_(1, places, (weights / weights.sum()).expand(len(places), -1))
