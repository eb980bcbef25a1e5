"""Loggers beside metrics.csv. None of them may stop a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import Logger, TensorBoardLogger

log = logging.getLogger(__name__)

AUTO, EVALUATE, STUDY = "auto", "evaluate", "study"


def wandb_logger(
    folder: Path,
    name: str,
    settings: dict[str, Any],
    mode: Literal["online", "offline"],
    project: str,
    group: str | None,
    job_type: str | None,
    tags: Sequence[str],
    best: Mapping[str, Sequence[str]] | None = None,
    system_metrics: bool = False,
    artifacts: Sequence[str] = (),
) -> Logger | None:
    """A W&B logger on the image clock, or None with one warning where W&B cannot be used.

    Without a key or a server that answers an ``online`` run is logged offline. The run's id is kept in the run folder,
    so a resumed run goes on in the same place.

    Args:
        settings: W&B's configuration; ``job`` in it says what is done where that is no training.
        group: ``auto``: the sweep or study that the run is part of, by the name of its folder.
        job_type: ``auto``: what is trained, ``generator``, ``classifier``, ``unet`` or ``detector``, or ``job``.
        tags: beside the names of model and data.
        best, artifacts: see ``WandbRecord``.
    """
    try:
        from src.training.wandb_logger import WandbRecord

        options = {
            "name": name,
            "project": project,
            "group": group_of(folder, settings) if group == AUTO else group,
            "job_type": job_type_of(settings) if job_type == AUTO else job_type,
            "tags": [*(settings[key]["name"] for key in ("model", "data") if "name" in settings.get(key, {})), *tags],
            "config": settings,
        }
        return WandbRecord(folder, options, mode, best or {}, system_metrics, artifacts)
    except Exception as problem:
        log.warning(f"W&B is off for this run ({_first_line(problem)}); metrics.csv has everything")
        return None


def group_of(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The sweep or study that a run is part of: the first folder on the way to it; None of a run of its own."""
    outputs = Path(str(settings.get("paths", {}).get("outputs", "outputs"))).absolute()
    if not folder.absolute().is_relative_to(outputs):
        return None
    way = folder.absolute().relative_to(outputs).parts
    return way[0] if len(way) > 1 or settings.get("job") == STUDY else None


def job_type_of(settings: Mapping[str, Any]) -> str | None:
    if job := settings.get("job"):
        return str(job)
    model = settings.get("model", {})
    return "generator" if "generator" in model else model.get("name")


def tensorboard_logger(folder: Path, name: str, settings: dict[str, Any]) -> Logger | None:
    """TensorBoard files in the run folder, or None with one warning where it is not installed."""
    try:
        return TensorBoardLogger(folder, name="tensorboard", version="", sub_dir=None)
    except ModuleNotFoundError as problem:
        log.warning(f"TensorBoard is off for this run ({problem}): pip install tensorboard")
        return None


def catch_up(loggers: Sequence[Logger], images: float) -> None:
    """Bring loggers that can be behind level with the run folder, up to ``images`` shown."""
    for logger in loggers:
        if hasattr(logger, "catch_up"):
            try:
                logger.catch_up(images)
            except Exception as problem:
                log.warning(f"{type(logger).__name__} lacks what was logged before ({_first_line(problem)})")


def finish(
    loggers: Sequence[Logger], status: Mapping[str, Any] | None = None, numbers: Mapping[str, Any] | None = None
) -> None:
    """Close what the loggers hold open, so that the next job of a sweep starts afresh.

    Args:
        status: how the job ended, as its run folder says (``RunFolder.status``).
        numbers: that it ended with.
    """
    status = status or {}
    failed = status.get("state", "done") != "done"
    told = {key: status[key] for key in ("state", "reason", "warnings") if status.get(key)}
    for logger in loggers:
        try:
            if hasattr(logger, "end"):
                logger.end({**told, **(numbers or {})}, failed)
                continue
            if numbers := {key: value for key, value in (numbers or {}).items() if isinstance(value, int | float)}:
                logger.log_metrics(numbers, step=status.get("images"))
            logger.finalize("failed" if failed else "success")
        except Exception as problem:
            log.warning(f"{type(logger).__name__} did not close cleanly ({_first_line(problem)})")


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
