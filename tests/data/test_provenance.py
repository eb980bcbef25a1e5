"""An image that a generator learned from is known again, however it is decoded and split."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from src.core.errors import UserError
from src.data.folder import FolderData
from src.data.provenance import TrainingRecord, fingerprints


@pytest.fixture
def scans(tmp_path):
    """Deep images of six cases, two each."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "scans"
    folder.mkdir()
    for i in range(12):
        Image.fromarray(generator.integers(1000, 2000, (8, 10), np.uint16)).save(folder / f"case{i // 2}_{i}.png")
    return folder


def data_of(root, **arguments) -> FolderData:
    defaults = {"group": r"^(case\d)", "resolution": 8, "splits": {"train": 0.67, "test": 0.33}}
    return FolderData(str(root), str(root.parent / "cache"), **{**defaults, **arguments})


def record(data: FolderData) -> TrainingRecord:
    return TrainingRecord.of(data, data.split("train"))


def test_the_same_split_passes_and_another_does_not(scans):
    learned = record(data_of(scans))
    learned.check(data_of(scans), "gan")
    with pytest.raises(UserError, match="gan learned from 4 of the 4 test images, or from others of their cases: tra"):
        record(data_of(scans, splits={"train": 1.0})).check(data_of(scans), "gan")


def test_images_are_known_again_that_are_fitted_otherwise_or_stretched_by_another_range(scans):
    learned = record(data_of(scans, group=None, splits={"train": 1.0}))
    Image.fromarray(np.full((8, 10), 60_000, np.uint16)).save(scans / "case9_0.png")  # moves the percentiles of all
    data = data_of(scans, group=None, fit="crop")
    known = learned.knows(data, data.split("train")) + learned.knows(data, data.split("test"))
    assert known.count(False) == 1 and len(known) == 13


def test_images_are_known_again_below_another_root_and_by_another_name(scans):
    learned = record(data_of(scans, group=None, splits={"train": 1.0}))
    (scans.parent / "all").mkdir()
    for path in scans.iterdir():
        shutil.copy(path, scans.parent / "all" / f"z{path.name}")
    data = data_of(scans.parent / "all", group=None)
    assert all(learned.knows(data, data.split("test")))


def test_other_images_of_a_case_that_was_learned_from_are_refused_unless_they_are_said_to_be_another_data_set(scans):
    learned = record(data_of(scans, splits={"train": 1.0}))
    for path in scans.iterdir():
        Image.fromarray(np.asarray(Image.open(path)) + 1).save(path)
    with pytest.raises(UserError, match=r"4 of the 4 test images.*data.name, where equal names are other patients"):
        learned.check(data_of(scans), "gan")
    learned.check(data_of(scans, name="others"), "gan")


def test_a_file_that_the_data_have_in_both_splits_is_not_held_against_the_generator(scans):
    data = data_of(scans)
    train, test = data.split("train").files(), data.split("test").files()
    shutil.copy(scans / train[0], scans / test[0])
    data = data_of(scans)
    record(data).check(data, "gan")


def test_the_record_is_read_as_it_was_written_and_names_no_case(scans, tmp_path):
    learned = record(data_of(scans))
    learned.write(tmp_path)
    assert TrainingRecord.read(tmp_path) == learned and len(learned.images) == 8 and len(learned.cases) == 4
    assert "case" not in (tmp_path / "training_images.json").read_text().replace("cases", "")
    assert TrainingRecord.read(scans) is None


def test_images_that_are_in_no_file_are_known_by_their_pixels(compose):
    from hydra.utils import instantiate

    one, more, other = (
        instantiate(compose("data=phantom", "resolution=16", *asked).data)
        for asked in (["phantoms=20"], ["phantoms=30"], ["phantoms=20", "data.seed=1"])
    )
    prints = [set(fingerprints(data, data.split("train"))) for data in (one, more, other)]
    assert len(prints[0]) == 20 and prints[0] < prints[1] and not prints[0] & prints[2]
