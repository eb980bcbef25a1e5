from __future__ import annotations

import pytest
import torch

from src.metrics import renyi
from src.metrics.renyi import bandwidth_of, renyi_kernel_entropy


def kinds(count: int, each: int) -> torch.Tensor:
    """``count`` kinds of image, far apart, ``each`` times, all a little different."""
    centres = 100 * torch.eye(count).repeat_interleave(each, 0)
    return centres + 0.1 * torch.randn(centres.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_it_counts_kinds_of_image_that_are_equally_frequent(count):
    assert renyi_kernel_entropy(kinds(count, 20), bandwidth=10.0) == pytest.approx(count, rel=5e-3)


def test_it_equals_its_definition_in_any_number_of_blocks(monkeypatch):
    features = torch.randn(37, 5, dtype=torch.float64)
    kernel = torch.exp(-torch.cdist(features, features).square() / (2 * 1.5**2)) / len(features)
    for block in (50, 2**24):
        monkeypatch.setattr(renyi, "BLOCK", block)
        assert renyi_kernel_entropy(features, 1.5) == pytest.approx(float(1 / kernel.square().sum()))


def test_kinds_that_are_rare_count_less():
    uneven = torch.cat([kinds(2, 50)[:50], kinds(2, 50)[50:55]])
    assert 1 < renyi_kernel_entropy(uneven, 10.0) < 1.3


def test_the_bandwidth_tells_kinds_apart_and_is_never_0():
    assert renyi_kernel_entropy(kinds(5, 20), bandwidth_of(kinds(5, 20))) == pytest.approx(5, rel=0.1)
    assert bandwidth_of(torch.ones(9, 3)) == 1.0 == bandwidth_of(torch.ones(1, 3))
