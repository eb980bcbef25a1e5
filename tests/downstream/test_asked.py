"""Whom an override of a study reaches."""

from __future__ import annotations

import pytest

from src.command_line import overrides
from src.core.errors import UserError
from src.downstream.asked import compose, divide, settings_of


def settings(*arguments: str):
    asked = divide(arguments)
    return settings_of(overrides.check("study", asked.study, multirun=False), asked)


def test_an_override_without_a_prefix_reaches_every_training_and_one_with_a_prefix_counts_for_more():
    recipes = settings("batch_size=8", "unet.batch_size=4", "optim.lr=1e-3", "generators=[pggan]").recipes
    assert {kind: recipe.batch_size for kind, recipe in recipes.items()} == {"classifier": 8, "unet": 4, "pggan": 8}
    assert {compose(recipe).optim.lr for recipe in recipes.values()} == {1e-3}
    assert recipes["pggan"].images == 60_000  # conf/study.yaml's own


def test_a_budget_says_how_long_trainings_are_unless_one_kind_has_its_own_length():
    recipes = settings("budget=smoke", "unet.images=64", "generators=[pggan]").recipes
    assert {kind: recipe.images for kind, recipe in recipes.items()} == {"classifier": 1024, "unet": 64, "pggan": 1024}


def test_what_changes_a_training_changes_its_digest_alone_and_a_logger_changes_none():
    def digests(*arguments: str) -> dict[str, str]:
        return {kind: recipe.digest for kind, recipe in settings("generators=[pggan]", *arguments).recipes.items()}

    plain = digests()
    assert digests("logger=csv", "progress=false", "paths.cache=/elsewhere") == plain
    changed = digests("unet.optim.lr=5e-3")
    assert {kind for kind in plain if changed[kind] != plain[kind]} == {"unet"}


def test_a_launcher_has_settings_of_its_own():
    asked = divide(["launcher=joblib", "hydra.launcher.n_jobs=2", "data=phantom", "fractions=[1.0]"])
    assert asked.launcher == ("hydra.launcher.n_jobs=2",) and asked.every_training == ("data=phantom",)
    assert asked.study == ("launcher=joblib", "fractions=[1.0]")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("seed=7", "seed=7: a study sets seed itself; generator.seed and seeds are yours to set"),
        ("unet.seed=7", "unet.seed=7: a study sets seed itself"),
        ("training.ratio=2", "a study sets training.ratio itself"),
        ("unet.training.real_fraction=0.1", "a study sets training.real_fraction itself"),
        ("model=enhanced", "a study sets model itself"),
        ("paths.outputs=elsewhere", "a study sets paths.outputs itself; say outputs=<folder>"),
    ],
)
def test_what_a_study_chooses_itself_is_refused(argument, said):
    with pytest.raises(UserError, match=said):
        divide([argument])


def test_the_seed_of_the_generators_can_be_chosen():
    assert compose(settings("generator.seed=7").recipes["pggan"]).seed == 7
