"""The folder that holds everything about one run (docs/run-folder.md)."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from src.atomic import write_atomically
from src.errors import UserError

# Top-level settings that may differ between two visits to a run: they do not change what is trained.
FREE_SETTINGS = (
    "callbacks", "divergence_patience", "dry_run", "every", "force", "logger", "name", "objective", "paths",
    "progress", "scores",
)  # fmt: skip


class FolderTaken(UserError):
    """The run folder belongs to another run or process, which must not be touched."""


class MetricsFile:
    """``metrics.csv``: a row per logging interval, keyed by images shown."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        return self.path.exists()

    def append(self, images: int, row: Mapping[str, float]) -> None:
        new = not self.path.exists()
        with open(self.path, "a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["images", *row])
            writer.writerow([images, *row.values()])

    def read(self) -> dict[str, np.ndarray]:
        """Columns by name."""
        with open(self.path, newline="") as file:
            header, *rows = csv.reader(file)
        columns = np.array(rows, dtype=float).reshape(len(rows), len(header)).T
        return dict(zip(header, columns, strict=True))

    def seconds(self) -> float:
        """Time spent on training, over all the sessions of the run."""
        columns = self.read()
        return float((np.diff(columns["images"], prepend=0) / columns["images_per_s"]).sum())

    def drop_after(self, images: int) -> None:
        """Remove rows of images that the resumed run will show again, and a row that a kill left half-written."""
        if not self.exists():
            return
        header, *rows = self.path.read_text().splitlines()
        columns = header.count(",")
        kept = [row for row in rows if row.count(",") == columns and int(row.split(",")[0]) <= images]
        if kept:
            write_atomically(self.path, "\n".join([header, *kept]) + "\n")
        else:
            self.path.unlink()


def first_difference(old: Any, new: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """The first key, in order, under which two nested settings differ, with both values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(n for n in new if n not in old)]:
            if found := first_difference(old.get(name), new.get(name), f"{key}.{name}" if key else name):
                return found
        return None
    return None if old == new else (key, old, new)


def identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide what is trained; ``images`` alone says for how long."""
    kept = {key: _without_cache(value) for key, value in settings.items() if key not in FREE_SETTINGS}
    model = kept["model"]
    return {**kept, "model": {**model, "schedule": {k: v for k, v in model["schedule"].items() if k != "total"}}}


def digest(settings: Mapping[str, Any]) -> str:
    """sha256 of settings, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _without_cache(settings: Any) -> Any:
    """Where decoded data are kept changes nothing of them."""
    if isinstance(settings, Mapping):
        return {key: _without_cache(value) for key, value in settings.items() if key != "cache"}
    return settings


class RunFolder:
    """Writes are left out where ``writable`` is false: in all processes of a distributed job but the first."""

    def __init__(self, path: Path, writable: bool = True) -> None:
        self.path, self.writable = path, writable
        here = Path.cwd()
        self.name = str(path.relative_to(here) if path.is_relative_to(here) else path)  # for messages
        self.metrics = MetricsFile(path / "metrics.csv")
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self._lock: IO[str] | None = None

    @property
    def last_checkpoint(self) -> Path:
        return self.checkpoints / "last.ckpt"

    def lock(self) -> None:
        """Hold the folder for this process; the system lets go of it when the process ends, however it ends."""
        if not self.writable:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.path / ".lock", "w")  # noqa: SIM115  held until the process ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderTaken(
                f"{self.name} is in use by another process: wait for it, or train elsewhere with name=<another>"
            ) from None

    def unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def remove_if_unused(self, keep_log: bool = True) -> None:
        """Delete the folder where nothing was written to it but a log, which ``keep_log`` keeps unless it is empty."""
        if not (self.writable and self.path.exists()):  # its processes have been here before
            return
        unused = {path.name for path in self.path.iterdir()} <= {".lock", "run.log"}
        if unused and not (keep_log and self._log_has_text()):
            shutil.rmtree(self.path)

    def _log_has_text(self) -> bool:
        log = self.path / "run.log"
        return log.exists() and log.stat().st_size > 0

    def clear(self) -> None:
        """Delete what an earlier run left here."""
        if not self.writable:
            return
        for path in self.path.iterdir():
            if path.name not in (".lock", "run.log"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check that the run here, if there is one that saved anything, was made by the same settings.

        A larger number of ``images`` is welcome: it makes the run longer.

        Raises:
            FolderTaken: the run here has other settings.
        """
        if not (self.writable and (self.path / "config.yaml").exists() and self.last_checkpoint.exists()):
            return
        old, new = identity(self.settings()), identity(settings)
        if new["images"] > old["images"]:
            old["images"] = new["images"]
        if found := first_difference(old, new):
            key, was, now = found
            raise FolderTaken(
                f"{self.name} holds a run with other settings ({key} was {was}, now {now}): "
                "choose another folder with name=<another>, or replace that run with force=true"
            )

    def claim(self, settings: Mapping[str, Any], overrides: list[str]) -> None:
        """Write the settings of a run that begins or goes on."""
        if self.writable:
            text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
            write_atomically(self.path / "config.yaml", text)
            write_atomically(self.path / "overrides.json", json.dumps(overrides))

    def settings(self) -> dict[str, Any]:
        return yaml.safe_load((self.path / "config.yaml").read_text())

    def is_finished(self, images: int) -> bool:
        """Whether the run here has shown ``images`` and is done."""
        status = self.status()
        return status.get("state") == "done" and status["images"] >= images

    def final(self) -> dict[str, float]:
        """The numbers that the finished run here ended with."""
        return json.loads((self.path / "summary.json").read_text())["final"]

    def status(self) -> dict[str, Any]:
        path = self.path / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def write_status(self, state: str, reason: str | None = None, images: int | None = None) -> None:
        """State is running, done, interrupted or failed; images shown and warnings stay unless given anew."""
        if not self.writable:
            return
        old = self.status()
        status = {
            "state": state,
            "reason": reason,
            "images": old.get("images", 0) if images is None else images,
            "warnings": old.get("warnings", []),
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_atomically(self.path / "status.json", json.dumps(status, indent=1))

    def warn(self, warning: str) -> None:
        if not self.writable:
            return
        status = self.status()
        status["warnings"] = [*status.get("warnings", []), warning]
        write_atomically(self.path / "status.json", json.dumps(status, indent=1))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        if self.writable:
            write_atomically(self.path / "summary.json", json.dumps(summary, indent=1))
