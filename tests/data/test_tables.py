"""Tables of cases and classes are read as programs save them, or say what is missing."""

from pathlib import Path

import pytest

from src.core.errors import UserError
from src.data.tables import read_column


def test_a_table_names_files_by_path_name_or_stem(tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    table.write_text("file,patient\nx/a.png,1\nb.png,2\nc,3\n")
    assert read_column(table, "patient", ["x/a.png", "x/b.png", "x/c.png"], "data.group_csv") == ["1", "2", "3"]


def test_a_table_without_the_file_the_column_or_the_row_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    with pytest.raises(UserError, match=r"data\.group_csv: no file .*cases\.csv"):
        read_column(table, "patient", ["a.png"], "data.group_csv")
    table.write_text("file,patient\na.png,1\n")
    with pytest.raises(
        UserError, match=r"no column 'case': its columns are file, patient; data\.csv_columns='\{file: file, g"
    ):
        read_column(table, "case", ["a.png"], "data.group_csv")
    with pytest.raises(UserError, match=r"no row for b\.png"):
        read_column(table, "patient", ["b.png"], "data.group_csv")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["test/1.png,1", "test/1.png,2", "train/1.png,1"], r"has '1' and '2' for test/1\.png: remove one row"),
        (["1.png,1"], r"'1\.png' of .*cases\.csv is train/1\.png and test/1\.png: name files by their paths"),
        (["1,1"], r"'1' of .*cases\.csv is train/1\.png and test/1\.png: name files by their paths"),
    ],
)
def test_a_table_that_can_be_read_in_two_ways_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    table = tmp_path / "cases.csv"
    table.write_text("\n".join(["file,patient", *rows]))
    with pytest.raises(UserError, match=message):
        read_column(table, "patient", ["train/1.png", "test/1.png"], "data.group_csv")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_delimiter_and_encoding_is_read(tmp_path: Path, delimiter: str, encoding: str) -> None:
    table = tmp_path / "cases.csv"
    rows = [("file", "patient", "note"), ("a.png", "Zoë", "x; y, z"), ("b.png", "Ümit", "")]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in rows]
    table.write_bytes("\r\n".join(lines).encode(encoding))
    assert read_column(table, "patient", ["a.png", "b.png"], "data.group_csv") == ["Zoë", "Ümit"]


def test_another_encoding_can_be_named(tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    table.write_bytes("file,patient\na,Юрий\n".encode("cp1251"))
    assert read_column(table, "patient", ["a.png"], "data.group_csv", encoding="cp1251") == ["Юрий"]
    with pytest.raises(UserError, match=r"data\.csv_encoding=klingon is no encoding"):
        read_column(table, "patient", ["a.png"], "data.group_csv", encoding="klingon")
    with pytest.raises(UserError, match=r"cases\.csv is not in ascii .*: set data\.csv_encoding"):
        read_column(table, "patient", ["a.png"], "data.group_csv", encoding="ascii")


def test_columns_of_other_names_are_guessed_in_the_error(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("image_id;dx\nISIC_1;nv\nISIC_2;mel\n")
    files = ["images/ISIC_1.jpg", "images/ISIC_2.jpg"]
    line = (
        r"no column 'file': its columns are image_id, dx; data\.csv_columns='\{file: image_id, class: dx\}' names them"
    )
    with pytest.raises(UserError, match=line):
        read_column(table, "class", files, "data.labels_csv")
    assert read_column(table, "dx", files, "data.labels_csv", "image_id") == ["nv", "mel"]
