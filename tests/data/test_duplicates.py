"""Images that are there twice."""

import logging
from pathlib import Path
from typing import Any

import pytest

from src.core.errors import UserError
from src.data.folder import FolderData
from tests.data.folders import folder_data, write


def doubled(root: Path) -> Path:
    """Test repeats an image of train, train one of its own, and one image is of two classes."""
    for split, name, value in [
        ("train", "a/1", 10), ("train", "a/2", 20), ("train", "a/3", 20), ("train", "b/1", 30), ("train", "b/2", 40),
        ("val", "a/1", 50), ("val", "a/2", 60), ("val", "b/1", 70),
        ("test", "a/1", 10), ("test", "a/2", 80), ("test", "b/1", 40), ("test", "a/3", 40), ("test", "b/2", 60),
    ]:  # fmt: skip
        write(root / split / f"{name}.png", value)
    return root


def data_of(root: Path, duplicates: str) -> FolderData:
    folders: Any = {name: name for name in ("train", "val", "test")}
    return folder_data(doubled(root), split_folders=folders, duplicates=duplicates)


def test_of_copies_the_first_stays_and_of_two_classes_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = data_of(tmp_path / "ct", "drop")
    files = {name: split.files() for name, split in data.splits.items()}
    assert files == {
        "train": ["train/a/1.png", "train/a/2.png", "train/b/1.png"],
        "val": ["val/a/1.png", "val/b/1.png"],
        "test": ["test/a/2.png"],
    }
    assert data.left_out == {
        "train/a/3.png": "a copy of train/a/2.png",
        "test/a/1.png": "a copy of train/a/1.png",
        **{
            file: f"copies of it are of other classes: {others}"
            for file, others in [
                ("train/b/2.png", "test/a/3.png, test/b/1.png"),
                ("test/a/3.png", "train/b/2.png, test/b/1.png"),
                ("test/b/1.png", "train/b/2.png, test/a/3.png"),
                ("test/b/2.png", "val/a/2.png"),
                ("val/a/2.png", "test/b/2.png"),
            ]
        },
    }
    assert "7 duplicates left out of 13 images" in caplog.text and not data.crossing_copies


def test_they_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"5 images have the same pixels as another one, such as .*png and .*drop"):
        data_of(tmp_path / "ct", "refuse").prepare()


def test_kept_ones_are_counted_where_they_cross_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    data = data_of(tmp_path / "ct", "keep")
    assert sum(map(len, data.splits.values())) == 13 and not data.left_out
    assert "images lie in two splits with the same pixels" in caplog.text


def test_a_split_of_duplicates_alone_is_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / "ct" / split / "1.png", 10)
    with pytest.raises(UserError, match="all images of the split 'test' are duplicates"):
        folder_data(tmp_path / "ct", split_folders={"train": "train", "test": "test"}, duplicates="drop").prepare()


def test_data_that_are_divided_here_are_so_without_duplicates(tmp_path: Path) -> None:
    for number in range(40):
        write(tmp_path / "scans" / f"{number:02}.png", 5 * (number // 2))
    data = folder_data(tmp_path / "scans", duplicates="drop")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 14, "val": 2, "test": 4}


def test_a_run_names_the_images_that_were_left_out(run_tiny: Any, tmp_path: Path) -> None:
    for number in range(40):
        write(tmp_path / "scans" / f"{number:02}.png", 5 * (number // 2), 16)
    outcome = run_tiny(
        "data=folder", f"data.root={tmp_path}/scans", "data.duplicates=drop", "batch_size=4", "images=16", "name=a",
        "every.sample=16",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    lines = (tmp_path / "outputs" / "a" / "left_out.csv").read_text().splitlines()
    assert lines[0] == "file,reason" and len(lines) == 21 and lines[1].split(",")[1].startswith("a copy of ")
    assert '"left_out": 20' in (tmp_path / "outputs" / "a" / "summary.json").read_text()
