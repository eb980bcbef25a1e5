from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.score_intervals import Setting, simulate
from src.metrics import intervals, kernel
from src.metrics.frechet import frechet_distance, mean_and_covariance
from src.metrics.intervals import (
    Resampled,
    differs,
    halves,
    interval,
    over_cases,
    resampled_class_scores,
    resampled_frechet_distance,
    resampled_kernel_distance,
)
from src.metrics.kernel import kernel_distance
from src.metrics.probabilities import am_score, am_score_of


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def features_of(n: int, d: int, generator: torch.Generator, mean: float = 0.0) -> torch.Tensor:
    return torch.randn(n, d, generator=generator, dtype=torch.float64) + mean


def test_a_half_has_half_the_cases_with_all_their_images():
    groups = torch.tensor([0, 1, 1, 2, 3, 3, 3])
    for half in halves(groups, 50, seed=0):
        kept = groups[half].unique()
        assert len(kept) == 2 and torch.equal(half, torch.isin(groups, kept))
    assert torch.equal(halves(groups, 5, 1), halves(groups, 5, 1))
    assert not torch.equal(halves(groups, 5, 1), halves(groups, 5, 2))


@pytest.mark.parametrize(("found", "total"), [(8, None), (9, None), (20, 60)])
def test_means_over_halves_vary_as_the_mean_of_independent_cases_does(generator, found, total):
    values = features_of(found, 1, generator)[:, 0]
    kept = halves(torch.arange(found), 20_000, 0, total).double()
    spread = (kept @ values / kept.sum(1)).var()
    assert float(spread) == pytest.approx(float(values.var()) / (total or found), rel=0.05)


def test_an_interval_has_as_many_degrees_of_freedom_as_cases_less_one():
    values = torch.tensor([1.0, 2.0, 3.0])  # standard deviation 1
    resampled = Resampled(values, 9)
    reach = float(stats.t.ppf(0.975, 8))
    assert interval(5.0, resampled, positive=False) == pytest.approx((5 - reach, 5 + reach))
    low, high = interval(5.0, resampled) or (0, 0)
    assert (low, high) == pytest.approx((5 * math.exp(-reach / 5), 5 * math.exp(reach / 5)))
    low, high = interval(0.01, resampled) or (0, 0)
    assert 0 <= low < 1e-9 and high == pytest.approx(0.01 + (math.e - 1) * reach)
    assert interval(5.0, Resampled(values, 1)) is None and interval(math.inf, resampled) is None
    assert interval(5.0, Resampled(torch.tensor([1.0, math.nan]), 9)) is None
    assert interval(0.0, resampled) == (0, pytest.approx((math.e - 1) * reach))


def test_what_moves_two_scores_alike_hides_no_difference_between_them():
    common, own = torch.tensor([-9.0, 0.0, 9.0]), torch.tensor([-0.1, 0.2, -0.1])  # own: standard deviation 0.173
    pair = Resampled(common + own, 9), Resampled(common, 9)
    assert differs(5.0, pair[0], 4.5, pair[1]) and not differs(5.0, pair[0], 4.7, pair[1])  # 2.306 × 0.173 = 0.40


@pytest.mark.parametrize("d", [4, 40])  # fewer features than a half has images, and more
def test_resampled_scores_are_those_of_the_images_in_each_half(generator, monkeypatch, d):
    for module in (kernel, intervals):
        monkeypatch.setattr(module, "ROWS", 7)
    real, made = features_of(30, d, generator), features_of(26, d, generator, 0.4)
    real[:, 1] = made[:, 1] = 1.0  # a dead feature
    kept = halves(torch.arange(30) // 2, 6, 0), halves(torch.arange(26), 6, 1)
    pairs = [(real[a], made[b]) for a, b in zip(*kept, strict=True)]

    each = [float(frechet_distance(*mean_and_covariance(a), *mean_and_covariance(b))) for a, b in pairs]
    assert resampled_frechet_distance(real, made, *kept).tolist() == pytest.approx(each, rel=1e-3)
    each = [float(kernel_distance(a, b)) for a, b in pairs]
    assert resampled_kernel_distance(real, made, *kept).tolist() == pytest.approx(each, rel=1e-9)
    found = resampled_class_scores({"am": am_score_of}, real.softmax(1), made.softmax(1), *kept)["am"]
    each = [float(am_score(b.softmax(1), a.softmax(1))) for a, b in pairs]
    assert found.tolist() == pytest.approx(each, rel=1e-9)


def test_intervals_hold_the_mean_score_of_other_patients_and_images():
    """As intervals over the generated images alone did 67 times in 100."""
    for name, held, _, _ in simulate(Setting(12, 8, 100, 16, True), 40):
        assert held >= 0.85, name


def test_the_interval_of_held_out_images_counts_cases_and_stays_within_0_and_1(generator):
    def mean_of(values: torch.Tensor):
        return lambda chosen: values[chosen].mean().item()

    values = torch.rand(40, generator=generator) * 0.5
    low, high = over_cases(mean_of(values), [str(n) for n in range(40)])
    reach = stats.t.ppf(0.975, 39) * values.std().item() / 40**0.5
    assert high - low == pytest.approx(2 * reach, rel=0.15) and low < values.mean() < high
    copied = over_cases(mean_of(values.repeat(4)), [str(n) for n in range(40)] * 4)  # four images of each case
    assert copied == pytest.approx((low, high), rel=0.05)
    near = 1 - values / 5
    near[0] = 0
    assert over_cases(mean_of(near), [str(n) for n in range(40)])[1] <= 1
    assert over_cases(mean_of(values), ["one"] * 40) is None
    assert over_cases(mean_of(0.7 + torch.arange(40.0).double() * 1e-9), [str(n) for n in range(40)]) is None


def test_the_interval_of_an_auc_near_1_holds_that_of_other_cases():
    """As intervals on a line did 84 times in 100."""
    draws, held, difference = np.random.default_rng(0), [], 2.5
    truth = stats.norm.cdf(difference / 2**0.5)
    label = np.arange(60) % 2
    for _ in range(100):
        values = draws.standard_normal(60) + difference * label

        def area(chosen: torch.Tensor, values=values) -> float:
            ours, theirs = (values[chosen][label[chosen] == kind] for kind in (1, 0))
            return (ours[:, None] > theirs).mean() if len(ours) and len(theirs) else np.nan

        if ends := over_cases(area, [str(n) for n in range(60)]):  # None where no case is taken for another kind's
            held.append(ends[0] <= truth <= ends[1])
    assert len(held) > 90 and np.mean(held) >= 0.92
