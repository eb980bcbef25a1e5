"""Numbers with unlike passports are not put side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from src.core.errors import UserError
from src.scoring.passport import Passport, check_same_passports

PASSPORT = Passport(
    n_real=2000,
    n_fake=1000,
    data="phantom",
    fingerprint="a" * 64,
    split="train",
    features="classifier penultimate (32 px, 128 values)",
    network="b" * 64,
    cases=100,
    accuracy=0.9,
    balanced_accuracy=0.8,
    ssim_window=11,
    resolution=32,
    seed=0,
    kid_subset=1000,
    ema=True,
    images_shown=1024,
    version="1",
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_real", 1999),
        ("n_fake", 400),
        ("fingerprint", "c" * 64),
        ("features", "random features (32 px, 512 values)"),
        ("network", "c" * 64),
        ("seed", 1),
        ("kid_subset", 500),
        ("ema", False),
    ],
)
def test_unlike_passports_are_refused_in_a_line_that_names_the_field(name, value):
    other = replace(PASSPORT, **{name: value})
    with pytest.raises(UserError, match=rf"the scores of one and of two cannot be compared: {name} is ") as refused:
        check_same_passports([("one", PASSPORT), ("two", other)])
    assert "\n" not in str(refused.value) and "a" * 64 not in str(refused.value)


def test_how_long_a_generator_trained_is_what_is_compared_and_no_difference():
    check_same_passports([("one", PASSPORT), ("two", replace(PASSPORT, images_shown=2048, version="2"))])


def test_real_images_have_no_average_and_go_with_any_generator_but_generators_must_agree():
    real = replace(PASSPORT, ema=None)
    check_same_passports([("real", real), ("one", PASSPORT), ("noise", real)])
    with pytest.raises(UserError, match="ema"):
        check_same_passports([("real", real), ("one", PASSPORT), ("two", replace(PASSPORT, ema=False))])


def test_every_pair_is_checked_not_only_neighbours_or_names():
    with pytest.raises(UserError, match="seed"):
        check_same_passports([("real", PASSPORT), ("gan", PASSPORT), ("real", replace(PASSPORT, seed=1))])


def test_a_passport_survives_json_and_one_of_another_version_is_refused():
    assert Passport.from_dict(PASSPORT.as_dict(), "scores.json") == PASSPORT
    with pytest.raises(UserError, match=r"scores\.json has a passport of another version"):
        Passport.from_dict({"n_real": 1}, "scores.json")
