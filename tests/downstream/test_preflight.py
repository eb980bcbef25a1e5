"""A study that cannot end well ends before its first training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.core.errors import UserError
from src.data.folder import FolderData
from src.data.provenance import TrainingRecord
from src.downstream import preflight
from src.downstream.plan import Recipe, StudySettings
from src.downstream.preflight import check_data, check_generator, synthetic_count
from src.training import restore
from src.training.restore import TrainedRun

SETTINGS = StudySettings(
    generators=("pggan",),
    per_fraction=False,
    regimes=("real", "mixed"),
    ratios=(0.5, 2.0),
    fractions=(0.5, 1.0),
    seeds=2,
    recipes={"unet": Recipe((), 1000, 4, "")},
)


@pytest.fixture
def data_of(tmp_path):
    """Data of six cases with two images each, and any arguments of ``FolderData``."""

    def make(**arguments) -> FolderData:
        generator = np.random.default_rng(0)
        for i in range(12):
            for folder in ("images", "masks"):
                path = tmp_path / "scans" / folder / f"case{i // 2}_{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(generator.integers(0, 255, (8, 8), np.uint8)).save(path)
        defaults = {"images": "images", "mask_folders": {"lesion": "masks"}, "group": r"^(case\d)", "resolution": 8,
                    "splits": {"train": 0.67, "test": 0.33}}  # fmt: skip
        return FolderData(str(tmp_path / "scans"), str(tmp_path / "cache"), **{**defaults, **arguments})

    return make


def test_data_that_a_study_can_use_pass(data_of):
    check_data(data_of(), SETTINGS)


@pytest.mark.parametrize(
    ("arguments", "changes", "said"),
    [
        ({"mask_folders": None}, {}, "needs data with masks"),
        ({"splits": {"train": 1.0}}, {}, "the test split has 0 cases, and an interval needs two"),
        ({"splits": {"train": 0.84, "test": 0.16}}, {}, "the test split has 1 case, and"),
        (
            {},
            {"fractions": (0.25, 1.0)},
            r"0.25 of the training cases are 2 images, fewer than unet.batch_size=4: say fractions='\[1\]', or lower",
        ),
    ],
)
def test_what_a_study_cannot_use_is_one_clear_line(data_of, arguments, changes, said):
    with pytest.raises(UserError, match=said):
        check_data(data_of(**arguments), replace(SETTINGS, **changes))


def test_as_many_images_are_generated_as_the_largest_ratio_takes_and_fewer_are_refused(data_of):
    train = data_of().split("train")
    assert len(train) == 8
    assert synthetic_count(None, train, SETTINGS) == preflight.SYNTHETIC
    assert synthetic_count(None, train, replace(SETTINGS, ratios=(500.0,))) == 4000
    assert synthetic_count(16, train, SETTINGS) == 16
    with pytest.raises(UserError, match=r"synthetic=15: .* take 16 synthetic images with 8 real ones"):
        synthetic_count(15, train, SETTINGS)
    assert synthetic_count(15, train, replace(SETTINGS, regimes=("real", "synthetic"))) == 15


@pytest.fixture
def run_on(tmp_path):
    """A generator trained on these data, which wrote its record."""

    def make(data: FolderData, with_masks: bool = True, **described) -> TrainedRun:
        TrainingRecord.of(data, data.split("train")).write(tmp_path)
        settings = {"with_masks": with_masks, "data": {**data.description.as_config(), **described}}
        return TrainedRun(tmp_path, settings, torch.nn.Module(), Path())

    return make


def test_a_generator_of_the_same_split_passes_and_one_that_saw_test_images_does_not(data_of, run_on):
    data = data_of()
    check_generator("gan", run_on(data), data)
    with pytest.raises(UserError, match="gan learned from 4 of the 4 test images"):
        check_generator("gan", run_on(data_of(splits={"train": 1.0})), data)


def test_a_generator_that_saw_images_of_the_validation_split_is_refused(data_of, run_on):
    data = data_of(splits={"train": 0.5, "val": 0.17, "test": 0.33})
    with pytest.raises(UserError, match="gan learned from 2 of the 2 val images"):
        check_generator("gan", run_on(data_of()), data)


def test_a_generator_without_a_record_is_judged_by_the_split_it_would_have_today_with_a_warning(
    data_of, run_on, tmp_path, monkeypatch, caplog
):
    data = data_of()
    run = run_on(data)
    (tmp_path / "training_images.json").unlink()
    monkeypatch.setattr(restore, "load_data", lambda run: data)
    check_generator("gan", run, data)
    assert "keeps no record of its training images" in caplog.text
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1
    monkeypatch.setattr(restore, "load_data", lambda run: data_of(splits={"train": 1.0}))
    with pytest.raises(UserError, match="gan learned from 4 of the 4 test images"):
        check_generator("gan", run, data)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"with_masks": False}, "gan makes images without masks"),
        ({"channels": 3}, "gan makes images of channels=3, the study has channels=1"),
        ({"resolution": 16}, "resolution=16, the study has resolution=8"),
        ({"masks": ["lung"]}, r"masks=\['lung'\], the study has masks=\['lesion'\]"),
    ],
)
def test_a_generator_of_other_images_is_one_clear_line(data_of, run_on, settings, said):
    data = data_of()
    with pytest.raises(UserError, match=said):
        check_generator("gan", run_on(data, **settings), data)
