"""What a study of some size can find."""

import json

import numpy as np
import pytest
from scipy import stats

from src.downstream.power import Spread, detectable, earlier_spread, measured_spread, power_of


def test_with_one_arm_and_seeds_that_agree_it_is_the_power_of_the_paired_t_test():
    cases, spread = 20, 0.05
    found = detectable(Spread(0.0, spread, 0.0), arms=1, seeds=2, cases=cases)
    error = spread * 2**0.5 / cases**0.5  # of a difference of two arms
    power = 1 - stats.nct.cdf(stats.t.isf(0.025, cases - 1), cases - 1, found / error)
    assert power == pytest.approx(0.8, abs=0.03)


def test_the_effect_is_found_by_four_of_five_studies():
    found = detectable(Spread(0.02, 0.016, 0.04), arms=6, seeds=5, cases=9)
    assert found == pytest.approx(0.074, abs=0.004)  # by 20,000 studies of another simulation: 0.0736


def test_nothing_can_be_found_with_one_seed_or_one_case():
    spread = Spread(0.02, 0.02, 0.04)
    assert detectable(spread, 6, 1, 30) == detectable(spread, 6, 5, 1) == 1


def test_the_spread_is_measured_whatever_all_arms_have_in_common():
    random = np.random.default_rng(0)
    squares = []
    for _ in range(200):
        hard, lucky = 0.3 * random.normal(size=(1, 1, 40)), 0.1 * random.normal(size=(1, 5, 1))
        own = 0.02 * random.normal(size=(4, 5, 1)) + 0.03 * random.normal(size=(4, 1, 40))
        found = measured_spread(hard + lucky + own + 0.05 * random.normal(size=(4, 5, 40)))
        squares.append([found.seeds**2, found.cases**2, found.rest**2])
    assert np.sqrt(np.mean(squares, axis=0)) == pytest.approx([0.02, 0.03, 0.05], rel=0.1)


@pytest.mark.parametrize(
    ("spread", "worth"), [(Spread(0.03, 0.001, 0.02), "seeds"), (Spread(0.001, 0.06, 0.02), "test cases")]
)
def test_the_advice_is_what_lowers_the_effect_most(spread, worth):
    power = power_of(spread, "stated", arms=2, seeds=5, cases=12)
    assert (power.more_seeds < power.more_cases) == (worth == "seeds")
    assert power.text().endswith(f"{worth} are worth more.")


def test_a_study_that_has_measured_its_spread_plans_with_it(tmp_path):
    answer = tmp_path / "study.json"
    assert earlier_spread(answer) is None
    answer.write_text(json.dumps({"power": None}))
    assert earlier_spread(answer) is None
    answer.write_text(json.dumps({"power": {"spread": {"seeds": 0.1, "cases": 0.2, "rest": 0.3}}}))
    assert earlier_spread(answer) == Spread(0.1, 0.2, 0.3)
