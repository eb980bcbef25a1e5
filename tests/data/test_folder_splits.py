"""Classes, cases and splits of a user's own images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.core.errors import UserError
from src.data.store import count_splits
from tests.data.folders import everything, flat, folder_data, write


def test_folders_that_come_split_stay_so(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for split in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            write(root / split / label / f"{split}-person1_{label}.jpeg", 10)
    data = folder_data(root, split_folders={"train": "train", "test": "test"})
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2, "test": 2}
    assert data.split("test").gather(np.arange(2))["label"].tolist() == [0, 1]
    with pytest.raises(UserError, match="the group 'person1' is in the splits test and train"):
        folder_data(root, split_folders={"train": "train", "test": "test"}, group=r"person\d+").prepare()


def test_groups_named_in_two_ways_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.group and data\.group_starts both name"):
        folder_data(tmp_path, group=".*", group_starts=[1, 5])


def test_classes_and_groups_may_come_from_tables(tmp_path: Path) -> None:
    root = flat(tmp_path / "data", 6)
    rows = [f"{n}.png,{'sick' if n % 2 else 'healthy'},patient{n // 2}" for n in range(6)]
    (root / "table.csv").write_text("\n".join(["file,class,group", *rows]))
    data = folder_data(root, labels_csv="table.csv", group_csv="table.csv")
    assert data.description.classes == ("healthy", "sick")
    assert everything(data)["label"].tolist() == [0, 1, 0, 1, 0, 1]
    assert all(len(split) == 2 and len(set(split.rows // 2)) == 1 for split in data.splits.values())  # one patient each


def test_classes_of_a_table_are_selected_as_sub_folders_are(tmp_path: Path) -> None:
    root = flat(tmp_path / "data", 12)
    (root / "table.csv").write_text("\n".join(["file,class", *(f"{n}.png,{'abc'[n % 3]}" for n in range(12))]))
    rows = everything(data := folder_data(root, labels_csv="table.csv", classes=["c", "a"]))
    assert data.description.classes == ("c", "a")
    assert rows["image"][:, 0, 0, 0].tolist() == [0, 20, 30, 50, 60, 80, 90, 110]
    assert rows["label"].tolist() == [1, 0] * 4
    with pytest.raises(UserError, match=r"data\.classes names 'd', but data\.labels_csv has only a, b, c"):
        folder_data(root, labels_csv="table.csv", classes=["d"]).prepare()
    with pytest.raises(UserError, match=r"data\.classes=\['a', 'a'\] names one twice"):
        folder_data(root, labels_csv="table.csv", classes=["a", "a"])


@pytest.mark.parametrize("option", ["group", "labels"])
def test_an_empty_cell_is_no_group_and_no_class(tmp_path: Path, option: str) -> None:
    root = flat(tmp_path / "data", 3)
    (root / "table.csv").write_text("file,class,group\n0,a,1\n1,,\n2\n")
    with pytest.raises(UserError, match=rf"data\.{option}_csv: .*table\.csv has no \w+ for 1\.png: fill in its row"):
        folder_data(root, **{f"{option}_csv": "table.csv"}).prepare()


def test_images_without_a_group_are_not_counted_as_cases(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for patient in range(10):
        for image in range(2):
            write(tmp_path / "data" / f"p{patient}_{image}.png", 10 * patient + image)
    grouped = folder_data(tmp_path / "data", group="^(.*)_")
    assert (
        count_splits(grouped.splits) == "train 14 images of 7 cases, val 2 images of 1 cases, test 4 images of 2 cases"
    )
    folder_data(tmp_path / "data", splits={"train": 1.0}).prepare()
    assert not [r for r in caplog.records if r.levelname == "WARNING"]  # where nothing is split, cases do not matter
    assert count_splits(folder_data(tmp_path / "data").splits) == "train 14 images, val 2 images, test 4 images"
    hint = "folder: each image counts as a case of its own: set data.group if several show one patient"
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [hint]


def test_a_split_without_a_class_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(10):
        write(tmp_path / "data" / "common" / f"{number}.png", 10 * number)
    for number in range(2):
        write(tmp_path / "data" / "rare" / f"{number}.png", 200 + number)
    data = folder_data(tmp_path / "data", seed=1)
    lacking = [name for name, split in data.splits.items() if not data.split("train").store.labels[split.rows].any()]
    assert lacking
    line = "; ".join(f"{name} has no image of rare" for name in lacking)
    assert f"folder: {line}: add images, or try another data.seed or data.splits" in caplog.messages
    caplog.clear()
    write(tmp_path / "data" / "rare" / "2.png", 202)
    folder_data(tmp_path / "data", seed=1).prepare()
    assert "has no image" not in caplog.text


def test_the_same_picture_in_two_splits_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    for number in range(6):
        write(root / "train" / f"{number}.png", 10 * number)
    for number in range(3):
        write(root / "test" / f"x{number}.png", 100 + 10 * number)
    options: dict[str, Any] = {"split_folders": {"train": "train", "test": "test"}}
    write(root / "train" / "6.png", 0)  # a copy within its split is no harm
    folder_data(root, **options).prepare()
    assert "two splits" not in caplog.text
    write(root / "test" / "x0.tif", 0)
    (root / "test" / "x0.png").unlink()
    (root / "test" / "x1.png").write_bytes((root / "train" / "5.png").read_bytes())
    for _ in ("built", "opened"):
        caplog.clear()
        folder_data(root, **options).prepare()
        counted = (
            "folder: 5 images lie in two splits with the same pixels, such as train/0.png in train and test/x0.tif in"
        )
        assert counted in caplog.text
    caplog.clear()
    folder_data(root, splits={"train": 1.0}, images="train").prepare()
    assert "two splits" not in caplog.text
