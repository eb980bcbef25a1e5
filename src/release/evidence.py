"""What has been measured of the generator behind a data set, as its run folder records it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from src.core.errors import UserError
from src.scoring.report import Row, read_rows
from src.training.restore import TrainedRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evidence:
    """Scores with their passports.

    Args:
        rows: the generator's, then, where they were scored beside, those of unseen real images and of noise.
        source: the file they are from, below the run folder.
    """

    rows: Sequence[Row] = ()
    source: str = ""

    @classmethod
    def of(cls, run: TrainedRun) -> Evidence:
        """The newest evaluation of the checkpoint by ``src.evaluate``, else the scores that training ended with."""
        found = list((run.folder / "evaluation" / run.checkpoint.stem).glob("*/scores.json"))
        newest = sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.as_posix()), reverse=True)
        for path in (*newest, run.folder / "scores.json"):
            if path.is_file():
                try:
                    rows = read_rows(path)
                except UserError as problem:
                    log.warning(f"{problem}; the dataset card goes without")
                else:
                    return cls(rows, path.relative_to(run.folder).as_posix())
        return cls()

    @property
    def generator(self) -> Row | None:
        return self.rows[0] if self.rows else None

    @property
    def floor(self) -> Row | None:
        """Unseen real images of as many as the generator's row has."""
        count = self.rows[0].passport.n_fake if self.rows else 0
        beside = (row for row in self.rows[1:] if row.name.startswith("real") and row.passport.n_fake == count)
        return next(beside, None)
