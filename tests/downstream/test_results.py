"""Results of jobs on their way to disk and back."""

import json

import pytest

from src.downstream.results import Arm, JobResult, from_json, to_json
from src.errors import UserError

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


def test_results_come_back_as_they_were():
    assert from_json(to_json([RESULT, RESULT])) == [RESULT, RESULT]
    assert from_json(to_json([])) == []


def test_an_arm_is_named_by_regime_ratio_and_generator():
    assert RESULT.arm.label == "mixed 1:2 · enhanced"
    assert Arm("mixed", "pggan", 2.0).label == "mixed 2:1 · pggan"
    assert Arm("synthetic_then_real", "enhanced").label == "synthetic then real · enhanced"
    assert Arm("real").label == "real"


def test_the_ratio_parts_arms_only_where_images_are_mixed():
    entries = [json.loads(to_json([RESULT]))[0] | {"regime": regime} for regime in ("mixed", "synthetic")]
    ones = from_json(json.dumps(entries))
    others = from_json(json.dumps([entry | {"ratio": 4.0} for entry in entries]))
    assert [one.arm == other.arm for one, other in zip(ones, others, strict=True)] == [False, True]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting"),
        ("[1]", "keys"),
        ("3", "iterable"),
        (json.dumps([{"regime": "real"}]), "keys"),
        (to_json([RESULT]).replace('"mixed"', '"mixt"'), "'mixt' is none of real"),
    ],
)
def test_what_is_no_result_is_named(text, reason):
    with pytest.raises(UserError, match=f"^results.json holds no study results.*{reason}"):
        from_json(text, "results.json")
