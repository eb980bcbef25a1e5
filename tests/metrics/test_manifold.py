from __future__ import annotations

import numpy as np
import pytest
import torch

from src.core.errors import UserError
from src.metrics import manifold
from src.metrics.manifold import density_coverage, precision_recall


def features_of(n: int, seed: int, mean: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed)) + mean


def line(*points: float) -> torch.Tensor:
    return torch.tensor(points)[:, None]


def naive(real: torch.Tensor, generated: torch.Tensor, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage, one pair at a time."""

    def radius(x: torch.Tensor, i: int) -> float:
        return sorted(float((x[i] - x[j]).norm()) for j in range(len(x)) if j != i)[k - 1]

    def inside(points: torch.Tensor, centres: torch.Tensor) -> list[list[bool]]:
        radii = [radius(centres, i) for i in range(len(centres))]
        return [[float((p - c).norm()) <= r for c, r in zip(centres, radii, strict=True)] for p in points]

    def mean(values: list) -> float:
        return sum(values) / len(values)

    of_generated, of_real = inside(generated, real), inside(real, generated)
    return (
        mean([any(row) for row in of_generated]),
        mean([any(row) for row in of_real]),
        sum(map(sum, of_generated)) / (k * len(generated)),
        mean([any(column) for column in zip(*of_generated, strict=True)]),
    )


@pytest.mark.parametrize("block", [100, 2**24])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_they_equal_naive_loops_over_pairs_in_any_number_of_blocks(monkeypatch, k, block):
    monkeypatch.setattr(manifold, "BLOCK", block)
    real, generated = features_of(31, 0), features_of(23, 1, 0.7)
    found = (*precision_recall(real, generated, k), *density_coverage(real, generated, k))
    expected = naive(real, generated, k)
    assert found == pytest.approx(expected)
    assert all(0 < value < 1 for value in expected[:2])


def test_hand_made_points_have_the_scores_of_their_drawing():
    real = line(0, 1, 2, 10)  # balls of k = 1: [-1, 1], [0, 2], [1, 3], [2, 18]
    generated = line(0.5, 17, -5)  # balls: [-5, 6], [0.5, 33.5], [-10.5, 0.5]
    assert precision_recall(real, generated, k=1) == (2 / 3, 1)
    assert density_coverage(real, generated, k=1) == (3 / 3, 3 / 4)


@pytest.mark.parametrize("copies", [1, 5])
def test_identical_sets_score_1_also_where_images_repeat(monkeypatch, copies):
    monkeypatch.setattr(manifold, "BLOCK", 1000)
    generator = torch.Generator().manual_seed(0)
    far = 1000 * torch.rand(64, generator=generator)  # where distances lose the most digits
    real = (far + torch.randn(101, 64, generator=generator)).repeat(copies, 1)
    assert precision_recall(real, real.clone()) == (1, 1)
    density, coverage = density_coverage(real, real.flip(0), k=3)
    assert coverage == 1
    # A ball holds its image and its 3 neighbours, the third on the surface; with copies, the 5 at distance 0.
    assert density == pytest.approx(max(4, copies) / 3)


def drawn(n: int, seed: int, mean: float) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 16)) * 0.9 + mean)


OUTLIER = torch.eye(16, dtype=torch.float64)[:1] * 1e6


@pytest.mark.parametrize(
    ("real", "generated", "expected"),  # precision, recall (k = 3), density, coverage (k = 5)
    [
        (drawn(60, 1, 0), drawn(50, 2, 0.25), (0.74, 0.85, 0.7, 0.9166667)),  # of the package prdc 0.2
        (drawn(60, 1, 0) + 1e4, drawn(50, 2, 0.25) + 1e4, (0.74, 0.85, 0.7, 0.9166667)),
        # of scipy's cdist, which takes the difference of each pair
        (torch.cat([drawn(60, 1, 0), OUTLIER]), drawn(50, 2, 0.25), (0.78, 0.8360656, 0.736, 0.9180328)),
        (drawn(60, 1, 0), torch.cat([drawn(50, 2, 0.25), OUTLIER]), (0.7254902, 0.85, 0.6862745, 0.9166667)),
    ],
    ids=["plain", "offset", "a real outlier", "a generated outlier"],
)
def test_an_offset_or_an_outlier_of_the_features_changes_no_other_pair(real, generated, expected):
    found = (*precision_recall(real, generated, 3), *density_coverage(real, generated, 5))
    assert found == pytest.approx(expected, abs=1e-6)


def test_sets_far_apart_score_0():
    assert precision_recall(features_of(30, 0), features_of(30, 1, 100)) == (0, 0)
    assert density_coverage(features_of(30, 0), features_of(30, 1, 100)) == (0, 0)


def test_a_collapsed_generator_is_precise_and_covers_little():
    real = features_of(200, 0)
    collapsed = real[:1] + 0.01 * features_of(200, 1)
    found = precision_recall(real, collapsed)
    assert found.precision > 0.99
    assert found.recall < 0.05
    assert density_coverage(real, collapsed).coverage < 0.2


def test_samples_of_one_distribution_have_a_density_of_about_1():
    assert density_coverage(features_of(1000, 0), features_of(1000, 1)).density == pytest.approx(1, abs=0.1)


def test_too_few_images_for_their_neighbours_is_an_error_that_names_k():
    with pytest.raises(UserError, match=r"3 generated images are too few .* k=3: score at least 4, or lower k"):
        precision_recall(features_of(30, 0), features_of(3, 1))
    with pytest.raises(UserError, match=r"5 real images are too few .* k=5: score at least 6"):
        density_coverage(features_of(5, 0), features_of(30, 1))


def test_density_and_coverage_take_a_single_generated_image():
    assert density_coverage(line(0, 1, 3), line(0.5), k=1) == (2 / 1, 2 / 3)
