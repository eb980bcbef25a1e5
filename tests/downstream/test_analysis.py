"""The study's answer from made-up results."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from src.core.errors import UserError
from src.downstream.analysis import analyse
from src.downstream.results import Arm, JobResult

CASES, IMAGES = 12, 3
FILES = {f"{case}-{image}.png": str(case) for case in range(CASES) for image in range(IMAGES)}
TUNED = "synthetic_then_real"


def jobs(regime, generator=None, effect=0.0, ratio=0.0, fractions=(0.25, 1.0), seeds=(0, 1, 2), fit=None):
    """Results whose Dice is ``effect`` above that of real data, with noise of each arm and a base shared by all."""
    hard = np.random.default_rng(0).uniform(0.5, 0.7, len(FILES))
    for fraction in fractions:
        for seed in seeds:
            key = [fraction * 100, seed, *f"{regime}{generator}{ratio}".encode()]
            noise = np.random.default_rng([int(part) for part in key]).normal(0, 0.01, len(FILES))
            dice = dict(zip(FILES, (hard + 0.1 * fraction + noise + effect).tolist(), strict=True))
            run = f"{regime}-{generator}-{ratio}-{fraction}-{seed}"
            yield JobResult(regime, generator, ratio, fraction, seed, dice, FILES, run, "python -m src.study", fit)


def claims_of(study):
    return [claim.state for claim in study.claims]


def test_the_verdict_names_the_gain_its_interval_and_the_way():
    study = analyse([*jobs("real"), *jobs(TUNED, "enhanced", 0.03), *jobs("mixed", "enhanced", 0.01, ratio=1.0)])
    (best,) = [c for c in study.comparisons if c.fraction == 1 and c.arm.regime == TUNED and c.baseline == Arm("real")]
    low, high = best.corrected.interval
    assert study.verdict == (
        f"Synthetic images from enhanced raise the U-Net's Dice by {best.difference:.3f} (95% interval {low:.3f} to "
        f"{high:.3f}, corrected for 2 comparisons) when it is pre-trained on them and fine-tuned on all real images."
    )
    assert best.difference == pytest.approx(0.03, abs=0.005)
    assert best.corrected.interval[0] < best.interval[0]


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
    pairs = [
        (c.arm.label, c.baseline.label, c.corrected and c.corrected.family)
        for c in study.comparisons
        if c.fraction == 1
    ]
    assert pairs == [
        ("synthetic then real · pggan", "real", 3),
        ("synthetic then real · enhanced", "real", 3),
        ("mixed 1:1 · enhanced", "real", 3),
        ("synthetic then real · enhanced", "synthetic then real · pggan", None),
    ]


def test_one_question_a_page_is_corrected_and_all_else_describes():
    study = analyse(
        [*jobs("real"), *jobs("real_unaugmented", effect=-0.1), *jobs(TUNED, "pggan"), *jobs(TUNED, "enhanced")]
    )
    asked = {(c.arm.label, c.baseline.label, c.fraction) for c in study.comparisons if c.corrected}
    assert asked == {(f"synthetic then real · {name}", "real", 1.0) for name in ("pggan", "enhanced")}
    described = {(c.arm.label, c.baseline.label, c.fraction) for c in study.comparisons if not c.corrected}
    assert ("real", "real, not augmented", 1.0) in described and ("real", "real, not augmented", 0.25) in described
    assert ("synthetic then real · pggan", "real", 0.25) in described


def test_real_images_that_are_not_augmented_do_not_widen_the_verdict():
    arms = [*jobs("real"), *jobs(TUNED, "pggan"), *jobs(TUNED, "enhanced")]
    wild = [replace(job, dice={file: 0.3 * job.seed for file in job.dice}) for job in jobs("real_unaugmented")]
    assert analyse([*arms, *wild]).comparisons[0] == analyse(arms).comparisons[0]


def test_with_one_seed_there_is_no_verdict():
    study = analyse([*jobs("real", seeds=(0,)), *jobs(TUNED, "enhanced", 0.3, seeds=(0,))])
    assert study.verdict.startswith("No verdict: with one seed") and study.power is None
    assert not any(comparison.corrected for comparison in study.comparisons)
    assert claims_of(study)[1] == "one seed: cannot tell"
    assert "One seed only" in study.cautions[0]


def test_trainings_that_learned_nothing_are_named():
    everything = dict.fromkeys(FILES, 0.4)
    failed = [replace(job, dice=dict.fromkeys(FILES, 0.39)) if job.seed == 1 else job for job in jobs(TUNED, "pggan")]
    study = analyse([*jobs("real"), *failed], everything=everything)
    assert study.cautions[0] == (
        "synthetic then real · pggan at 100%: 1 of 3 trainings learned nothing: their Dice is no better than 0.400, "
        "that of marking every pixel (seed 1)."
    )
    nothing = [replace(job, dice=dict.fromkeys(FILES, 0.4)) for job in jobs("real")]
    study = analyse([*nothing, *jobs(TUNED, "pggan")], everything=everything)
    assert study.verdict == "No verdict: the U-Nets that learned from all real images alone learned nothing."


def test_where_all_dice_are_zero_no_interval_is_claimed():
    zero = [
        [replace(job, dice=dict.fromkeys(FILES, 0.0)) for job in arm] for arm in (jobs("real"), jobs(TUNED, "pggan"))
    ]
    study = analyse([*zero[0], *zero[1]])
    assert study.comparisons[0].interval == (-1, 1) and study.comparisons[0].corrected.p == 1
    assert "with no spread to tell an interval from" in study.verdict


def test_training_that_is_too_short_is_said():
    fit = [*jobs("real", fractions=(0.25,), fit=0.95), *jobs("real", fractions=(1.0,), fit=0.85)]
    (said,) = [caution for caution in analyse([*fit, *jobs(TUNED, "pggan")]).cautions if "short of training" in caution]
    assert "at 100%" in said and "0.850" in said and "0.950" in said
    fit = [*jobs("real", fractions=(0.25,), fit=0.95), *jobs("real", fractions=(1.0,), fit=0.94)]
    assert not analyse([*fit, *jobs(TUNED, "pggan")]).cautions


def test_a_baseline_that_spreads_more_than_all_else_is_said():
    wide = [replace(job, dice={k: v + 0.1 * (job.seed - 1) for k, v in job.dice.items()}) for job in jobs("real")]
    assert "less stable" in analyse([*wide, *jobs(TUNED, "pggan")]).cautions[0]
    assert not analyse([*jobs("real"), *jobs(TUNED, "pggan")]).cautions


def test_a_page_says_what_a_study_of_its_size_can_find():
    study = analyse([*jobs("real"), *jobs(TUNED, "pggan"), *jobs(TUNED, "enhanced")])
    assert study.power is not None
    assert (study.power.arms, study.power.seeds, study.power.cases) == (2, 3, CASES)
    assert study.power.spread.rest == pytest.approx(0.01 / IMAGES**0.5, rel=0.3)
    assert 0 < study.power.effect < 0.05


def test_missing_seeds_are_left_out_of_the_pair_and_named():
    study = analyse([*jobs("real"), *jobs(TUNED, "enhanced", 0.03, seeds=(1, 2, 3), fractions=(1.0,))])
    (comparison,) = study.comparisons
    assert comparison.seeds == 2
    assert "synthetic then real · enhanced at 100%: no result yet for seed 0; compared without." in study.cautions


def test_arms_without_a_common_seed_are_not_compared():
    study = analyse([*jobs("real", seeds=(0,)), *jobs(TUNED, "enhanced", seeds=(1,))])
    assert study.comparisons == ()


@pytest.mark.parametrize("order", [1, -1])
def test_one_training_of_each_generator_cannot_tell_which_model_is_better(order):
    arms = [[*jobs(TUNED, "pggan", 0.05)], [*jobs(TUNED, "enhanced", 0.02)]][::order]
    scores = {"enhanced": {"am_score": (0.5, 0.49, 0.51)}, "pggan": {"am_score": (0.8, 0.79, 0.81)}}
    study = analyse([*jobs("real"), *arms[0], *arms[1]], scores)
    cannot = "one training each: cannot tell"
    assert claims_of(study) == [cannot, "supported", cannot, "not tested"]
    assert study.claims[0].difference == pytest.approx(-0.03, abs=0.005) and study.claims[0].interval is None
    assert study.claims[2].difference == pytest.approx(-0.3) and study.claims[2].interval is None


def several(effects):
    """Three trainings of each model: arms and what each generator is."""
    models = {f"{model}{number}": model for model in effects for number in range(3)}
    arms = [job for name, model in models.items() for job in jobs(TUNED, name, effects[model])]
    return arms, models


def test_several_trainings_of_each_generator_can():
    arms, models = several({"pggan": 0.05, "enhanced": 0.02})
    am, mode = (
        {"enhanced": (0.5, 0.52, 0.51), "pggan": (0.8, 0.79, 0.83)},
        {"enhanced": (2, 2.4, 2.2), "pggan": (2.1, 2.2, 2.3)},
    )
    scores = {
        name: {"am_score": (am[model][int(name[-1])],) * 3, "mode_score": (mode[model][int(name[-1])],) * 3}
        for name, model in models.items()
    }
    study = analyse([*jobs("real"), *arms], scores, models)
    assert claims_of(study) == ["contradicted", "supported", "supported", "open"]
    # by hand: 6 primary comparisons and 3 claims are tested, so 1 - 0.05 / 9; Welch's degrees of freedom 2.94
    difference = np.mean(am["enhanced"]) - np.mean(am["pggan"])
    error = ((np.var(am["enhanced"], ddof=1) + np.var(am["pggan"], ddof=1)) / 3) ** 0.5
    freedom = error**4 / sum((np.var(values, ddof=1) / 3) ** 2 / 2 for values in am.values())
    half = stats.t.isf(0.05 / 9 / 2, freedom) * error
    assert study.claims[2].interval == pytest.approx((difference - half, difference + half))


def test_generators_of_any_name_are_judged_as_the_models_they_are():
    study = analyse([*jobs("real"), *jobs(TUNED, "my-old-run", 0.05)], {}, {"my-old-run": "enhanced"})
    assert claims_of(study)[:2] == ["not tested", "supported"]


def test_a_claim_without_evidence_either_way_is_open():
    study = analyse([*jobs("real"), *jobs(TUNED, "enhanced")])
    assert claims_of(study)[:2] == ["not tested", "open"]


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
