"""What W&B has of a run, or will have after ``wandb sync``: read from the sessions that lie in the run folder.

A session is a folder ``run-<time>-<id>`` (online) or ``offline-run-<time>-<id>`` with a file ``.wandb``: records of
Protocol Buffers in the log format of LevelDB, which ``wandb sync`` sends.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

BLOCK, FILE_HEADER, CHUNK_HEADER = 32_768, 7, 7  # bytes
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # which part of a record a chunk is

Row = dict[str, Any]
Marks = dict[str, int]  # metric → images shown at its last row


@dataclass(frozen=True)
class Session:
    """One visit to a run, as W&B keeps it."""

    folder: Path

    @property
    def online(self) -> bool:
        return not self.folder.name.startswith("offline-")

    @property
    def is_sent(self) -> bool:
        """Whether ``wandb sync`` has sent it, as its mark says."""
        return any(self.folder.glob("*.wandb.synced"))

    def rows(self) -> Iterator[Row]:
        """All that has reached the disk, in order."""
        for record in self.records():
            if record.WhichOneof("record_type") == "history":
                yield {
                    (item.nested_key[0] if item.nested_key else item.key): _value(item.value_json)
                    for item in record.history.item
                }

    def run(self) -> Any:
        """The last record of the run itself: its id, group, job type and tags."""
        return [record.run for record in self.records() if record.WhichOneof("record_type") == "run"][-1]

    def config(self) -> Row:
        """The configuration, of all updates."""
        kept: Row = {}
        for record in self.records():
            kind = record.WhichOneof("record_type")
            for change in [record.run.config] if kind == "run" else [record.config] if kind == "config" else []:
                kept |= {item.key or item.nested_key[0]: _value(item.value_json) for item in change.update}
        return kept

    def summary(self) -> Row:
        """The summary, of all updates."""
        kept: Row = {}
        for record in self.records():
            if record.WhichOneof("record_type") == "summary":
                kept |= {"/".join(i.nested_key) or i.key: _value(i.value_json) for i in record.summary.update}
        return kept

    def records(self) -> Iterator[Any]:
        from wandb.proto import wandb_internal_pb2

        for path in self.folder.glob("*.wandb"):
            for content in read_records(path.read_bytes()):
                record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
                record.ParseFromString(content)
                yield record

    def delivered(self) -> Iterator[Row]:
        """Its rows that W&B has, or gets by ``wandb sync``: of an online session, those whose receipt was confirmed."""
        return islice(self.rows(), self._confirmed()) if self.online else self.rows()

    def _confirmed(self) -> int | None:
        """How many rows W&B's own log says were taken; None where there is no log."""
        confirmed, sending, told = 0, 0, False
        try:
            lines = (self.folder / "logs" / "debug-internal.log").read_text(errors="replace").splitlines()
        except OSError:
            return None
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if not isinstance(entry, dict):
                continue
            message, told = entry.get("msg", ""), told or entry.get("level") == "INFO"
            if message == "filestream: sending request":
                sending = entry.get("history_lines", 0)
            elif message == "filestream: request sent" and str(entry.get("status", "")).startswith("2"):
                confirmed, sending = confirmed + sending, 0
        return confirmed if told else None


def sessions_of(folder: Path) -> list[Session]:
    """Of the run in ``folder``, in the order of their beginning."""
    found = {path for path in (folder / "wandb").glob("*run-*") if re.match(r"(offline-)?run-\d", path.name)}
    return [Session(path) for path in sorted(found, key=lambda path: path.name.removeprefix("offline-"))]


def take_back_early_marks(folder: Path, ended: str | None = None) -> None:
    """Unmark sessions that were synced and then written to, whose rest ``wandb sync`` would leave out for ever.

    It then sends them from their beginning, each row at the same step, where W&B keeps one. The session named ``ended``
    has just ended: its last record may come to the disk a moment later.
    """
    for session in sessions_of(folder):
        for mark in session.folder.glob("*.wandb.synced"):
            written = mark.with_suffix("").stat().st_mtime_ns
            if session.folder.name == ended or mark.stat().st_mtime_ns < written:
                mark.unlink()


def kept_sessions(folder: Path) -> list[Session]:
    """Those that hold a record; one that was killed before its first is deleted: ``wandb sync`` would stop at it."""
    kept = []
    for session in sessions_of(folder):
        if next(session.records(), None) is not None:
            kept.append(session)
        else:
            shutil.rmtree(session.folder, ignore_errors=True)
    return kept


def marks_of(sessions: Sequence[Session], rows_there: int | None = None) -> Marks:
    """How far W&B's copy of a run goes, by metric.

    Args:
        sessions: of the run, in their order.
        rows_there: how many rows W&B says that it has; None where it cannot be asked.
    """
    if rows_there is None:
        return _last(chain.from_iterable(session.delivered() for session in sessions))
    before = chain.from_iterable(session.delivered() for session in sessions[:-1])
    newest = chain.from_iterable(session.rows() for session in sessions[-1:])  # W&B knows better than its log
    return _last(islice(chain(before, newest), rows_there))


def unwritten(sessions: Sequence[Session], rows_there: int) -> int:
    """How many of the ``rows_there`` that W&B has a kill kept from the disk, which gets a row up to a second later."""
    for session in reversed(sessions):
        if steps := [row["_step"] for row in session.rows()]:
            return max(0, rows_there - steps[-1] - 1) if session.online else 0  # offline, steps are given by the sync
    return 0


def _last(rows: Iterable[Mapping[str, Any]]) -> Marks:
    marks: Marks = {}
    for row in rows:
        if isinstance(images := row.get("images"), int):
            marks |= {name: max(images, marks.get(name, -1)) for name in row}
    return marks


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def read_records(data: bytes) -> Iterator[bytes]:
    """The records of a file, up to where it was cut off."""
    position, parts = FILE_HEADER, []
    while position + CHUNK_HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < CHUNK_HEADER:  # too little for a chunk: the rest of the block is empty
            position += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, position)
        position += CHUNK_HEADER
        if not WHOLE <= kind <= LAST or position + size > len(data):
            return
        parts.append(data[position : position + size])
        position += size
        if kind in (WHOLE, LAST):
            yield b"".join(parts)
            parts = []
