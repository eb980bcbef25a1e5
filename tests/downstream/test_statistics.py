"""Intervals and p-values that hold what they promise, on made-up studies and against scipy."""

import numpy as np
import pytest
from scipy import special, stats

from src.core.errors import UserError
from src.downstream.statistics import (
    WHOLE,
    case_means,
    differences,
    freedoms,
    half_width_squared,
    holm,
    holm_levels,
    mean_over_cases,
    mean_squares,
    paired_difference,
    seed_variances,
)

STUDIES = 1500
SHARES = {  # standard deviations between seeds, between cases, and of the rest
    "seeds": (0.11, 0.01, 0.06), "cases": (0.005, 0.15, 0.05), "rest": (0.0, 0.0, 0.08), "all": (0.03, 0.05, 0.06),
}  # fmt: skip


def false_verdicts(seeds, cases, shares, arms=6, shape="normal", failed=0.0, spreads=None) -> float:
    """The share of made-up studies without an effect that find one at Holm's first step."""
    random = np.random.default_rng([seeds, cases, arms, round(1000 * shares[0])])
    between_seeds, between_cases, rest = shares
    size = (STUDIES, arms + 1)
    scale = np.ones(arms + 1) if spreads is None else np.array(spreads)
    table = (
        between_seeds * scale[:, None, None] * random.normal(size=(*size, seeds, 1))
        + between_cases * random.normal(size=(*size, 1, cases))
        + rest * random.normal(size=(*size, seeds, cases))
    )
    if shape != "normal":  # Dice of cases that are easy or hard to all
        table = special.expit(1.8 + random.normal(size=(STUDIES, 1, 1, cases)) + 8 * table)
    if shape == "zero":
        table *= random.random(table.shape) > random.beta(0.3, 2.7, (STUDIES, 1, 1, cases))
    table = np.where(random.random((*size, seeds, 1)) < failed, 0 if shape != "normal" else -0.7, table)
    case_freedom, seed_freedom = freedoms(cases, seeds, arms)
    found = np.zeros(STUDIES, bool)
    for arm in range(1, arms + 1):
        mean, case_variance, seed_variance = differences(table, arm, 0)
        half = half_width_squared(case_variance, case_freedom, seed_variance, seed_freedom, 0.05 / arms)
        found |= mean**2 > half
    return float(found.mean())


@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)
@pytest.mark.parametrize(("seeds", "cases"), [(2, 30), (3, 5), (3, 30), (5, 10), (10, 30)])
def test_without_an_effect_at_most_five_in_a_hundred_studies_find_one(seeds, cases, shares):
    assert false_verdicts(seeds, cases, shares) <= 0.06  # 0.05, and 1.7 standard errors of 1,500 studies


@pytest.mark.parametrize("failed", [0.0, 0.05])
@pytest.mark.parametrize("shape", ["skewed", "zero"])
def test_nor_where_dice_is_skewed_or_often_zero_or_trainings_fail(shape, failed):
    assert false_verdicts(3, 10, SHARES["all"], shape=shape, failed=failed) <= 0.06


@pytest.mark.parametrize("spreads", [[1, 3, 3, 1, 1, 1, 1], [1, 3, 1, 1, 1, 1, 1], [1, 3, 3, 3, 3, 3, 3]])
def test_nor_where_some_arms_spread_three_times_as_widely_between_seeds(spreads):
    assert false_verdicts(3, 30, SHARES["seeds"], spreads=spreads) <= 0.06


def test_with_one_arm_the_level_is_used_up():
    assert 0.03 <= false_verdicts(5, 30, SHARES["seeds"], arms=1) <= 0.065


def test_pooling_over_arms_finds_more_than_each_arm_by_itself():
    random = np.random.default_rng(2)
    cases = [str(case) for case in range(30)]
    alone = pooled = 0
    for _ in range(100):
        arms = 0.02 * random.normal(size=(7, 5, 1)) + 0.06 * random.normal(size=(7, 5, 30))
        alone += paired_difference(arms[1] + 0.05, arms[0], cases).p_value < 0.05 / 6
        pooled += paired_difference(arms[1] + 0.05, arms[0], cases, list(arms[2:])).p_value < 0.05 / 6
    assert alone < 50 < pooled  # of the larger studies in docs/study.md .25 and .60


def test_the_interval_covers_the_true_difference():
    random = np.random.default_rng(3)
    cases = [str(case) for case in range(12)]
    covered = 0
    for _ in range(200):
        table = (
            0.02 + random.normal(0, 0.03, (1, 12)) + random.normal(0, 0.01, (3, 1)) + random.normal(0, 0.02, (3, 12))
        )
        low, high = paired_difference(table, np.zeros_like(table), cases).difference_interval()
        covered += low < 0.02 < high
    assert covered >= 186


