"""SSIM diversity: how alike the images of a set are to each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

WINDOW = 11  # pixels a side of the Gaussian window, σ = 1.5, in which structure is compared
BORDER = WINDOW // 2


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
    values = [similarities(images[chunk[:, 0]], images[chunk[:, 1]]) for chunk in drawn.split(64)]
    return float(torch.cat(values).double().mean())


def similarities(images: Tensor, others: Tensor) -> Tensor:
    """(B,) structural similarity of pairs (B, C, H, W) in [0, 1]."""
    _, places = structural_similarity_index_measure(images, others, data_range=1.0, return_full_image=True)
    return places[..., BORDER:-BORDER, BORDER:-BORDER].mean((1, 2, 3))  # the rest has seen the image mirrored
