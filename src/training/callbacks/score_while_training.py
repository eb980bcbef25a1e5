"""Scores the model on the image clock, and keeps the checkpoint with the best one."""

from __future__ import annotations

import logging
from typing import Any

from pytorch_lightning import Callback, Trainer

from src.core.metrics_file import MetricsFile
from src.core.run_folder import RunFolder
from src.training.scoring import Scorer

log = logging.getLogger(__name__)


class Scores(Callback):
    """Writes ``scores.csv`` and the loggers at every ``every`` images.

    A run that goes on with another scorer, or another ``best``, starts both anew; ``scores.csv`` until then is kept
    as ``scores_until_<images>.csv``.

    Args:
        scorer: see ``src.training.scoring``.
        best: score whose best value is kept as ``checkpoints/best.ckpt``; None keeps none.
        lower: whether less of it is better.
    """

    def __init__(self, folder: RunFolder, scorer: Scorer, every: int, best: str | None, lower: bool) -> None:
        self.folder, self.scorer, self.every = folder, scorer, every
        self.best, self.lower = best, lower
        self.file = MetricsFile(folder.path / "scores.csv")
        self.judge = f"{scorer.identity} best={best}"
        self.replaces = False  # the run so far had another
        self.best_value: float | None = None
        self.latest: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        images = pl_module.clock.images
        self.file.drop_after(images)
        if self.replaces and self.file.exists():
            kept = self.file.path.replace(self.folder.path / f"scores_until_{images:09d}.csv")
            log.info(f"scored by something else from here on: the scores so far are kept in {kept.name}")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not pl_module.clock.crossed(self.every):
            return
        # One process scores: all hold the same weights, and scoring draws nothing that training draws.
        improved = self.record(trainer, pl_module) if trainer.is_global_zero else False
        if trainer.strategy.broadcast(improved):
            trainer.save_checkpoint(self.folder.checkpoints / "best.ckpt")

    def record(self, trainer: Trainer, module: Any) -> bool:
        """Score and write; returns whether this is the best so far."""
        scores = dict(self.scorer.during(module))
        if not scores:
            return False
        images = module.clock.images
        self.latest = scores
        self.file.append(images, scores)
        for logger in trainer.loggers:
            logger.log_metrics({"images": images, **scores}, step=images)
        log.info(f"{images:,} images · " + " · ".join(f"{name} {value:.4g}" for name, value in scores.items()))
        if self.best is None:
            return False
        value = scores[self.best]
        improved = self.best_value is None or (value < self.best_value if self.lower else value > self.best_value)
        self.best_value = value if improved else self.best_value
        return improved

    def state_dict(self) -> dict[str, Any]:
        return {"best_value": self.best_value, "latest": self.latest, "judge": self.judge}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.replaces = state_dict.get("judge", self.judge) != self.judge
        if not self.replaces:
            self.best_value, self.latest = state_dict["best_value"], dict(state_dict["latest"])
