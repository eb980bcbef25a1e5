"""An evaluation's own record in W&B or TensorBoard, beside that of the run whose images it scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from src.core.run_folder import RunFolder
from src.scoring.image_source import ImageSource
from src.scoring.report import Row
from src.training.from_config import build_loggers
from src.training.loggers import EVALUATE, finish


def log_scores(out: Path, loggers: DictConfig, rows: Sequence[Row], source: ImageSource) -> None:
    """Give ``loggers`` every number of ``scores.json``, which lies in ``out``: ``<row>/<score>``, and its interval.

    The scores of what was evaluated are named by the score alone.
    """
    settings = {} if source.run is None else source.run.settings
    passport = rows[0].passport.as_dict()
    asked = {**settings, "job": EVALUATE, "evaluated": str(source.path), "passport": passport}
    numbers: dict[str, float] = {}
    for row in rows:
        count = row.passport.n_fake
        beside = row.name if count == rows[0].passport.n_fake else f"{row.name} of {count}"
        place = "" if row is rows[0] else f"{beside}/"
        for name, value in row.scores.items():
            numbers[f"{place}{name}"] = value
            if name in row.intervals:
                numbers |= {
                    f"{place}{name}/{end}": v for end, v in zip(("low", "high"), row.intervals[name], strict=True)
                }
    finish(build_loggers(loggers, RunFolder(out), asked), {"state": "done", "images": 0}, numbers)
