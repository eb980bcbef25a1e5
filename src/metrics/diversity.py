"""SSIM diversity: how alike the images of a set are to each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

WINDOW = 11  # pixels a side of the window in which structure is compared


def mean_pairwise_ssim(images: Tensor, pairs: int = 500) -> float:
    """Mean structural similarity (Wang et al., 2004) over pairs of different images; 1 where all are the same.

    Generated images that are more alike than real ones are a sign of mode collapse (Odena et al., 2017, section 4.2).

    Args:
        images: (N, C, H, W) in [0, 1], at least ``WINDOW`` px a side.
        pairs: how many pairs are drawn, always the same for the same N; all of them where there are fewer.

    Raises:
        ValueError: fewer than two images.
    """
    if len(images) < 2:
        raise ValueError("at least two images are needed to compare them")
    combinations = torch.combinations(torch.arange(len(images)))
    drawn = combinations[torch.randperm(len(combinations), generator=torch.Generator().manual_seed(0))[:pairs]]
    values = [
        structural_similarity_index_measure(images[chunk[:, 0]], images[chunk[:, 1]], data_range=1.0, reduction="sum")
        for chunk in drawn.split(64)
    ]
    return float(torch.stack([torch.as_tensor(value) for value in values]).sum() / len(drawn))
