"""The study's answer from made-up results."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from src.downstream.analysis import analyse
from src.downstream.claims import difference_of_scores
from src.downstream.results import Arm, JobResult
from src.errors import UserError

CASES, IMAGES = 12, 3
FILES = {f"{case}-{image}.png": str(case) for case in range(CASES) for image in range(IMAGES)}
TUNED = "synthetic_then_real"


def jobs(regime, generator=None, effect=0.0, ratio=0.0, fractions=(0.25, 1.0), seeds=(0, 1, 2)):
    """Results whose Dice is ``effect`` above that of real data, with noise of each arm and a base shared by all."""
    hard = np.random.default_rng(0).uniform(0.5, 0.7, len(FILES))
    for fraction in fractions:
        for seed in seeds:
            key = [fraction * 100, seed, *f"{regime}{generator}{ratio}".encode()]
            noise = np.random.default_rng([int(part) for part in key]).normal(0, 0.01, len(FILES))
            dice = dict(zip(FILES, (hard + 0.1 * fraction + noise + effect).tolist(), strict=True))
            run = f"{regime}-{generator}-{ratio}-{fraction}-{seed}"
            yield JobResult(regime, generator, ratio, fraction, seed, dice, FILES, run, "python -m src.study")


def claims_of(study):
    return [claim.state for claim in study.claims]


def test_the_verdict_names_the_gain_its_interval_and_the_way():
    study = analyse([*jobs("real"), *jobs(TUNED, "enhanced", 0.03), *jobs("mixed", "enhanced", 0.01, ratio=1.0)])
    (best,) = [c for c in study.comparisons if c.fraction == 1 and c.arm.regime == TUNED and c.baseline == Arm("real")]
    low, high = best.corrected_interval
    assert study.verdict == (
        f"Synthetic images from enhanced raise the U-Net's Dice by {best.difference:.3f} (95% interval {low:.3f} to "
        f"{high:.3f}, corrected for 2 comparisons) when it is pre-trained on them and fine-tuned on all real images."
    )
    assert best.difference == pytest.approx(0.03, abs=0.005)
    assert best.corrected_interval[0] < best.interval[0]


def test_the_verdict_is_that_of_the_largest_fraction():
    gain_when_few = [*jobs("mixed", "enhanced", 0.05, 1.0, (0.25,)), *jobs("mixed", "enhanced", 0.0, 1.0, (1.0,))]
    assert analyse([*jobs("real"), *gain_when_few]).verdict.startswith("No evidence that synthetic images raise")
    only_few = analyse([*jobs("real", fractions=(0.25,)), *jobs("mixed", "enhanced", 0.05, 0.5, (0.25,))])
    assert only_few.verdict.endswith("when they are mixed 1:2 with 25% of the real images.")


def test_a_loss_is_called_one():
    study = analyse([*jobs("real"), *jobs("synthetic", "pggan", -0.05), *jobs("mixed", "pggan", -0.04, 1.0)])
    assert study.verdict.startswith(
        "Synthetic images lower the U-Net's Dice: the best of 2 arms changes it by −0.039 ("
    )


def test_one_lost_arm_among_others_is_not_called_a_loss():
    study = analyse([*jobs("real"), *jobs("synthetic", "pggan", -0.05), *jobs("mixed", "pggan", 0.0, 1.0)])
    assert study.verdict.startswith("No evidence")


def test_without_real_data_alone_there_is_no_verdict():
    study = analyse(list(jobs("synthetic", "pggan")))
    assert study.verdict.startswith("No verdict yet")
    assert study.comparisons == ()


def test_an_arm_is_summarised_at_each_fraction():
    study = analyse([*jobs("real"), *jobs("mixed", "pggan", 0.1, 1.0, fractions=(1.0,))])
    assert [(arm.arm.label, arm.fraction) for arm in study.arms] == [
        ("real", 0.25),
        ("real", 1.0),
        ("mixed 1:1 · pggan", 1.0),
    ]
    low, high = study.arms[0].interval
    assert low < study.arms[0].mean < high
    assert (study.arms[0].seeds, study.arms[0].images, study.arms[0].cases) == (3, CASES * IMAGES, CASES)


def test_arms_meet_real_data_and_the_other_generator_at_the_same_fraction():
    study = analyse(
        [*jobs("real"), *jobs(TUNED, "pggan"), *jobs(TUNED, "enhanced"), *jobs("mixed", "enhanced", 0, 1.0)]
    )
    pairs = [(c.arm.label, c.baseline.label, c.family) for c in study.comparisons if c.fraction == 1]
    assert pairs == [
        ("synthetic then real · pggan", "real", 3),
        ("synthetic then real · enhanced", "real", 3),
        ("mixed 1:1 · enhanced", "real", 3),
        ("synthetic then real · enhanced", "synthetic then real · pggan", 1),
    ]


def test_missing_seeds_are_left_out_of_the_pair_and_named():
    study = analyse([*jobs("real"), *jobs(TUNED, "enhanced", 0.03, seeds=(1, 2, 3), fractions=(1.0,))])
    (comparison,) = study.comparisons
    assert comparison.seeds == 2
    assert "synthetic then real · enhanced at 100%: no result yet for seed 0; paired without." in study.warnings


def test_arms_without_a_common_seed_are_not_compared():
    study = analyse([*jobs("real", seeds=(0,)), *jobs(TUNED, "enhanced", seeds=(1,))])
    assert study.comparisons == ()


def test_one_seed_is_warned_about():
    assert "One seed only" in analyse(list(jobs("real", seeds=(0,)))).warnings[0]
    assert not analyse(list(jobs("real"))).warnings


@pytest.mark.parametrize("order", [1, -1])
def test_claims_are_judged_whatever_the_order_of_generators(order):
    arms = [[*jobs(TUNED, "pggan", 0.05)], [*jobs(TUNED, "enhanced", 0.02)]][::order]
    study = analyse([*jobs("real"), *arms[0], *arms[1]])
    assert claims_of(study) == ["contradicted", "supported", "not tested", "not tested"]
    assert study.claims[0].difference == pytest.approx(-0.03, abs=0.005)


def test_generators_of_any_name_are_judged_as_the_models_they_are():
    arms = [*jobs(TUNED, "my-old-run", 0.05), *jobs(TUNED, "enhanced", 0.02)]
    scores = {"my-old-run": {"am_score": (0.5, 0.45, 0.55)}, "enhanced": {"am_score": (0.8, 0.75, 0.85)}}
    study = analyse([*jobs("real"), *arms], scores, {"my-old-run": "enhanced", "enhanced": "pggan"})
    assert claims_of(study)[:3] == ["supported", "supported", "supported"]


def test_a_claim_without_evidence_either_way_is_open():
    study = analyse([*jobs("real"), *jobs(TUNED, "enhanced")])
    assert claims_of(study)[:2] == ["not tested", "open"]


def test_scores_are_judged_in_their_own_direction():
    scores = {
        "enhanced": {"am_score": (0.5, 0.45, 0.55), "mode_score": (2.0, 1.9, 2.1)},
        "pggan": {"am_score": (0.8, 0.75, 0.85), "mode_score": (2.5, 2.4, 2.6)},
    }
    study = analyse(list(jobs("real")), scores)
    assert claims_of(study)[2:] == ["supported", "contradicted"]
    scores["enhanced"]["am_score"] = (0.78, 0.7, 0.85)
    assert claims_of(analyse(list(jobs("real")), scores))[2] == "open"


def test_intervals_of_two_scores_are_squared_and_added():
    difference, interval = difference_of_scores((5, 2, 6), (1, 0, 5))
    assert (difference, interval) == (4, (-1, pytest.approx(4 + 2**0.5)))


def test_a_study_becomes_json():
    study = analyse([*jobs("real"), *jobs(TUNED, "enhanced")])
    assert json.loads(json.dumps(asdict(study), allow_nan=False))["verdict"] == study.verdict


def test_results_that_cannot_be_compared_are_refused():
    results = list(jobs("real"))
    other = replace(results[1], run="odd", dice={**results[1].dice, "new.png": 1.0})
    with pytest.raises(UserError, match="odd was tested on other images than real-None"):
        analyse([results[0], other])
    with pytest.raises(UserError, match=r"repeats 'real' at real fraction 0\.25 with seed 0"):
        analyse([*results, results[0]])
    with pytest.raises(UserError, match=r"no number as the Dice of 0-1\.png"):
        analyse([replace(results[0], dice={**results[0].dice, "0-1.png": float("nan")})])
    with pytest.raises(UserError, match="no results"):
        analyse([])
