"""Trains a model: ``python -m src.train model=dcgan optim.lr=2e-4,3e-4 -m``."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from src.command_line.launch import launch
from src.core.run_folder import RunFolder

# Settings whose values are paths or names of folders.
PATHS = (
    "data.generated",
    "data.real.root",
    "data.root",
    "model.initial",
    "name",
    "paths.cache",
    "paths.data",
    "paths.outputs",
    "scores.scorer.classifier",
    "training.synthetic",
)

log = logging.getLogger(__name__)


def train(cfg: DictConfig, folder: RunFolder) -> float | None:
    """Train what ``cfg`` asks for: its packages are imported now, since --help and a typo need none of them."""
    from src.training import job

    return job.train(cfg, folder)


def compare_sweep(folder: Path) -> None:
    """Write the comparison of a sweep's runs; nothing where a dry run left none."""
    from src.comparison.overview import write_comparison
    from src.comparison.runs import find_runs

    if runs := find_runs([folder]):
        log.info(f"comparison: {write_comparison(runs, folder)}")


if __name__ == "__main__":
    launch(train, "train", after_sweep=compare_sweep, paths=PATHS)
