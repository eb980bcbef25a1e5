"""Saves the state of training on the image clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer


class Checkpoints(Callback):
    """Writes ``last.ckpt``, and a checkpoint that stays at every multiple of ``every`` images.

    Args:
        last_every: images between two writes of ``last.ckpt``.
        every: images between checkpoints that are kept; None keeps ``last.ckpt`` alone.
    """

    def __init__(self, folder: Path, last_every: int, every: int | None) -> None:
        self.folder, self.last_every, self.every = folder, last_every, every
        self.saved_at: int | None = None

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    def save_last(self, trainer: Trainer, module: Any) -> None:
        if self.saved_at != module.clock.images:
            trainer.save_checkpoint(self.last)
            self.saved_at = module.clock.images

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        clock = pl_module.clock
        if clock.crossed(self.every):
            trainer.save_checkpoint(self.folder / f"{clock.images:09d}.ckpt")
        if clock.crossed(self.last_every):
            self.save_last(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.save_last(trainer, pl_module)
