"""Loggers beside metrics.csv. None of them may stop a run."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from src.core.atomic import write_atomically

log = logging.getLogger(__name__)


def wandb_logger(
    folder: Path,
    name: str,
    settings: dict[str, Any],
    mode: Literal["online", "offline"],
    project: str,
    group: str,
    job_type: str,
    tags: Sequence[str],
) -> Logger | None:
    """A W&B logger on the image clock, or None with one warning where W&B cannot be used.

    Without a key or network an ``online`` run is logged offline. The run's id is kept in the run folder, so a resumed
    run goes on in the same place.
    """
    try:
        import wandb

        if mode == "online" and not wandb.api.api_key:
            log.warning("W&B has no key: this run is logged offline (`wandb login`, then `wandb sync` sends it)")
            mode = "offline"
        id_file = folder / "wandb" / "id.json"
        id_file.parent.mkdir(exist_ok=True)
        if not id_file.exists():
            write_atomically(id_file, json.dumps(secrets.token_hex(4)))

        def start(mode: Literal["online", "offline"]) -> Any:
            return wandb.init(
                dir=folder,
                mode=mode,
                id=json.loads(id_file.read_text()),
                resume="allow" if mode == "online" else None,
                name=name,
                project=project,
                group=group,
                job_type=job_type,
                tags=list(tags),
                config=settings,
                settings=wandb.Settings(init_timeout=20, silent=True, disable_git=True, x_disable_stats=True),
            )

        try:
            run = start(mode)
        except Exception as problem:
            if mode == "offline":
                raise
            log.warning(f"W&B cannot be reached ({_first_line(problem)}): this run is logged offline")
            run = start("offline")
        logger = WandbLogger(experiment=run)
        run.define_metric("images")
        run.define_metric("*", step_metric="images")
        return logger
    except Exception as problem:
        log.warning(f"W&B is off for this run ({_first_line(problem)}); metrics.csv has everything")
        return None


def tensorboard_logger(folder: Path, name: str, settings: dict[str, Any]) -> Logger | None:
    """TensorBoard files in the run folder, or None with one warning where it is not installed."""
    try:
        return TensorBoardLogger(folder, name="tensorboard", version="", sub_dir=None)
    except ModuleNotFoundError as problem:
        log.warning(f"TensorBoard is off for this run ({problem}): pip install tensorboard")
        return None


def finish(loggers: Sequence[Logger]) -> None:
    """Close what the loggers hold open, so that the next job of a sweep starts afresh."""
    for logger in loggers:
        try:
            logger.finalize("success")
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()
        except Exception as problem:
            log.warning(f"{type(logger).__name__} did not close cleanly ({_first_line(problem)})")


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
