"""Columns of a CSV file by the images that its rows are of."""

from __future__ import annotations

import codecs
import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from src.core.errors import UserError

logger = logging.getLogger(__name__)

DELIMITERS = (",", ";", "\t", "|")
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
NAMED = 0.8  # of the images, which a table has to name to be one of theirs
CLASSES = 20  # values of a column at most that may be a class
FALLBACK = "cp1252"  # what Excel saves as CSV in western Europe and America


@dataclass(frozen=True)
class Tables:
    """The tables of a folder: where they lie, their unusual names of columns, and their encoding where that is said."""

    root: Path
    columns: Mapping[str, str]  # of file, class or group, the name of its column
    encoding: str | None

    def column(self, table: str, column: str, files: Sequence[str], option: str) -> list[str]:
        """The value for each of ``files``, several of which may be equal. Raises UserError as ``read_column``."""
        named = list(dict.fromkeys(files))  # a volume has a row, its slices do not
        path, file_column = self.root / table, self.columns.get("file", "file")
        values = read_column(path, column, named, option, file_column, self.encoding)
        for file, value in zip(named, values, strict=True):
            if not value.strip():
                raise UserError(f"{option}: {path} has no {column} for {file}: fill in its row")
        by_file = dict(zip(named, values, strict=True))
        return [by_file[file] for file in files]


def read_column(
    table: Path, column: str, files: Sequence[str], option: str, file_column: str = "file", encoding: str | None = None
) -> list[str]:
    """The value of ``column`` for each of ``files`` from a CSV file with a column ``file_column``.

    That column may name a file by its path below the root, by its name or by its stem. ``option`` is the
    configuration key to name in errors. Raises UserError where the table, a column or a file's row is missing, where
    two rows of one file differ, and where a row stands for two files.
    """
    values = _read_table(table, column, option, file_column, encoding, files)
    found: dict[str, str] = {}  # by the name in the table, the file that it stands for
    for file in files:
        path = PurePosixPath(file)
        name = next((name for name in (file, path.name, path.stem) if name in values), None)
        if name is None:
            there = f"; its first is {next(iter(values))}" if values else ""
            raise UserError(f"{option}: {table} has no row for {file}: add it{there}")
        if found.setdefault(name, file) != file:
            raise UserError(f"{option}: {name!r} of {table} is {found[name]} and {file}: name files by their paths")
    if spare := [name for name in values if name not in found]:
        logger.warning("%s: %d rows of %s are of no image, such as %s", option, len(spare), table, spare[0])
    return [values[name] for name in found]


def _read_table(
    table: Path, column: str, option: str, file_column: str, encoding: str | None, files: Sequence[str]
) -> dict[str, str]:
    """``column`` by ``file_column``, "" where a row has no value."""
    if not table.is_file():
        raise UserError(f"{option}: no file {table}: give its path, absolute or below data.root")
    values: dict[str, str] = {}
    try:
        lines = _text(table, option, encoding).splitlines(keepends=True)
        reader = csv.DictReader(lines, delimiter=_delimiter(lines, (file_column, column)))
        columns = reader.fieldnames or ()
        if missing := [needed for needed in (file_column, column) if needed not in columns]:
            key = "class" if option.endswith("labels_csv") else "group"
            said = _guess(next(reader, {}), column if column in columns else None, files)
            raise UserError(
                f"{option}: {table} has no column {missing[0]!r}: its columns are {', '.join(columns) or 'none'}; "
                f"data.csv_columns='{{file: {said[0]}, {key}: {said[1]}}}' names them"
            )
        for row in reader:
            file, value = row[file_column], row[column] or ""
            if values.setdefault(file, value) != value:
                raise UserError(f"{option}: {table} has {values[file]!r} and {value!r} for {file}: remove one row")
    except csv.Error as error:
        raise UserError(f"{option}: {table} is no CSV file: {error}") from error
    return values


def columns_of(table: Path, files: Sequence[str]) -> tuple[str, list[str]] | None:
    """The column of a table that names most of ``files``, and those that may be their classes; None where none does."""
    try:
        lines = table.read_bytes().decode(errors="replace").splitlines(keepends=True)
        rows = list(csv.DictReader(lines, delimiter=_delimiter(lines, ())))
    except csv.Error:
        return None
    known = {name: file for file in files for name in (file, PurePosixPath(file).name, PurePosixPath(file).stem)}
    columns = [column for column in (rows[0] if rows else ()) if column]
    for column in columns:
        of_images = [row for row in rows if row[column] in known]
        if len({known[row[column]] for row in of_images}) >= NAMED * len(files):
            values = {other: {row[other] for row in of_images} for other in columns if other != column}
            most = max(2, min(CLASSES, len(of_images) // 2))
            return column, [other for other, own in values.items() if 2 <= len(own) <= most]
    return None


def _guess(row: Mapping[str, str], column: str | None, files: Sequence[str]) -> tuple[str, str]:
    """The columns that name the file and the value, by what the first row has; "<column>" where that is not clear."""
    names = {name for file in files for name in (file, PurePosixPath(file).name, PurePosixPath(file).stem)}
    of_files = [name for name, value in row.items() if value in names]
    others = [name for name in row if name not in of_files]
    file = of_files[0] if len(of_files) == 1 else "<column>"
    return file, column or (others[0] if len(others) == 1 else "<column>")


def _text(table: Path, option: str, encoding: str | None) -> str:
    content = table.read_bytes()
    by_mark = next((name for mark, name in BOMS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding or by_mark)
    except LookupError as error:
        raise UserError(f"data.csv_encoding={encoding} is no encoding that Python knows: cp1252, utf-8, …") from error
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise UserError(
                f"{option}: {table} is not in {encoding} ({error.reason}): set data.csv_encoding"
            ) from error
    logger.warning("%s is not in UTF-8, and read as Windows-1252: data.csv_encoding names another", table)
    return content.decode(FALLBACK, errors="replace")


def _delimiter(lines: Sequence[str], needed: Sequence[str]) -> str:
    """The one that gives the needed columns, or the most."""
    head = lines[0] if lines else ""
    fields = {sign: next(csv.reader([head], delimiter=sign), []) for sign in DELIMITERS}
    return max(DELIMITERS, key=lambda sign: (all(name in fields[sign] for name in needed), len(fields[sign])))
