"""Kernel distance between real and generated images' features (KID where the features are InceptionV3's)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_kernel

from src.core.errors import UserError
from src.metrics.features import check_pair

ROWS = 1024  # of the kernel matrix held at a time


def kernel_distance(features_a: Tensor, features_b: Tensor) -> Tensor:
    """Unbiased squared MMD (Gretton et al., 2012, equation 3), kernel (x·y / D + 1)³ (Bińkowski et al., 2018).

    Args:
        features_a, features_b: (N, D) and (M, D), N and M ≥ 2.

    Returns:
        () float64; about 0, also below it, for two samples of one distribution, whatever N.

    Raises:
        UserError: fewer than two images on a side.
    """
    features_a, features_b = check_pair(features_a, features_b)
    if min(len(features_a), len(features_b)) < 2:
        raise UserError(
            f"the kernel distance needs at least 2 images a set, got {len(features_a)} and {len(features_b)}: "
            "score more of them"
        )
    between = sum(poly_kernel(rows, features_b).sum() for rows in features_a.split(ROWS))
    pairs = len(features_a) * len(features_b)
    return mean_within(features_a) + mean_within(features_b) - 2 * torch.as_tensor(between) / pairs


def subset_kernel_distance(
    real: Tensor, generated: Tensor, subset_size: int = 1000, subsets: int = 100, seed: int = 0
) -> Tensor:
    """Mean of :func:`kernel_distance` over random subsets, as KID is reported (Bińkowski et al., 2018).

    Args:
        real, generated: (N, D) and (M, D) features.
        subset_size: images of each set in a subset, drawn without replacement.
        subsets: how many are drawn.
        seed: decides which.

    Returns:
        () float64.

    Raises:
        UserError: a set has fewer images than ``subset_size``, or that is less than 2.
    """
    for name, features in (("real", real), ("generated", generated)):
        if len(features) < subset_size:
            raise UserError(
                f"the kernel distance has {len(features)} {name} images for subset_size={subset_size}: "
                f"score more images or lower subset_size to at most {len(features)}"
            )
    real, generated = check_pair(real, generated)
    generator = torch.Generator().manual_seed(seed)

    def subset(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=generator)[:subset_size].to(features.device)]

    return torch.stack([kernel_distance(subset(real), subset(generated)) for _ in range(subsets)]).mean()


def self_kernel(features: Tensor) -> Tensor:
    """(N,): the kernel of each image with itself."""
    return (features.square().mean(1) + 1) ** 3


def mean_within(features: Tensor) -> Tensor:
    """Mean of the kernel over pairs of different images of one set."""
    total = sum(poly_kernel(rows, features).sum() for rows in features.split(ROWS))
    return (torch.as_tensor(total) - self_kernel(features).sum()) / (len(features) * (len(features) - 1))
