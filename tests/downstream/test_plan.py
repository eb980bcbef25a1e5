from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.downstream.plan import Recipe, StudySettings, generator_job, unet_jobs
from src.downstream.results import MIXED, REAL, SYNTHETIC, SYNTHETIC_THEN_REAL, UNAUGMENTED

UNET = Recipe(("data=phantom", "model=unet", "batch_size=16"), images=1000, batch_size=16, digest="as it is")
SETTINGS = StudySettings(
    generators=("pggan", "enhanced"),
    per_fraction=False,
    regimes=(REAL, SYNTHETIC, SYNTHETIC_THEN_REAL, MIXED),
    ratios=(1.0,),
    fractions=(0.1, 1.0),
    seeds=2,
    recipes={"unet": UNET, "pggan": Recipe(("with_masks=true",), 60_000, 16, "as it is")},
)
EXPORTS = {("pggan", 1.0): Path("synthetic/a"), ("enhanced", 1.0): Path("synthetic/b")}
FOLDER = Path("study")


def plan(settings: StudySettings = SETTINGS, exports: dict[tuple[str, float], Path] = EXPORTS):
    first, second = unet_jobs(settings, exports, FOLDER)
    return [*first, *second]


def named(jobs) -> set[str]:
    return {unet.job.name for unet in jobs}


def test_every_regime_generator_fraction_and_seed_has_a_job_and_synthetic_alone_needs_no_fraction():
    kinds = [(unet.regime, unet.generator, fraction) for unet in plan() for fraction in unet.fractions]
    assert len(kinds) == 2 * 2 * (2 + 2 * 3) and len(set(kinds)) == 2 * (2 + 2 * 3)
    assert len(named(plan())) == 2 * (2 * 2 + 2 * (1 + 1 + 2 + 2))


def test_real_images_without_augmentation_are_always_learned_from_too_and_nothing_else_goes_without():
    jobs = plan(replace(SETTINGS, regimes=(MIXED,)))
    plain = {(u.fractions, u.seed): u.job for u in jobs if u.regime == UNAUGMENTED}
    assert len(plain) == 2 * 2
    for unet in jobs:
        if unet.regime == REAL:
            job = plain[unet.fractions, unet.seed]
            assert set(job.overrides) - set(unet.job.overrides) == {"model.augmentation=null"}
            assert job.overrides.index("model.augmentation=null") >= len(UNET.overrides)  # it has the last word
    assert [u.regime for u in jobs if "model.augmentation=null" in u.job.overrides] == [UNAUGMENTED] * 4


def test_every_regime_shows_as_many_images_and_fine_tuning_starts_with_its_own_pre_training():
    shown = {u.job.name: next(o for o in u.job.overrides if o.startswith("images=")) for u in plan()}
    for unet in plan():
        initial = [o for o in unet.job.overrides if o.startswith("model.initial=")]
        if unet.regime == SYNTHETIC_THEN_REAL:
            before = initial[0].split("study/")[1].rstrip("'")
            assert shown[before] == shown[unet.job.name] == "images=500"
            assert f"seed{unet.seed}" in before and str(unet.generator) in before
        elif unet.regime:
            assert shown[unet.job.name] == "images=1000" and not initial


def test_more_seeds_add_jobs_and_change_none():
    assert named(plan()) < named(plan(replace(SETTINGS, seeds=3)))


def test_another_configuration_of_a_model_gives_its_jobs_other_names():
    changed = replace(SETTINGS, recipes={**SETTINGS.recipes, "unet": replace(UNET, digest="changed")})
    assert not named(plan()) & named(plan(changed))
    assert generator_job(changed, "pggan", 1.0) == generator_job(SETTINGS, "pggan", 1.0)


def test_a_study_that_was_moved_or_logs_elsewhere_repeats_nothing():
    elsewhere = replace(UNET, overrides=(*UNET.overrides, "logger=csv"))
    moved = {key: Path("/elsewhere") / path for key, path in EXPORTS.items()}
    settings = replace(SETTINGS, recipes={**SETTINGS.recipes, "unet": elsewhere})
    jobs = [unet.job for stage in unet_jobs(settings, moved, Path("/elsewhere")) for unet in stage]
    assert {job.name for job in jobs} == named(plan())
    assert all("logger=csv" in job.overrides for job in jobs)


def test_other_synthetic_images_reach_every_job_that_uses_them_and_no_other():
    other = {**EXPORTS, ("enhanced", 1.0): Path("synthetic/c")}
    changed = {unet.generator for unet in plan(exports=other) if unet.job.name not in named(plan())}
    assert changed == {"enhanced"}
    kept = named(plan()) & named(plan(exports=other))
    assert kept == {unet.job.name for unet in plan() if unet.generator != "enhanced"}


def test_a_generator_per_fraction_serves_the_unets_of_its_fraction_alone():
    settings = replace(SETTINGS, per_fraction=True, generators=("pggan",))
    exports = {("pggan", fraction): Path(f"synthetic/{fraction}") for fraction in settings.generator_fractions}
    for unet in plan(settings, exports):
        if unet.regime in (SYNTHETIC, MIXED):
            (fraction,) = unet.fractions
            assert f"training.synthetic='synthetic/{fraction}'" in unet.job.overrides
    job = generator_job(settings, "pggan", 0.1)
    assert job.overrides == ("with_masks=true", "training.real_fraction=0.1")


def test_a_generator_per_fraction_saw_the_very_cases_of_its_unets_and_else_every_seed_draws_its_own():
    settings = replace(SETTINGS, per_fraction=True, generators=("pggan",))
    exports = {("pggan", fraction): Path(f"synthetic/{fraction}") for fraction in settings.generator_fractions}
    seeds = {o for unet in plan(settings, exports) for o in unet.job.overrides if o.startswith("training.seed=")}
    assert seeds == {"training.seed=0"}  # the default, with which the generators are trained
    drawn = {(unet.seed, o) for unet in plan() for o in unet.job.overrides if o.startswith("training.seed=")}
    assert drawn == {(0, "training.seed=0"), (1, "training.seed=1")}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fractions": (0.0, 1.0)}, "each must be above 0, which leaves no image"),
        ({"regimes": ("fake",)}, "regimes: fake is none of real, synthetic"),
        ({"generators": ()}, "generators is empty"),
        ({"generators": ("a/gan", "b/gan")}, "two are named gan: give the folder of one another name"),
        ({"generators": ("a/gan",), "per_fraction": True}, "trains one for every share, and a/gan is trained already"),
        ({"ratios": (-1.0,)}, "each must be above 0"),
        ({"seeds": 0}, "seeds=0 must be at least 1"),
    ],
)
def test_a_study_that_makes_no_sense_is_one_clear_line(changes, said):
    with pytest.raises(UserError, match=said):
        replace(SETTINGS, **changes)


def test_no_job_on_other_data_has_the_name_of_one_on_these():
    assert not named(plan(SETTINGS.on("one"))) & named(plan(SETTINGS.on("other")))
    assert named(plan(SETTINGS.on("one"))) == named(plan(SETTINGS.on("one")))


def test_generators_saw_other_cases_only_where_a_u_net_gets_a_share_of_them():
    assert not replace(SETTINGS, per_fraction=False, fractions=(0.1, 1.0)).same_cases
    assert replace(SETTINGS, per_fraction=False, fractions=(1.0,)).same_cases
    assert replace(SETTINGS, per_fraction=True, fractions=(0.1, 1.0)).same_cases
