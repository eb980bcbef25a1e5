"""What every score of feature vectors asks of them."""

from __future__ import annotations

from torch import Tensor

from src.core.errors import UserError


def check_features(features: Tensor, name: str = "") -> Tensor:
    """The (N, D) features in float64; ``name`` ("real", "generated") says of which images.

    Raises:
        ValueError: they are not a matrix.
        UserError: one is not finite.
    """
    if features.ndim != 2:
        raise ValueError(f"features are (images, values), got the shape {tuple(features.shape)}")
    finite = features.isfinite().all(1)
    if not finite.all():
        images = f"{name} image".strip()
        raise UserError(
            f"the features of {images} {int(finite.int().argmin())} are not finite: the images are broken, or their "
            "generator or the network that gives the features has diverged: score an earlier checkpoint"
        )
    return features.double()


def check_pair(real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
    """The (N, D) and (M, D) features in float64; errors are those of :func:`check_features`, or of unlike D."""
    real, generated = check_features(real, "real"), check_features(generated, "generated")
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"features of {real.shape[1]} and of {generated.shape[1]} values are of different spaces")
    return real, generated
