"""Checkpoints that are whole or absent, and load without running code."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO
from torch import Tensor, nn

from src.core.atomic import atomic_write
from src.core.errors import UserError


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The content of a checkpoint, checked by its checksums; nothing in it gets to run.

    Raises UserError where it cannot be read.
    """
    problem: Exception | str | None
    try:
        with open(path, "rb") as file:  # once: a training may put another in its place at any moment
            problem = _damage(file)
            if problem is None:
                file.seek(0)
                return torch.load(file, map_location=map_location, weights_only=True)
    except Exception as other:
        problem = other
    reason = problem if isinstance(problem, str) else type(problem).__name__
    raise UserError(
        f"checkpoint {path} cannot be read ({reason}): restore it, or take another one of its run: "
        f"{', '.join(sorted(p.name for p in path.parent.glob('*.ckpt') if p != path)) or 'there is none'}"
    )


def find_damage(path: Path) -> str | None:
    """What is wrong with the bytes of a checkpoint, by the checksums that it holds; None where nothing is."""
    try:
        with open(path, "rb") as file:
            return _damage(file)
    except OSError as problem:
        return problem.strerror or str(problem)


def _damage(file: IO[bytes]) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            name = archive.testzip()
    except Exception as problem:  # whatever a damaged archive makes the reader stumble over
        return "empty" if file.seek(0, os.SEEK_END) == 0 else f"cut short or overwritten: {type(problem).__name__}"
    return None if name is None else f"checksum of {Path(name).name}"


def find_checkpoint(path: Path) -> Path:
    """A checkpoint itself, or the best, else the last one of a run folder. Raises UserError where there is none."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path} is neither a run folder nor a checkpoint: give one that src.train made")
    for name in ("best.ckpt", "last.ckpt"):
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    raise UserError(f"{path} has no checkpoint: train it first (its folder checkpoints/ is empty or missing)")


def load_weights(network: nn.Module, path: Path, prefixes: Sequence[str]) -> None:
    """Load the weights that a checkpoint or run folder keeps under the first of ``prefixes`` that it has.

    Raises:
        UserError: there is no checkpoint, it is of another architecture, or a weight is not finite; the first weight
            that is so is named.
    """
    path = find_checkpoint(path)
    apply_weights(network, read_checkpoint(path), prefixes, path)


def apply_weights(network: nn.Module, checkpoint: Mapping[str, Any], prefixes: Sequence[str], path: Path) -> None:
    """As ``load_weights``, of a checkpoint that was read from ``path``."""
    stored = checkpoint["state_dict"]
    prefix = next((p for p in prefixes if any(key.startswith(p) for key in stored)), prefixes[-1])
    weights = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
    check_architecture(network.state_dict(), weights, f"checkpoint {path}")
    for key, value in weights.items():
        if not value.isfinite().all():
            raise UserError(f"checkpoint {path}: {key} is not finite, its training diverged: take an earlier one")
    network.load_state_dict(weights)


def weights_digest(network: nn.Module, title: str = "") -> str:
    """sha256 of ``title`` and of name and values of all weights."""
    total = hashlib.sha256(title.encode())
    for name, value in network.state_dict().items():
        total.update(name.encode())
        total.update(value.cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def check_architecture(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str) -> None:
    """Raise UserError where ``found``, the weights of ``source``, are not those of the network, naming the first."""
    for key in [*wanted, *(key for key in found if key not in wanted)]:
        here, there = (tuple(weights[key].shape) if key in weights else None for weights in (wanted, found))
        if here != there:
            raise UserError(
                f"{source} is of another architecture: {key} is {_shape(there)} there and {_shape(here)} here: "
                "take one of the same model, or the settings in its run's config.yaml"
            )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(list(shape))


class AtomicCheckpointIO(CheckpointIO):
    """A kill or a full disk leaves the previous checkpoint intact."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(path) as file:
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
        return read_checkpoint(Path(path), map_location or "cpu")

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)
