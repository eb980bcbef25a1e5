"""Whether data are those that a run learned from."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from src.core.errors import UserError
from src.data.fingerprint import DataRecord
from src.data.folder import FolderData


@pytest.fixture
def scans(tmp_path) -> Path:
    """Ten patients with two images and masks each."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "scans" / kind).mkdir(parents=True)
    for patient in range(10):
        for slice_ in range(2):
            name = f"p{patient}_{slice_}.png"
            Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(tmp_path / "scans/images" / name)
            mask = Image.fromarray(np.tile(np.repeat([0, 255], 8), (16, 1)).astype(np.uint8))
            mask.save(tmp_path / "scans/masks" / name)
    return tmp_path / "scans"


def record(root: Path, cache: Path, **options) -> DataRecord:
    data = FolderData(
        str(root), str(cache), 16, images="images", mask_folders={"lesion": "masks"}, group="^(p[0-9]+)", **options
    )
    return DataRecord.of(data)


def test_the_same_files_at_another_place_and_time_are_the_same_data(scans, tmp_path):
    before = record(scans, tmp_path / "cache")
    shutil.copytree(scans, tmp_path / "copy", copy_function=shutil.copyfile)
    for path in (tmp_path / "copy").rglob("*.png"):
        os.utime(path, (1, 1))
    again = record(tmp_path / "copy", tmp_path / "other")
    assert before.difference(again) == "" and before.fingerprint == again.fingerprint


def test_what_changed_is_counted(scans, tmp_path):
    before = record(scans, tmp_path / "cache")
    for number in range(3):
        path = scans / f"masks/p{number}_0.png"
        ImageOps.invert(Image.open(path)).save(path)
    Image.new("L", (16, 16), 7).save(scans / "images/p4_0.png")
    for kind in ("images", "masks"):
        (scans / kind / "p5_0.png").unlink()
        shutil.copy(scans / kind / "p6_0.png", scans / kind / "p6_2.png")
        shutil.copy(scans / kind / "p6_0.png", scans / kind / "p6_3.png")
    now = record(scans, tmp_path / "cache")
    assert before.difference(now) == "2 images added, 1 image gone, 1 image changed, 3 masks changed"
    assert now.difference(before) == "1 image added, 2 images gone, 1 image changed, 3 masks changed"
    assert before.fingerprint != now.fingerprint


def test_another_split_is_other_data(scans, tmp_path):
    one, other = (record(scans, tmp_path / "cache", seed=seed) for seed in (0, 1))
    assert one.difference(other).endswith("images in another split")


def test_a_record_survives_writing_and_names_no_file(scans, tmp_path):
    written = record(scans, tmp_path / "cache")
    written.write(tmp_path)
    assert DataRecord.read(tmp_path) == written
    assert "p0" not in (tmp_path / "data.json").read_text()
    for text in ("", "{", "{}", json.dumps({"images": {"a": ["train"]}, "training": ""})):
        (tmp_path / "data.json").write_text(text)
        with pytest.raises(UserError, match=r"data.json is damaged: restore it, or delete it"):
            DataRecord.read(tmp_path)
