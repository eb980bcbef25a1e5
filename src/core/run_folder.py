"""The folder that holds everything about one run (docs/run-folder.md)."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from src.core import aside
from src.core.added_settings import with_added
from src.core.atomic import remove_partials, write_atomically
from src.core.errors import UserError, one_line
from src.core.identity import first_difference, identity
from src.core.locks import Lock
from src.core.metrics_file import MetricsFile
from src.core.moved_names import with_present_names

log = logging.getLogger(__name__)

RESTORE = "restore it, choose another folder with name=<another>, or train anew with force=true"
LOCK, LOG = ".lock", "run.log"
CLOSED = "wandb/closed"  # W&B's last session has got the end of the run
STATES = ("running", "done", "interrupted", "failed", "requeued", "cancelled")
SIGNS = (  # what only a run or a study makes, if it is its lock that lies beside it
    "classifier", "config.yaml", "data.json", "generators", "metrics.csv", "overrides.json", "status.json",
    "study.json", "unets",
)  # fmt: skip


class FolderTaken(UserError):
    """What is in the run folder belongs to another run or process, or is damaged: it must not be touched."""


def place(outputs: str | None, name: str, key: str = "paths.outputs") -> Path:
    """The folder of the run ``name``. Raises UserError where that is not inside the folder of all outputs."""
    if not outputs:
        raise UserError(f"{key} is empty: name the folder of all runs, e.g. {key}=outputs")
    check_name(name)
    return Path(outputs) / name


def check_name(name: str) -> None:
    """Raise UserError for a name that leaves the folder of all outputs, or is all of it."""
    path = Path(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
        raise UserError(
            f"name={name} is no folder inside that of all runs: take a plain name, and say where they all go with "
            "paths.outputs=<folder>"
        )


class RunFolder:
    """One run's files. Who begins, changes or deletes any of them holds its lock.

    Writes are left out where ``writable`` is false: in all processes of a distributed job but the first.
    """

    def __init__(self, path: Path, writable: bool = True) -> None:
        self.path, self.writable = path, writable
        here = Path.cwd()
        self.name = str(path.relative_to(here) if path.is_relative_to(here) else path)  # for messages
        self.metrics = MetricsFile(path / "metrics.csv")
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.begun = False  # by this process: what is here now is its own
        self._lock = Lock(path / LOCK)
        self._named: set[str] = set()  # damaged files of which the user has been told

    # Who owns it

    @property
    def held(self) -> bool:
        return self._lock.held

    @property
    def lock_descriptor(self) -> int | None:
        """For the processes of a job, which hold what their parent holds."""
        return self._lock.descriptor

    def lock(self) -> None:
        """Hold the folder for this process, and tidy up after one that was killed here.

        Raises:
            FolderTaken: another process holds it, or it holds what no run wrote.
        """
        if not self.writable:
            return
        self._refuse_foreign()
        try:
            locked = self._lock.acquire()
        except OSError:
            if self.has_trained():  # on a disk that can only be read: what it reached can be told all the same
                return
            raise
        if not locked:
            raise FolderTaken(
                f"{self.name} is in use by another process: wait for it, or train elsewhere with name=<another>"
            )
        if not self._lock.shared:
            with suppress(OSError):  # a disk that can only be read
                self._settle()
                remove_partials(self.path)

    def leave(self, keep_log: bool = True) -> None:
        """Let go of the folder; where nothing was written to it but a log, delete it, unless ``keep_log`` keeps that.

        What ``force`` set aside comes back where its successor saved nothing.
        """
        if self.held:
            with suppress(OSError):
                self._settle()
                if not self._lock.shared and self._is_unused(keep_log):
                    (self.path / LOG).unlink(missing_ok=True)
                    self._lock.remove()
            self._lock.release()
        self.begun = False
        if not self.writable:
            return
        with suppress(OSError):  # it holds something, or was never made
            self.path.rmdir()

    def begin(self, settings: Mapping[str, Any], overrides: list[str], force: bool) -> None:
        """Write the settings of a run that begins or goes on; ``force`` first sets aside the one that is here."""
        if not self.writable:
            return
        try:
            if force:
                self.set_aside()
            self.begun = True
            self._write_settings(settings)
            write_atomically(self.path / "overrides.json", json.dumps(overrides))
        except OSError as problem:
            raise UserError(f"{self.name} cannot be written: {one_line(problem)}") from problem

    def _write_settings(self, settings: Mapping[str, Any]) -> None:
        text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
        write_atomically(self.path / "config.yaml", text)

    def set_aside(self) -> None:
        """Make room for a run that begins anew; what was here is deleted when that has saved something."""
        aside.set_aside(self.path, (LOCK, LOG))

    def saved(self) -> None:
        """The run here can go on from now on, so that what it replaces is of no more use."""
        if self.writable:
            self._settle()

    def _settle(self) -> None:
        if aside.is_pending(self.path):
            aside.settle(self.path, (LOCK, LOG), self._has_checkpoint())

    def _has_checkpoint(self) -> bool:
        """Also of a training that is part of this study."""
        found = (path for below in ("", "*/*/") for path in self.path.glob(f"{below}checkpoints/*.ckpt"))
        return any(not path.relative_to(self.path).parts[0].startswith(".") for path in found)

    def _is_unused(self, keep_log: bool) -> bool:
        log = self.path / LOG
        if keep_log and log.exists() and log.stat().st_size:
            return False
        return {path.name for path in self.path.iterdir()} <= {LOCK, LOG}

    def _refuse_foreign(self) -> None:
        if not self.path.is_dir():
            return
        names = {path.name for path in self.path.iterdir()}
        foreign = sorted(name for name in names if not name.startswith(".") and name != LOG)
        if foreign and not self._is_run(names):
            raise FolderTaken(
                f"{self.name} holds {foreign[0]}, and is no run folder: nothing there is touched, choose another "
                "name=<name>"
            )

    def _is_run(self, names: set[str]) -> bool:
        if LOCK in names and (names & {*SIGNS, "checkpoints"} or aside.is_pending(self.path)):
            return True
        with suppress(FolderTaken):
            return bool(self.status() or ("config.yaml" in names and self.settings()))
        return False

    # What is in it

    @property
    def last_checkpoint(self) -> Path:
        return self.checkpoints / "last.ckpt"

    def has_trained(self) -> bool:
        """Whether a run here has saved anything that another must not go on with."""
        return self._has_checkpoint() or bool(self.status().get("images")) or (self.path / "summary.json").exists()

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check that the run here, if there is one that saved anything, was made by the same settings.

        A larger number of ``images`` is welcome: it makes the run longer.

        Raises:
            FolderTaken: the run here has other settings, or they cannot be read.
        """
        if not (self.writable and self.has_trained()):
            return
        old, new = (with_added(identity(each)) for each in (self.settings(), settings))
        if new["images"] > old["images"]:
            old["images"] = new["images"]
        if found := first_difference(old, new):
            key, was, now = found
            raise FolderTaken(
                f"{self.name} holds a run with other settings ({key} was {was}, now {now}): "
                "choose another folder with name=<another>, or replace that run with force=true"
            )

    def settings(self) -> dict[str, Any]:
        """Raises FolderTaken where they cannot be read."""
        path = self.path / "config.yaml"
        try:
            settings = with_present_names(yaml.safe_load(path.read_text()))
        except FileNotFoundError:
            raise FolderTaken(f"{self.name} has no config.yaml: {RESTORE}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as problem:
            raise FolderTaken(f"{self.name}/config.yaml is damaged (no YAML): {RESTORE}") from problem
        model = settings.get("model") if isinstance(settings, dict) else None
        if not (isinstance(model, dict) and isinstance(model.get("schedule"), dict) and _is_count(settings, "images")):
            raise FolderTaken(f"{self.name}/config.yaml is damaged (it lacks the settings of a run): {RESTORE}")
        return settings

    def is_finished(self, images: int) -> bool:
        """Whether the run here has shown ``images`` and is done."""
        status = self.status()
        return status.get("state") == "done" and status["images"] >= images and bool(self.summary())

    @property
    def lacks_wandb_end(self) -> bool:
        """Whether the last visit was killed before W&B's session had got all of it, and another can still tell it."""
        return os.access(self.path / "wandb", os.W_OK) and not (self.path / CLOSED).exists()

    def summary(self) -> dict[str, Any]:
        """Of the finished run here; empty where there is none."""
        return self._read_json("summary.json")

    def final(self) -> dict[str, float]:
        """The numbers that the finished run here ended with."""
        return self.summary()["final"]

    def result(self) -> str | None:
        """What the finished run here came to, in words; None where it was not scored."""
        return self.summary().get("result")

    def status(self) -> dict[str, Any]:
        """Empty where there is none, or a damaged one: the next that is written takes its place."""
        status = self._read_json("status.json")
        return status if status.get("state") in STATES and _is_count(status, "images") else {}

    def write_status(self, state: str, reason: str | None = None, images: int | None = None) -> None:
        """State is one of STATES; images shown and warnings stay unless given anew."""
        if not self.writable:
            return
        old = self.status()
        self._write_status(
            {
                "state": state,
                "reason": reason,
                "images": old.get("images", 0) if images is None else images,
                "warnings": old.get("warnings", []),
                "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )

    def fail(self, reason: str, settings: Mapping[str, Any] | None = None) -> None:
        """Write down that this visit failed, unless the run here was there before and has not been gone on with.

        ``settings``: what was asked for, which a comparison of runs shows beside the reason.
        """
        if self.held and (self.begun or not self.has_trained()):
            if settings is not None and self.writable and not self.begun:
                self._write_settings(settings)
            self.write_status("failed", reason)

    def warn(self, warning: str) -> None:
        if self.writable and (status := self.status()):
            self._write_status({**status, "warnings": [*status.get("warnings", []), warning]})

    def _write_status(self, status: Mapping[str, Any]) -> None:
        text = json.dumps(status, indent=1)
        try:
            write_atomically(self.path / "status.json", text)
        except OSError as problem:
            # A full disk has no room for a second file, but for other text in the block of the first.
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT) or not (self.path / "status.json").exists():
                raise
            with open(self.path / "status.json", "r+") as file:
                file.write(text)
                file.truncate()

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        if self.writable:
            write_atomically(self.path / "summary.json", json.dumps(summary, indent=1))

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text())
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except ValueError:
            content = None
        if isinstance(content, dict):
            return content
        if name not in self._named:
            log.warning(f"{self.name}/{name} is damaged, and counts as absent")
            self._named.add(name)
        return {}


def _is_count(settings: Mapping[str, Any], key: str) -> bool:
    value = settings.get(key)
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
