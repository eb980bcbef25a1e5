"""What an export has written so far: a line per image, so that it can go on after a kill."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from src.core.atomic import write_atomically
from src.core.errors import UserError


class Journal:
    """A CSV file that grows by whole lines; ``columns`` are its header, and one of them is ``index``."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Go on in ``path``: a line that a kill left half-written is dropped."""
        self.path, self.columns = path, list(columns)
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        write_atomically(path, whole + b"\n" if whole else ",".join(columns) + "\n")

    def append(self, row: Sequence[object]) -> None:
        with open(self.path, "a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)

    def drop_from(self, index: int) -> None:
        """Forget the images from this one on."""
        lines = [",".join(self.columns)] + [
            ",".join(row[column] for column in self.columns) for row in self.rows() if int(row["index"]) < index
        ]
        write_atomically(self.path, "\n".join(lines) + "\n")

    def rows(self) -> list[dict[str, str]]:
        """Raises UserError where the file is damaged."""
        with open(self.path, newline="", errors="replace") as file:
            rows = list(csv.DictReader(file))
        if all(str(row.get("index")).isdecimal() and None not in row.values() for row in rows):
            return rows
        raise UserError(f"{self.path} is damaged: delete {self.path.parent} and export anew")

    def indices(self) -> list[int]:
        return [int(row["index"]) for row in self.rows()]
