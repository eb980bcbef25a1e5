"""Fréchet distance between real and generated images' features (FID where the features are InceptionV3's)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from src.core.errors import UserError
from src.metrics.features import check_features
from src.metrics.two_sided import TwoSidedMetric


def frechet_distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> Tensor:
    """‖μ_a − μ_b‖² + Tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½) of two Gaussians (Dowson and Landau, 1982; Heusel et al., 2017).

    The trace of the root is taken from Σ_a^½ Σ_b Σ_a^½, which has the same eigenvalues as Σ_a Σ_b and is symmetric:
    the result is finite and real also for singular covariances, as of fewer images than features.

    Args:
        mean_a, mean_b: (D,).
        covariance_a, covariance_b: (D, D), symmetric and positive semi-definite.

    Returns:
        () float64, ≥ 0.

    Raises:
        UserError: a value is not finite.
    """
    for name, mean, covariance in (("first", mean_a, covariance_a), ("second", mean_b, covariance_b)):
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise UserError(
                f"the Fréchet distance's {name} mean or covariance is not finite: the features of an image are not"
            )
    mean_a, covariance_a, mean_b, covariance_b = (x.double() for x in (mean_a, covariance_a, mean_b, covariance_b))
    root = matrix_root(covariance_a)
    distance = (mean_a - mean_b).square().sum() + covariance_a.trace() + covariance_b.trace()
    return (distance - 2 * trace_of_root(root @ covariance_b @ root)).clamp(min=0)


def mean_and_covariance(features: Tensor, name: str = "") -> tuple[Tensor, Tensor]:
    """(D,) and unbiased (D, D), float64, of (N, D) features, N ≥ 2; errors are those of ``check_features``."""
    features = check_features(features, name)
    return features.mean(0), features.T.cov()


def matrix_root(matrix: Tensor) -> Tensor:
    """The symmetric root of a symmetric positive semi-definite (D, D) matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def trace_of_root(matrix: Tensor) -> Tensor:
    """Tr(M^½) of a symmetric positive semi-definite (D, D) matrix."""
    return torch.linalg.eigvalsh(matrix).clamp(min=0).sqrt().sum()


class FrechetDistance(TwoSidedMetric):
    """:func:`frechet_distance` of the features of all batches on all ranks; lower is better.

    It has an upward bias of about 1 / N in the number of images: compare values of the same N only.

    Args:
        num_features: D.
    """

    higher_is_better = False

    real_count: Tensor
    real_sum: Tensor  # (D,)
    real_products: Tensor  # (D, D)
    fake_count: Tensor
    fake_sum: Tensor  # (D,)
    fake_products: Tensor  # (D, D)

    def __init__(self, num_features: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for side in ("real", "fake"):
            self.add_state(f"{side}_count", torch.tensor(0), dist_reduce_fx="sum")
            self.add_state(f"{side}_sum", torch.zeros(num_features, dtype=torch.float64), dist_reduce_fx="sum")
            zeros = torch.zeros(num_features, num_features, dtype=torch.float64)
            self.add_state(f"{side}_products", zeros, dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool) -> None:
        """Add a batch of (N, D) features, N ≥ 0, of real or of generated images.

        Raises:
            UserError: a feature is not finite.
        """
        features = check_features(features, "real" if real else "generated")
        if real:
            self.real_count += len(features)
            self.real_sum += features.sum(0)
            self.real_products += features.T @ features
        else:
            self.fake_count += len(features)
            self.fake_sum += features.sum(0)
            self.fake_products += features.T @ features

    def compute(self) -> Tensor:
        """() float64.

        Raises:
            UserError: fewer than two images on a side.
        """
        return frechet_distance(
            *_moments(self.real_count, self.real_sum, self.real_products, "real"),
            *_moments(self.fake_count, self.fake_sum, self.fake_products, "generated"),
        )


def _moments(count: Tensor, total: Tensor, products: Tensor, name: str) -> tuple[Tensor, Tensor]:
    if count < 2:
        raise UserError(f"the Fréchet distance needs at least 2 {name} images, got {int(count)}: score more of them")
    mean = total / count
    return mean, (products - count * mean.outer(mean)) / (count - 1)
