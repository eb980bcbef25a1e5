"""Which images of a data set are in no split, and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from src.core.atomic import write_atomically

FILE = "left_out.csv"  # in a run folder


def write_left_out(folder: Path, left_out: Mapping[str, str]) -> None:
    """A table of the files and the reasons; no file where there are none."""
    if not left_out:
        (folder / FILE).unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("file", "reason"), *left_out.items()])
    write_atomically(folder / FILE, text.getvalue())
