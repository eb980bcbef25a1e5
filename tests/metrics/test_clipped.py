"""Clipped density and coverage against their definitions, and the properties that they are made for."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import betabinom

from src.metrics.clipped import clipped_density_coverage, expected_coverage


def cloud(n: int, seed: int, centre: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed)) + centre


def naive(real: torch.Tensor, generated: torch.Tensor, k: int) -> tuple[float, float]:
    """By loops over pairs, as the paper writes them."""

    def distance(x: torch.Tensor, y: torch.Tensor) -> float:
        return float((x - y).norm())

    n, m = len(real), len(generated)
    radii = [sorted(distance(real[i], real[j]) for j in range(n) if j != i)[k - 1] for i in range(n)]
    median = float(torch.tensor(radii).quantile(0.5))
    balls = [min(radius, median) for radius in radii]

    def fidelity(points: torch.Tensor, own: bool) -> float:
        counts = [
            sum(distance(points[j], real[i]) <= balls[i] for i in range(n) if not (own and i == j))
            for j in range(len(points))
        ]
        return sum(min(count / k, 1) for count in counts) / len(counts)

    reached = [min(sum(distance(real[i], g) <= radii[i] for g in generated) / k, 1) for i in range(n)]
    coverage, expected = sum(reached) / n, [0.0] * (m + 1)
    for good in range(m + 1):
        law = betabinom(good, k, n - k)
        expected[good] = sum(min(j, k) * law.pmf(j) for j in range(good + 1)) / k
    share = next((good for good in range(m + 1) if expected[good] >= coverage), m) / m
    return min(fidelity(generated, False) / fidelity(real, True), 1.0), share


@pytest.mark.parametrize("k", [1, 3, 5])
def test_they_equal_naive_loops_over_pairs(k):
    real, generated = cloud(29, 0), torch.cat([cloud(17, 1, 0.5), cloud(4, 2, 9.0)])
    assert clipped_density_coverage(real, generated, k) == pytest.approx(naive(real, generated, k))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_of_a_set_of_which_a_share_is_good_both_are_that_share(share):
    good = round(800 * share)
    generated = torch.cat([cloud(good, 1), cloud(800 - good, 2, 100.0)])
    assert clipped_density_coverage(cloud(600, 0), generated) == pytest.approx((share, share), abs=0.1)


def test_a_generator_of_one_of_two_kinds_is_faithful_and_covers_half():
    real = torch.cat([cloud(300, 0), cloud(300, 1, 50.0)])
    found = clipped_density_coverage(real, cloud(600, 2))
    assert found.clipped_density > 0.95 and 0.3 < found.clipped_coverage < 0.55


def test_real_outliers_take_no_bad_image_for_a_good_one():
    real = torch.cat([cloud(195, 0), 100 * cloud(5, 1)])  # five balls that reach everywhere
    assert clipped_density_coverage(real, cloud(200, 2, 20.0)).clipped_density < 0.02


def test_the_expected_coverage_is_that_of_images_drawn_as_the_real_ones():
    draws = []
    for seed in range(60):
        real, drawn = torch.rand(2, 40, 1, generator=torch.Generator().manual_seed(seed))
        radii = (real - real.T).abs().kthvalue(4, 1).values  # k = 3, the first being itself
        draws.append(float(((real - drawn.T).abs() <= radii[:, None]).sum(1).clamp(max=3).double().mean()) / 3)
    mean = sum(draws) / len(draws)
    error = math.sqrt(sum((d - mean) ** 2 for d in draws)) / len(draws)
    assert expected_coverage(40, 40, 3)[-1] == pytest.approx(mean, abs=3 * error)
