"""Clipped density and clipped coverage: shares of good images that no single image moves far.

Salvy, Talbot and Thirion, "Enhanced Generative Model Evaluation with Clipped Density and Coverage", 2025
(arXiv 2507.01761, sections 4 and 5). Of a set of which a share x is as good as real and the rest far away, both are x.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from src.metrics.manifold import check_sets, inside, squared_radii_of


class ClippedDensityCoverage(NamedTuple):
    clipped_density: float  # between 0 and 1: fidelity
    clipped_coverage: float  # between 0 and 1: diversity


def clipped_density_coverage(real: Tensor, generated: Tensor, k: int = 5) -> ClippedDensityCoverage:
    """Both, each in units of what images that are as good as the real ones would have.

    *Density*: how many balls of real images an image lies in, at most k counted, none of them larger than the median
    ball; divided by the same of the real images, each in the others' balls. *Coverage*: how many generated images lie
    in a real image's ball, at most k counted; then the share of the generated images that, were they as good as real
    and all others nowhere, would be expected to reach as much.

    Args:
        real, generated: (N, D) and (M, D) features.
        k: nearest neighbour to which a ball reaches, the image itself not counted.

    Raises:
        UserError: there are no more than k real images.
    """
    real, generated = check_sets(real, generated, k, generated_too=False)
    radii = squared_radii_of(real, k)
    clipped = radii.clamp(max=float(radii.sqrt().quantile(0.5)) ** 2)
    # A real image lies in its own ball, which does not count.
    own = torch.cat([block.sum(1) for block in inside(real, real, clipped)]) - 1
    theirs = torch.cat([block.sum(1) for block in inside(generated, real, clipped)])
    density = _share(theirs, k) / _share(own, k)
    reached = sum(block.sum(0) for block in inside(generated, real, radii))
    assert isinstance(reached, Tensor)
    expected = expected_coverage(len(real), len(generated), k)
    good = int(torch.searchsorted(expected, _share(reached, k)))
    return ClippedDensityCoverage(min(density, 1.0), min(good, len(generated)) / len(generated))


@cache
def expected_coverage(real: int, generated: int, k: int) -> Tensor:
    """(M + 1,): the mean coverage, not yet calibrated, to expect of 0, 1, … M images drawn as the N real ones were.

    The share of a distribution in a ball that reaches from one of N images to its k-th neighbour is Beta(k, N − k), so
    that the number of m further images in it is beta-binomial; E min(J, k) / k follows from its first k terms.
    """
    good = torch.arange(generated + 1, dtype=torch.float64)
    a, b = float(k), float(real - k)
    missed = torch.zeros_like(good)
    for count in range(k):
        logarithm = (
            torch.lgamma(good + 1) - torch.lgamma(good - count + 1) - torch.lgamma(torch.tensor(count + 1.0))
            + torch.lgamma(torch.tensor(a + count)) + torch.lgamma(good - count + b) - torch.lgamma(good + a + b)
            - torch.lgamma(torch.tensor(a)) - torch.lgamma(torch.tensor(b, dtype=torch.float64))
            + torch.lgamma(torch.tensor(a + b, dtype=torch.float64))
        )  # fmt: skip
        missed += torch.where(good >= count, logarithm.exp() * (1 - count / k), 0.0)
    return 1 - missed


def _share(counts: Tensor, k: int) -> float:
    return float(counts.clamp(max=k).double().mean()) / k