@pytest.mark.parametrize(("cases", "seeds"), [(9, 3), (9, 5), (30, 5), (100, 3)])
def test_the_interval_of_a_skewed_mean_dice_covers_it(cases, seeds):
    random = np.random.default_rng(4)
    names = [str(case) for case in range(cases)]

    def dice(size):
        hard, chance = random.normal(2, 1.5, (1, size)), random.normal(0, 0.5, (seeds, size))
        return special.expit(hard + random.normal(0, 0.3, (seeds, 1)) + chance)

    truth = np.mean([dice(1000).mean() for _ in range(200)])
    intervals = [mean_over_cases(dice(cases), names).dice_interval() for _ in range(400)]
    assert np.mean([low < truth < high for low, high in intervals]) >= 0.93
    assert all(0 < low < high < 1 for low, high in intervals)


def test_one_image_a_case_and_one_seed_is_the_paired_t_test():
    random = np.random.default_rng(4)
    a, b = random.beta(8, 3, (2, 1, 20))
    ours = paired_difference(a, b, [str(i) for i in range(20)])
    theirs = stats.ttest_rel(a[0], b[0])
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-6)
    assert ours.difference_interval(0.9) == pytest.approx(tuple(theirs.confidence_interval(0.9)), rel=1e-6)


def test_the_p_value_is_where_the_interval_ends_at_zero():
    random = np.random.default_rng(5)
    for effect in (0.001, 0.02, 0.3):
        arms = 0.02 * random.normal(size=(4, 3, 1)) + 0.03 * random.normal(size=(4, 3, 9))
        estimate = paired_difference(arms[0] + effect, arms[1], list("abcdefghi"), [arms[2], arms[3]])
        assert min(map(abs, estimate.difference_interval(1 - estimate.p_value))) == pytest.approx(0, abs=1e-6)


def test_mean_squares_are_those_of_the_two_way_table():
    # by hand: rows (seeds) 1 2 3 and 3 6 3; grand mean 3, row means 2 and 4, column means 2 4 3; residuals ±0 ±1 ∓1
    table = np.array([[1.0, 2.0, 3.0], [3.0, 6.0, 3.0]])
    assert mean_squares(table) == pytest.approx((2 * 2 / 2, 3 * 2 / 1, 4 / 2))


def test_an_arm_counts_with_its_own_spread_or_the_pooled_one_if_larger():
    # three arms of two seeds; about arm and seed means: ±0, ±1, ∓1: own 0, 2, 2 → × 3/2; pooled 4 / 2
    means = np.array([[0.0, 0.0], [1.0, -1.0], [-1.0, 1.0]])
    assert seed_variances(means) == pytest.approx([2, 3, 3])
    assert seed_variances(means + np.array([[5.0, -7.0]])) == pytest.approx([2, 3, 3])  # what seeds have in common


def test_more_images_of_the_same_cases_are_no_more_evidence():
    random = np.random.default_rng(6)
    table = random.normal(0.5, 0.02, (3, 10))
    cases = [str(case) for case in range(10)]
    once = mean_over_cases(table, cases)
    often = mean_over_cases(np.repeat(table, 7, axis=1), [case for case in cases for _ in range(7)])
    assert often.dice_interval() == pytest.approx(once.dice_interval())


def test_a_case_counts_once_however_many_images_it_has():
    values = np.array([[0.0, 0.0, 0.0, 0.8]])
    assert mean_over_cases(values, ["a", "a", "a", "b"]).mean == pytest.approx(0.4)


def test_images_of_a_case_may_lie_apart():
    assert case_means(np.array([[1.0, 5.0, 3.0]]), ["b", "a", "b"]).tolist() == [[5.0, 2.0]]


def test_seeds_that_disagree_widen_the_interval():
    cases = [str(case) for case in range(9)]
    same = np.random.default_rng(7).normal(0.02, 0.01, (1, 9)).repeat(3, axis=0)
    apart = same + np.array([[-0.02], [0.0], [0.02]])
    zero = np.zeros_like(same)
    one, other = (np.ptp(paired_difference(values, zero, cases).difference_interval()) for values in (same, apart))
    assert other > 2 * one


def test_where_nothing_varies_nothing_is_known():
    nothing = np.zeros((3, 4))
    same = paired_difference(nothing, nothing, list("aabb"))
    assert same.difference_interval() == WHOLE and same.p_value == 1
    assert mean_over_cases(nothing, list("aabb")).dice_interval() == (0, 1)


def test_a_difference_stays_within_what_dice_can_be():
    wide = paired_difference(np.array([[0.9, 0.1], [0.8, 0.0]]), np.zeros((2, 2)), ["a", "b"])
    assert wide.difference_interval() == WHOLE


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
        effects = random.choice([0.0, 0.02, 0.06], 4)
        arms = [random.normal(effect, 0.025, (3, 9)) for effect in (0, *effects)]
        estimates = [
            paired_difference(arm, arms[0], cases, [other for other in arms[1:] if other is not arm])
            for arm in arms[1:]
        ]
        p_values = [estimate.p_value for estimate in estimates]
        levels = holm_levels(p_values)
        for estimate, corrected, level in zip(estimates, holm(p_values), levels, strict=True):
            low, high = estimate.difference_interval(level)
            outcomes.add((corrected < 0.05, low > 0 or high < 0))
    assert outcomes == {(True, True), (False, False)}
