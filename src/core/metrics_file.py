"""A table that grows by a row per interval, keyed by images shown."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from src.core.atomic import write_atomically

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)


class MetricsFile:
    """``metrics.csv`` or ``scores.csv``: a header, and a row per interval; the first column is ``images``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        return self.path.exists()

    def append(self, images: int, row: Mapping[str, float], sync: bool = True) -> None:
        """Add a row, whole; where that fails the file stays as it was.

        ``sync``: wait until it is on the disk; otherwise a power cut loses it unless ``sync`` is called.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        size = self.path.stat().st_size if self.path.exists() else 0
        if not size:
            writer.writerow(["images", *row])
        writer.writerow([images, *row.values()])
        with open(self.path, "ab", buffering=0) as file:
            try:
                content = memoryview(text.getvalue().encode())
                while content:  # a disk that fills up takes a part
                    content = content[file.write(content) :]
                if sync:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise

    def sync(self) -> None:
        """Wait until all rows are on the disk."""
        if self.exists():
            with open(self.path, "rb+") as file:
                os.fsync(file.fileno())

    def read(self) -> dict[str, np.ndarray]:
        """Columns by name."""
        import numpy as np  # now: --help and a typo come by here

        header, rows = self._rows()
        columns = np.array(rows, dtype=float).reshape(len(rows), len(header)).T
        return dict(zip(header, columns, strict=True))

    def seconds(self) -> float:
        """Time spent on training, over all the sessions of the run."""
        import numpy as np

        columns = self.read()
        return float((np.diff(columns["images"], prepend=0) / columns["images_per_s"]).sum())

    def drop_after(self, images: int) -> None:
        """Remove rows of images that the resumed run will show again; what cannot be read is kept beside the file."""
        if not self.exists():
            return
        header, rows = self._rows()
        if self.path.read_bytes().count(b"\n") > len(rows) + 1:
            damaged = self.path.with_name(f"{self.path.stem}_damaged.csv")
            damaged.write_bytes(self.path.read_bytes())
            log.warning(f"{self.path} has rows that cannot be read: it goes on without them, {damaged.name} has them")
        kept = [row for row in rows if int(row[0]) <= images]
        if kept:
            write_atomically(self.path, "\n".join(",".join(row) for row in [header, *kept]) + "\n")
        else:
            self.path.unlink()

    def _rows(self) -> tuple[list[str], list[list[str]]]:
        """The header, and the rows that are whole and fit it."""
        whole = self.path.read_bytes().rpartition(b"\n")[0].decode(errors="replace").replace("\0", "")
        lines = list(csv.reader(whole.splitlines()))
        header = lines[0] if lines and lines[0][:1] == ["images"] else ["images"]
        return header, [row for row in lines[1:] if len(row) == len(header) and _is_row(row)]


def _is_row(row: list[str]) -> bool:
    try:
        return row[0].isdecimal() and bool([float(value) for value in row])
    except ValueError:
        return False
