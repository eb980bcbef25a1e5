"""A study's own record in W&B or TensorBoard: the verdict, every arm's Dice, the page. None of it may stop a study."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from src.downstream.analysis import Study
from src.downstream.claims import Scores
from src.downstream.results import fraction_text
from src.release.left_out import LeftOut

log = logging.getLogger(__name__)


def record(
    study: Study,
    page: Path,
    loggers: Sequence[Logger],
    scores: Scores | None = None,
    left_out: Mapping[str, LeftOut] | None = None,
) -> None:
    """Give each of the loggers what ``page`` says: also ``scores`` and what was ``left_out``, by generator."""
    dice = dict(_with_intervals(study, scores or {}))
    for logger in loggers:
        try:
            if isinstance(logger, WandbLogger):
                _to_wandb(study, page, dice, left_out or {}, logger)
            elif isinstance(logger, TensorBoardLogger):
                logger.log_metrics(dice, step=0)
                logger.experiment.add_text("verdict", study.verdict)
        except Exception as problem:
            log.warning(f"{type(logger).__name__} has no record of the study ({problem}); study.json has everything")


def _with_intervals(study: Study, scores: Scores) -> Iterator[tuple[str, float]]:
    named = [
        *((f"dice/{arm.arm.label}/{fraction_text(arm.fraction)}", (arm.mean, *arm.interval)) for arm in study.arms),
        *((f"generators/{name}/{score}", ends) for name, row in scores.items() for score, ends in row.items()),
    ]
    for name, (value, low, high) in named:
        yield from ((name, value), (f"{name}/low", low), (f"{name}/high", high))


def _to_wandb(
    study: Study, page: Path, dice: dict[str, float], left_out: Mapping[str, LeftOut], logger: WandbLogger
) -> None:
    import wandb

    columns: list[str | int] = ["arm", "real fraction", "Dice", "low", "high", "seeds"]
    rows: list[Iterable[Any]] = [
        (arm.arm.label, arm.fraction, arm.mean, *arm.interval, arm.seeds) for arm in study.arms
    ]
    run = logger.experiment
    reasons = sorted({reason for one in left_out.values() for reason in one.reasons})
    exports: list[Iterable[Any]] = [
        (name, one.kept, *(one.reasons.get(reason, 0) for reason in reasons)) for name, one in left_out.items()
    ]
    if exports:
        run.log({"exports": wandb.Table(["generator", "kept", *reasons], exports)})
    run.log({"arms": wandb.Table(columns, rows), "study": wandb.Html(page.read_text(), inject=False)})
    run.summary.update({"verdict": study.verdict, **dice})
