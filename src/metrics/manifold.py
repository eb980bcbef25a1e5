"""Whether generated images lie among the real ones, and whether they cover them: nearest-neighbour scores of features.

A set's manifold is the union of balls around its images, each reaching to the image's k-th neighbour in the set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from src.core.errors import UserError
from src.metrics.features import check_pair

BLOCK = 2**24  # distances held at a time, 128 MiB


class PrecisionRecall(NamedTuple):
    precision: float  # share of generated images on the manifold of the real ones: fidelity
    recall: float  # share of real images on the manifold of the generated ones: diversity


class DensityCoverage(NamedTuple):
    density: float  # real balls around a generated image, in units of k; may exceed 1
    coverage: float  # share of real images with a generated one in their ball


def precision_recall(real: Tensor, generated: Tensor, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al., 2019, equations 1 and 2), each between 0 and 1.

    Args:
        real, generated: (N, D) and (M, D) features. Both scores depend on N and M: compare at the same only.
        k: nearest neighbour to which a ball reaches, the image itself not counted.

    Raises:
        UserError: a set has no more than k images.
    """
    real, generated = check_sets(real, generated, k)
    return PrecisionRecall(
        precision=_share_inside(generated, real, squared_radii_of(real, k)),
        recall=_share_inside(real, generated, squared_radii_of(generated, k)),
    )


def density_coverage(real: Tensor, generated: Tensor, k: int = 5) -> DensityCoverage:
    """Density and coverage (Naeem et al., 2020, section 3), which outliers move less than precision and recall.

    Arguments and errors are those of :func:`precision_recall`, but that the generated set may be of any size.
    """
    real, generated = check_sets(real, generated, k, generated_too=False)
    balls = 0
    covered = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for block in inside(generated, real, squared_radii_of(real, k)):
        balls += int(block.sum())
        covered |= block.any(0)
    return DensityCoverage(density=balls / (k * len(generated)), coverage=float(covered.double().mean()))


def _share_inside(points: Tensor, centres: Tensor, squared_radii: Tensor) -> float:
    """Share of the points that lie in any of the balls."""
    return sum(int(block.any(1).sum()) for block in inside(points, centres, squared_radii)) / len(points)


def inside(points: Tensor, centres: Tensor, squared_radii: Tensor) -> Iterator[Tensor]:
    """For a block of points at a time: (points, centres), whether the point lies in the ball, its surface included."""
    for squared in _squared_distances(points, centres, least=True):
        yield squared <= squared_radii


def squared_radii_of(features: Tensor, k: int) -> Tensor:
    """(N,): from each image to its k-th nearest neighbour, the first being the image itself."""
    return torch.cat([squared.kthvalue(k + 1).values for squared in _squared_distances(features, features)])


def _squared_distances(points: Tensor, centres: Tensor, least: bool = False) -> Iterator[Tensor]:
    """For a block of points at a time: the most, or the ``least``, that (points, centres) may be apart.

    Between the two lies the rounding of this pair, (D + 4) ε (‖x‖² + ‖y‖²) at most (Higham, 2002, section 3.1), so that
    a copy of an image is at distance 0 and the k-th neighbour on the sphere. Seen from the centres' median, norms are
    small, and an outlier widens its own distances alone.
    """
    middle = centres.median(0).values
    points, centres = points - middle, centres - middle
    rounding = (points.shape[1] + 4) * torch.finfo(points.dtype).eps * (-1 if least else 1)
    norms = (1 + rounding) * centres.square().sum(1)
    for rows in points.split(max(1, BLOCK // len(centres))):
        yield (1 + rounding) * rows.square().sum(1, keepdim=True) + norms - 2 * rows @ centres.T


def check_sets(real: Tensor, generated: Tensor, k: int, generated_too: bool = True) -> tuple[Tensor, Tensor]:
    """Both in float64. Raises UserError where one has no more than k images; of the generated, if ``generated_too``."""
    real, generated = check_pair(real, generated)
    for name, features, least in (("real", real, k + 1), ("generated", generated, k + 1 if generated_too else 1)):
        if len(features) < least:
            raise UserError(
                f"{len(features)} {name} images are too few for the nearest neighbours up to k={k}: "
                f"score at least {least}, or lower k"
            )
    return real, generated
