"""Hydra looks for launchers in this namespace alone: the launcher of ``conf/hydra/launcher/slurm_*.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf


class SlurmLauncher(Launcher):
    """Every job of a sweep is a job of Slurm (``src.command_line.slurm_launcher``)."""

    def __init__(self, **settings: Any) -> None:
        self.settings: dict[str, Any] = {
            k: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for k, v in settings.items()
        }

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from src.command_line.slurm_launcher import launch_in_slurm

        return launch_in_slurm(self, job_overrides, initial_job_idx)
