"""Public data sets in their original layouts, read as a user's own folder."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from src.command_line.schema import CONF
from src.data.folder import FolderData

DATA_DIR = Path(os.environ.get("DATA_DIR", Path(__file__).parents[3] / "shared" / "datasets"))


def real(name: str) -> Path:
    if not (DATA_DIR / name).is_dir():
        pytest.skip(f"no {name} in DATA_DIR={DATA_DIR}")
    return DATA_DIR / name


def test_sunnybrook_splits_by_case(tmp_path: Path) -> None:
    data = FolderData(
        str(real("sunnybrook-cardiac")), str(tmp_path), 96,
        images="images", mask_folders={"cavity": "i_labels"}, group="^(.*)-IM",
    )  # fmt: skip
    store = data.split("train").store
    assert store.masks is not None
    assert store.images.shape == store.masks.shape == (805, 1, 96, 96)
    files = store.meta["files"]
    cases = [{files[row].split("/")[1].split("-IM")[0] for row in split.rows} for split in data.splits.values()]
    assert sum(map(len, cases)) == len(set.union(*cases)) == 45
    assert store.masks.reshape(805, -1).any(axis=1).all()
    inside = np.array([image[mask > 0].mean() for image, mask in zip(store.images, store.masks, strict=True)])
    assert (inside > store.images.reshape(805, -1).mean(axis=1)).mean() > 0.95  # blood is bright: masks lie on it


def test_cvc_is_split_between_its_sequences(tmp_path: Path) -> None:
    """No picture of a polyp is tested that the network has learned from another frame of the same sequence."""
    cfg = OmegaConf.load(CONF / "data" / "cvc_clinicdb.yaml")
    data = FolderData(
        str(real("cvc-clinicdb")), str(tmp_path), 64, images="Original", mask_folders={"polyp": "Ground Truth"},
        aspect=cfg.aspect, split_by=cfg.split_by, group_starts=cfg.group_starts,
    )  # fmt: skip
    store = data.split("train").store
    assert store.masks is not None and store.images.shape == (612, 3, 48, 64)
    numbers = [[int(Path(store.meta["files"][row]).stem) for row in split.rows] for split in data.splits.values()]
    assert [(part[0], part[-1], len(part)) for part in numbers] == [(1, 428, 428), (429, 478, 50), (479, 612, 134)]
    cases = [set(split.cases or ()) for split in data.splits.values()]
    assert [len(part) for part in cases] == [20, 3, 6] and len(set.union(*cases)) == 29


def test_frames_of_another_aspect_are_padded_and_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    data = FolderData(str(real("cvc-clinicdb")), str(tmp_path), 64, images="Original", split_by="order")
    images = data.split("train").store.images
    assert "612 of 612 images are not square (612 of 256x192): padded with black" in caplog.text
    assert images.shape == (612, 3, 64, 64) and not images[:, :, [0, 7, -8, -1]].any()


def test_chest_xray_keeps_its_own_splits(tmp_path: Path) -> None:
    folders = {"train": "train", "val": "val", "test": "test"}
    data = FolderData(str(real("chest_xray")), str(tmp_path), 16, split_folders=folders)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 1305, "val": 16, "test": 618}
    assert data.description.classes == ("NORMAL", "PNEUMONIA") and data.description.channels == 1
    assert np.bincount(data.split("test").gather(np.arange(618))["label"]).tolist() == [231, 387]
