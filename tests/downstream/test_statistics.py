"""Intervals and p-values that hold what they promise, on made-up studies and against scipy."""

import numpy as np
import pytest
from scipy import stats

from src.downstream.statistics import (
    case_means,
    holm,
    holm_levels,
    mean_over_cases,
    paired_difference,
)
from src.errors import UserError

SEEDS, IMAGES = 3, 5  # of a made-up study: seeds, images of a case


def studies(count: int, cases: int, effect: float, seed: int, seed_spread: float = 0.008) -> list[float]:
    """The p-values of made-up studies: Dice of two arms that share how hard a case is, with seed and image noise."""
    random = np.random.default_rng(seed)
    names = np.repeat(np.arange(cases), IMAGES).astype(str).tolist()
    p_values = []
    for _ in range(count):
        hard = np.repeat(random.beta(8, 3, cases), IMAGES)
        arms = [
            hard
            + np.repeat(random.normal(0, 0.02, cases), IMAGES)  # what an arm makes of a case, with every seed
            + random.normal(0, seed_spread, (SEEDS, 1))
            + np.repeat(random.normal(0, 0.015, (SEEDS, cases)), IMAGES, axis=1)
            + random.normal(0, 0.03, (SEEDS, cases * IMAGES))
            for _ in range(2)
        ]
        p_values.append(paired_difference(arms[0] + effect, arms[1], names).p_value)
    return p_values


@pytest.mark.parametrize("cases", [9, 45])
@pytest.mark.parametrize("seed_spread", [0.0, 0.008, 0.02])
def test_without_an_effect_few_studies_find_one(cases, seed_spread):
    found = np.mean(np.array(studies(200, cases, effect=0, seed=1, seed_spread=seed_spread)) < 0.05)
    assert found <= 0.07


@pytest.mark.parametrize(("cases", "effect"), [(9, 0.05), (45, 0.03)])
def test_an_effect_that_is_there_is_found(cases, effect):
    assert np.mean(np.array(studies(100, cases, effect, seed=2, seed_spread=0.004)) < 0.05) >= 0.8


def test_the_interval_covers_the_true_difference():
    random = np.random.default_rng(3)
    cases = [str(case) for case in range(12)]
    covered = 0
    for _ in range(200):
        table = (
            0.02 + random.normal(0, 0.03, (1, 12)) + random.normal(0, 0.01, (3, 1)) + random.normal(0, 0.02, (3, 12))
        )
        low, high = paired_difference(table, np.zeros_like(table), cases).interval()
        covered += low < 0.02 < high
    assert covered >= 186


def test_one_image_a_case_and_one_seed_is_the_paired_t_test():
    random = np.random.default_rng(4)
    a, b = random.beta(8, 3, (2, 1, 20))
    ours = paired_difference(a, b, [str(i) for i in range(20)])
    theirs = stats.ttest_rel(a[0], b[0])
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-6)
    assert ours.interval(0.9) == pytest.approx(tuple(theirs.confidence_interval(0.9)), rel=1e-6)


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_with_many_cases_and_one_seed_the_interval_is_close_to_a_bootstrap(method):
    difference = np.random.default_rng(5).gamma(4, 0.01, 150) - 0.03
    ours = paired_difference(difference[None], np.zeros((1, 150)), [str(i) for i in range(150)]).interval()
    theirs = stats.bootstrap((difference,), np.mean, method=method, rng=0).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.1 * (ours[1] - ours[0]))


def test_more_images_of_the_same_cases_are_no_more_evidence():
    random = np.random.default_rng(6)
    table = random.normal(0.01, 0.02, (3, 10))
    cases = [str(case) for case in range(10)]
    once = mean_over_cases(table, cases)
    often = mean_over_cases(np.repeat(table, 7, axis=1), [case for case in cases for _ in range(7)])
    assert often.interval() == pytest.approx(once.interval())


def test_a_case_counts_once_however_many_images_it_has():
    values = np.array([[0.0, 0.0, 0.0, 0.8]])
    assert mean_over_cases(values, ["a", "a", "a", "b"]).mean == pytest.approx(0.4)


def test_images_of_a_case_may_lie_apart():
    assert case_means(np.array([[1.0, 5.0, 3.0]]), ["b", "a", "b"]).tolist() == [[5.0, 2.0]]


def test_seeds_that_disagree_widen_the_interval():
    cases = [str(case) for case in range(9)]
    same = np.random.default_rng(7).normal(0.02, 0.01, (1, 9)).repeat(3, axis=0)
    apart = same + np.array([[-0.02], [0.0], [0.02]])
    one, other = (np.ptp(mean_over_cases(values, cases).interval()) for values in (same, apart))
    assert other > 2 * one


def test_arms_that_agree_everywhere_do_not_differ():
    dice = np.full((3, 4), 0.5)
    same = paired_difference(dice, dice, list("aabb"))
    assert same.interval() == (0, 0)
    assert same.p_value == 1
    assert paired_difference(dice + 0.25, dice, list("aabb")).p_value == 0


def test_a_single_case_is_refused():
    with pytest.raises(UserError, match="one test case"):
        mean_over_cases(np.zeros((3, 2)), ["a", "a"])


def test_arms_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="paired"):
        paired_difference(np.zeros((3, 2)), np.zeros((2, 2)), ["a", "b"])


def test_holm_gives_the_hand_made_values():
    # ordered: 0.005 × 4, 0.01 × 3, then 0.03 × 2, and 0.04 × 1 which may not fall below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


def test_the_levels_are_those_holm_rejects_at():
    assert holm_levels([0.01, 0.04, 0.03, 0.005]) == pytest.approx([1 - 0.05 / 3, 0.975, 0.975, 1 - 0.05 / 4])
    assert holm_levels([0.01, 0.02]) == pytest.approx([0.975, 0.95])


def test_a_corrected_interval_leaves_out_zero_where_holm_rejects():
    random = np.random.default_rng(8)
    cases = [str(case) for case in range(9)]
    outcomes = set()
    for _ in range(60):
        effects = random.choice([0.0, 0.015, 0.03], 4)
        estimates = [mean_over_cases(random.normal(effect, 0.025, (3, 9)), cases) for effect in effects]
        p_values = [estimate.p_value for estimate in estimates]
        levels = holm_levels(p_values)
        for estimate, corrected, level in zip(estimates, holm(p_values), levels, strict=True):
            low, high = estimate.interval(level)
            outcomes.add((corrected < 0.05, low > 0 or high < 0))
    assert outcomes == {(True, True), (False, False)}
