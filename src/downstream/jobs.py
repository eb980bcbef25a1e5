"""Runs trainings that another program asks for, by any of Hydra's launchers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from src.command_line.schema import CONF
from src.core.errors import UserError
from src.core.failures import reason_of
from src.core.run_folder import RunFolder
from src.downstream.plan import Job


@dataclass(frozen=True)
class Launcher:
    """One of Hydra's, by its name in ``hydra/launcher``, and overrides of its settings: ``hydra.launcher.n_jobs=2``."""

    name: str
    overrides: tuple[str, ...] = ()

    @property
    def queues(self) -> bool:
        """Whether jobs wait for other machines: then this one is a login node, and not for work."""
        return self.name.startswith("slurm")


def is_done(folder: Path) -> bool:
    return folder.is_dir() and RunFolder(folder).status().get("state") == "done"


def run_jobs(jobs: Sequence[Job], folder: Path, launcher: Launcher, task: Callable[[DictConfig], Any]) -> None:
    """Run the jobs that are not done, each in ``folder/<name>``; jobs with the same name are one.

    Args:
        task: a training of one configuration; at the top level of its module, since a launcher may send it elsewhere.

    Raises:
        UserError: a job is not done afterwards; the first, with its reason.
    """
    waiting = {job.name: job for job in jobs if not is_done(folder / job.name)}
    if waiting:
        _launch(list(waiting.values()), folder, launcher, task)
    for name in waiting:
        status = RunFolder(folder / name).status() if (folder / name).is_dir() else {}
        if status.get("state") != "done":
            reason = reason_of(folder / name) or status.get("reason") or "its process ended without a word"
            raise UserError(f"{folder / name} is not done: {reason}")


def _launch(jobs: Sequence[Job], folder: Path, launcher: Launcher, task: Callable[[DictConfig], Any]) -> None:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        chosen = [f"hydra/launcher={launcher.name}", *launcher.overrides]
        place = [f"hydra.sweep.dir='{folder}'", "hydra.sweep.subdir='${name}'"]
        cfg = loader.load_configuration("train", [*chosen, *place], run_mode=RunMode.MULTIRUN)
        plugin = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=loader, callbacks=_no_callbacks()), task_function=task, config=cfg
        )
        plugin.launch([[*job.overrides, f"name={job.name}"] for job in jobs], initial_job_idx=0)


def _no_callbacks() -> Any:
    from hydra._internal.callbacks import Callbacks

    return Callbacks()
