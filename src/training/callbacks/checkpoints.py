"""Saves the state of training on the image clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer


class Checkpoints(Callback):
    """Writes ``last.ckpt``, and a checkpoint that stays at every multiple of ``every`` images.

    Args:
        last_every: images between two writes of ``last.ckpt``.
        every: images between checkpoints that are kept; None keeps ``last.ckpt`` alone.
        saved: called after each.
    """

    def __init__(self, folder: Path, last_every: int, every: int | None, saved: Callable[[], None]) -> None:
        self.folder, self.last_every, self.every, self.saved = folder, last_every, every, saved
        self.saved_at: int | None = None

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    def _save(self, trainer: Trainer, path: Path) -> None:
        trainer.save_checkpoint(path)
        self.saved()

    def save_last(self, trainer: Trainer, module: Any) -> None:
        if self.saved_at != module.clock.images:
            self._save(trainer, self.last)
            self.saved_at = module.clock.images

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        clock = pl_module.clock
        if clock.crossed(self.every):
            self._save(trainer, self.folder / f"{clock.images:09d}.ckpt")
        if clock.crossed(self.last_every):
            self.save_last(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.save_last(trainer, pl_module)
