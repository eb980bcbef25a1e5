"""Classes that several names stand for."""

from pathlib import Path

import numpy as np
import pytest

from src.core.errors import UserError
from tests.data.folders import everything, folder_data, write

PATTERNS = {"squamous": r"squamous\.cell", "normal": "normal"}


def ct_like(root: Path) -> Path:
    """Train has longer names than test."""
    for number, (split, name) in enumerate(
        [("train", "squamous.cell_left_T1"), ("train", "normal"), ("test", "squamous.cell"), ("test", "normal")]
    ):
        for copy in range(3):
            write(root / split / name / f"{copy}.png", 40 * number + 10 * copy)
    return root


def test_folders_of_unlike_names_are_one_class_by_their_common_beginning(tmp_path: Path) -> None:
    folders = {"train": "train", "test": "test"}
    data = folder_data(ct_like(tmp_path / "ct"), split_folders=folders, class_patterns=PATTERNS)
    assert data.description.classes == ("normal", "squamous")
    assert {name: np.bincount(s.store.labels[s.rows]).tolist() for name, s in data.splits.items()} == {
        "train": [3, 3], "test": [3, 3]
    }  # fmt: skip
    first = data.split("test").files()[3]
    assert first.startswith("test/squamous.cell/") and data.split("test").store.labels[data.split("test").rows[3]] == 1


def test_classes_choose_among_those_of_the_patterns_and_order_them(tmp_path: Path) -> None:
    options = {"split_folders": {"train": "train", "test": "test"}, "class_patterns": PATTERNS}
    data = folder_data(ct_like(tmp_path / "ct"), classes=["squamous", "normal"], **options)
    assert data.description.classes == ("squamous", "normal") and len(everything(data)["label"]) == 12
    chosen = folder_data(ct_like(tmp_path / "ct"), classes=["squamous"], **options)
    assert len(everything(chosen)["label"]) == 6
    with pytest.raises(UserError, match=r"data.classes names 'other', but data.class_patterns find only normal, squam"):
        folder_data(ct_like(tmp_path / "ct"), classes=["other"], **options).prepare()


@pytest.mark.parametrize(
    ("patterns", "matched"),
    [({"normal": "normal"}, "matches none"), ({"a": ".*", "normal": "n"}, "those of a and")],
)
def test_a_folder_of_no_class_or_of_two_is_asked_about(tmp_path: Path, patterns: dict, matched: str) -> None:
    folders = {"train": "train", "test": "test"}
    with pytest.raises(UserError, match=f"data.class_patterns: .* must match one pattern and .*{matched}"):
        folder_data(ct_like(tmp_path / "ct"), split_folders=folders, class_patterns=patterns).prepare()


def test_patterns_of_a_flat_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "flat" / "1.png", 3)
    with pytest.raises(UserError, match=r"data.class_patterns is set, but .* has no sub-folders"):
        folder_data(tmp_path / "flat", class_patterns=PATTERNS).prepare()


def graded(root: Path, table: str) -> Path:
    for number in range(6):
        write(root / "images" / "images" / ("mild" if number % 2 else "none") / f"{number}.png", number)
    (root / "train.csv").write_text(table)
    return root


TABLE = "id_code,diagnosis\n" + "".join(f"{number},{number % 2}\n" for number in range(6))
OPTIONS = {
    "images": "images", "labels_csv": "train.csv", "csv_columns": {"file": "id_code", "class": "diagnosis"},
    "class_patterns": {"none": "0$", "mild": "1$"}, "classes": ["none", "mild"],
}  # fmt: skip


def test_codes_of_a_table_are_classes_and_an_unpacked_folder_in_its_like_is_found(tmp_path: Path) -> None:
    data = folder_data(graded(tmp_path / "eyes", TABLE), **OPTIONS)
    assert data.description.classes == ("none", "mild") and everything(data)["label"].tolist() == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (TABLE.replace("4,0\n", ""), r"data.labels_csv: .*train.csv has no row for images/images/none/4.png: add it"),
        (TABLE.replace("4,0\n", "4,\n"), r"train.csv has no diagnosis for images/images/none/4.png: fill in its row"),
        (TABLE.replace("4,0\n", "4,7\n"), r"'7' in .*train.csv must match one pattern and matches none"),
        (TABLE.replace("4,0\n", "4,1\n"), r"none/4.png lies in the folder none and is mild in data.labels_csv"),
        (TABLE.replace("id_code", "file"), r"train.csv has no column 'id_code': its columns are file, diagnosis"),
    ],
)
def test_a_label_that_is_missing_unknown_or_of_another_folder_is_one_clear_line(
    tmp_path: Path, table: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        folder_data(graded(tmp_path / "eyes", table), **OPTIONS).prepare()


def test_a_set_that_is_missing_is_said_with_where_it_is_looked_for_and_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"folder is not in .*nowhere: get it from Kaggle \(x/y\), and put it there or"):
        folder_data(tmp_path / "nowhere", origin="Kaggle (x/y)").prepare()
