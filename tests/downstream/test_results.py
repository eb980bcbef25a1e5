"""Results of jobs and how they are named."""

import json
from dataclasses import replace

import pytest

from src.downstream.results import Arm, JobResult, to_json

RESULT = JobResult(
    regime="mixed",
    generator="enhanced",
    ratio=0.5,
    fraction=0.25,
    seed=1,
    dice={"a-0.png": 0.1 + 0.2, "b-0.png": 1.0},
    cases={"a-0.png": "a", "b-0.png": "b"},
    run="outputs/study/é",
    command="python -m src.study 'x=1'",
)


def test_a_file_of_results_holds_every_field_with_all_its_digits():
    assert json.loads(to_json([RESULT])) == [vars(RESULT)]


def test_an_arm_is_named_by_regime_ratio_and_generator():
    assert RESULT.arm.label == "mixed 1:2 · enhanced"
    assert Arm("mixed", "pggan", 2.0).label == "mixed 2:1 · pggan"
    assert Arm("synthetic_then_real", "enhanced").label == "synthetic then real · enhanced"
    assert Arm("real").label == "real"


@pytest.mark.parametrize(("regime", "parted"), [("mixed", True), ("synthetic", False)])
def test_the_ratio_parts_arms_only_where_images_are_mixed(regime, parted):
    one, other = (replace(RESULT, regime=regime, ratio=ratio) for ratio in (0.5, 4.0))
    assert (one.arm != other.arm) == parted
