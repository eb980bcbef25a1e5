"""The four medical sets as they are configured, in their published layouts."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate

from src.core.errors import UserError

ROOTS = {
    "chest_ct": "chest-ctscan-images", "pannuke": "pannuke-breast-sample",
    "retinopathy": "diabetic-retinopathy-224-gaussian", "chest_xray": "chest_xray",
}  # fmt: skip


def real(name: str, datasets: Path, compose: Any, monkeypatch: pytest.MonkeyPatch, *asked: str) -> Any:
    if not (datasets / ROOTS[name]).is_dir():
        pytest.skip(f"no {ROOTS[name]} in {datasets}")
    monkeypatch.setenv("DATA_DIR", str(datasets))
    return instantiate(compose(f"data={name}", "resolution=32", *asked).data)


def counts(data: Any) -> dict[str, list[int]]:
    classes = len(data.description.classes)
    return {name: np.bincount(s.store.labels[s.rows], minlength=classes).tolist() for name, s in data.splits.items()}


def test_chest_ct_has_four_classes_in_each_of_its_splits(datasets, compose, monkeypatch) -> None:
    data = real("chest_ct", datasets, compose, monkeypatch)
    assert data.description.classes == ("adenocarcinoma", "large.cell.carcinoma", "squamous.cell.carcinoma", "normal")
    assert counts(data) == {"train": [194, 115, 152, 55], "val": [23, 21, 15, 3], "test": [120, 51, 90, 8]}
    assert data.description.channels == 1 and not data.left_out


def test_duplicates_put_back_into_chest_ct_are_dropped_by_name(datasets, compose, monkeypatch, tmp_path) -> None:
    source = datasets / ROOTS["chest_ct"] / "Data"
    if not source.is_dir():
        pytest.skip(f"no chest CT in {datasets}")
    for folder in (f for f in source.glob("*/*") if f.is_dir()):
        target = tmp_path / ROOTS["chest_ct"] / "Data" / folder.relative_to(source)
        target.mkdir(parents=True)
        for file in sorted(folder.iterdir())[:3]:
            (target / file.name).symlink_to(file)
    root = tmp_path / ROOTS["chest_ct"] / "Data"
    normal = sorted((root / "train" / "normal").iterdir())[0]
    (root / "test" / "normal" / "again.png").write_bytes(normal.read_bytes())
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    data = instantiate(compose("data=chest_ct", "resolution=32").data)
    assert {k: sum(v) for k, v in counts(data).items()} == {"train": 12, "val": 12, "test": 12}
    assert data.left_out == {"test/normal/again.png": f"a copy of train/normal/{normal.name}"}


def test_retinopathy_has_the_five_grades_of_its_table(datasets, compose, monkeypatch) -> None:
    data = real("retinopathy", datasets, compose, monkeypatch)
    assert data.description.classes == ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR")
    assert counts(data) == {"train": [7] * 5, "val": [1] * 5, "test": [2] * 5}
    with (datasets / ROOTS["retinopathy"] / "train.csv").open() as table:
        grades = {row["id_code"]: int(row["diagnosis"]) for row in csv.DictReader(table)}
    for split in data.splits.values():
        found = split.store.labels[split.rows].tolist()
        assert [grades[Path(file).stem] for file in split.files()] == found


def test_the_sample_of_pannuke_has_its_masks_and_one_of_nineteen_tissues(datasets, compose, monkeypatch) -> None:
    data = real("pannuke", datasets, compose, monkeypatch, "resolution=256", "data.folds={train: 1}")
    store = data.split("train").store
    raw = np.load(datasets / ROOTS["pannuke"] / "Fold 1/masks/fold1/masks.npy")
    assert Counter(data.description.classes[label] for label in store.labels) == {"Breast": 20}
    assert np.array_equal(store.masks, (raw > 0).transpose(0, 3, 1, 2).astype(np.uint8))  # the background too
    pixels = np.load(datasets / ROOTS["pannuke"] / "Fold 1/images/fold1/images.npy")
    assert np.array_equal(store.images, pixels.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("name", ROOTS)
def test_a_set_that_is_missing_is_said_with_its_place_and_its_source(name, compose, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=rf"{name} is not in {tmp_path}.*: get it from .*Kaggle") as problem:
        instantiate(compose(f"data={name}").data).prepare()
    assert "\n" not in str(problem.value)


def test_balanced_grades_are_shown_equally_often_and_that_is_said(datasets, run_tiny, caplog) -> None:
    if not (datasets / ROOTS["retinopathy"]).is_dir():
        pytest.skip(f"no retinas in {datasets}")
    caplog.set_level(logging.INFO)
    asked = ("data=retinopathy", f"paths.data={datasets}", "data.balance=true", "batch_size=10", "images=20", "name=a")
    outcome = run_tiny(*asked, "every.sample=20")
    assert outcome.status == 0, outcome.err
    log = Path("outputs/a/run.log").read_text()
    assert "retinopathy: all classes are shown equally often, of 7 No_DR, 7 Mild, 7 Moderate" in log
