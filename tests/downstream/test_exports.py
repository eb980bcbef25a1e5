"""What a study says of its synthetic images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src.data.phantom import PhantomData
from src.data.provenance import TrainingRecord
from src.downstream.exports import cautions_of_exports, copies_note, left_out_of
from src.release.comparison import Comparison
from src.release.left_out import LeftOut


@pytest.fixture(scope="module")
def data(cache) -> PhantomData:
    found = PhantomData(16, 1, ["normal"], ["lung"], {"train": 40, "val": 10, "test": 10}, 0, cache)
    found.prepare()
    return found


def test_a_selection_of_what_a_generator_makes_is_a_caution_that_names_it():
    few, many = LeftOut(90, {"lung: empty": 10}), LeftOut(10, {"lung: speckle": 90})
    assert not list(cautions_of_exports({"pggan": few}))
    assert list(cautions_of_exports({"pggan": few, "enhanced": many})) == [
        "Synthetic images of enhanced: the checks left out 90% of the images made: what was kept are exceptions of the "
        "generator, unlike what it makes, and may be unlike the real images."
    ]


def test_exports_of_several_shares_are_named_by_them(tmp_path: Path):
    (tmp_path / "dataset.json").write_text('{"n": 4, "rejected": {"copy": 1}}')
    assert left_out_of({("pggan", 1.0): tmp_path}) == {"pggan": LeftOut(4, {"copy": 1})}
    assert list(left_out_of({("pggan", 1.0): tmp_path, ("pggan", 0.1): tmp_path})) == ["pggan at 10%", "pggan at 100%"]


def test_the_measure_of_a_copy_is_that_of_the_images_that_a_generator_learned_from(data):
    train = data.split("train")
    whole, half = (TrainingRecord.of(data, train.take(np.arange(count))) for count in (40, 20))
    one, other = (Comparison.of(record, data, 1) for record in (whole, half))
    assert (len(one.learned), one.calibration.facts()["images"]) == (40, 20)
    assert other.calibration.facts()["images"] == 40
    assert copies_note({"a": one, "b": one}).count("of 20 real images of 20 patients held out") == 1
    both = copies_note({"a": one, "b": other})
    assert (
        "a: of 20 real images of 20 patients held out" in both
        and "b: of 40 real images of 40 patients held out" in both
    )


def test_a_generator_of_images_that_are_not_here_says_so(data):
    strange = Comparison.of(TrainingRecord(frozenset({"x", "y"})), data, 1)
    assert len(strange.learned) == 40
    assert "(2 images that it learned from are not in these data: copies of them are not found)" in copies_note(
        {"a": strange}
    )
