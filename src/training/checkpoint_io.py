"""Checkpoints that are whole or absent, and load without running code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from src.atomic import atomic_write
from src.errors import UserError


class AtomicCheckpointIO(CheckpointIO):
    """A kill or a full disk leaves the previous checkpoint intact."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(path, durable=True) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as problem:  # torch reports a short write as a RuntimeError
            last_good = f"the last good one is {path}" if path.exists() else "there is no earlier one"
            reason = problem.__context__ if isinstance(problem.__context__, OSError) else problem
            raise UserError(
                f"checkpoint {path} could not be written ({reason}); {last_good}: "
                "make room on the disk and repeat the command"
            ) from problem

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable | str | torch.device | None = None,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        try:
            return torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except Exception as problem:
            raise UserError(
                f"checkpoint {path} cannot be read ({type(problem).__name__}): delete it to go on from an earlier one, "
                "or start anew with force=true"
            ) from problem

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)
