"""Goes through all files of a data set, in parallel: stopped, it goes on where it was."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from src.core.errors import UserError
from src.core.workers import Died, Workers
from src.data.file_decoder import Done, FileDecoder, Job
from src.data.findings import Decoded
from src.data.formats.base import BadFile, Header
from src.data.listing import Sample
from src.data.progress import shown

log = logging.getLogger(__name__)

ROWS = 2  # part of each note: raise it when what is written into rows changes, though not what becomes of them
NOTES = "decoding.jsonl"  # what a stopped build has done: one line for each time that it was written to the disk
EVERY = 2.0  # seconds of work that a kill or a power cut costs at most
CHUNK = 16  # images that a process is given at once, at most: enough that handing them over costs nothing
PER_WORKER = 8  # chunks for each worker at least, so that none waits for another at the end

Task = TypeVar("Task")


class Decoding:
    """Within its ``with``, ``headers`` and then ``rows`` go through the files, once each.

    Args:
        folder: of the arrays, where notes are kept of what is done. Those that are there already are of the same files
            and settings: what they tell of is not done again.
        decoder: into arrays in ``folder``.
        workers: threads or processes.
    """

    def __init__(self, folder: Path, decoder: FileDecoder, workers: int) -> None:
        self.decoder, self.workers = decoder, Workers(workers)
        self.histogram = np.zeros(65536, np.int64)  # of 16-bit values, over all images that are decoded
        self._notes = folder / NOTES
        self._noted: dict[str, list[Any]] = {"headers": [], "rows": []}  # by an earlier build, of the first files
        self._new: dict[str, list[Any]] = {}  # what is not noted
        self._written = time.monotonic()
        self._read_notes()

    def __enter__(self) -> Decoding:
        return self

    def __exit__(self, kind: type[BaseException] | None, *about: object) -> None:
        self.workers.__exit__(kind, *about)
        if kind is not None and not issubclass(kind, Exception) and self._notes.exists():  # the user, or a signal
            log.warning("decoding is stopped: the same command goes on there")

    def headers(self, samples: Sequence[Sample]) -> Iterator[Header | BadFile]:
        """Of each file, in order. Raises UserError as ``FileDecoder``."""
        noted = self._noted["headers"]
        yield from (BadFile(one) if isinstance(one, str) else Header(*_tuples(one)) for one in noted)
        chunks = _chunks(samples[len(noted) :], lambda sample: 1, self.workers.count)
        results = self._pass("headers", self.decoder.headers, chunks, lambda sample: sample.file)
        yield from shown(results, "Reading headers", len(noted), len(samples))

    def rows(self, jobs: Sequence[Job]) -> Iterator[list[Decoded] | BadFile]:
        """What was decoded of each file, in order. Raises UserError as ``FileDecoder``."""
        noted = self._noted["rows"]
        if noted:
            log.info(f"decoding goes on after the {len(noted):,} files that it was stopped after")
        for one in noted:
            yield BadFile(one) if isinstance(one, str) else [Decoded(*_tuples(row)) for row in one]
        chunks = _chunks(jobs[len(noted) :], lambda job: len(job.taken), self.workers.count)
        results = self._pass("rows", self.decoder.rows, chunks, lambda job: job.sample.file)
        yield from shown(results, "Decoding images", len(noted), len(jobs))

    def forget_rows(self) -> None:
        """Decode all files anew."""
        self._noted["rows"], self.histogram[:] = [], 0

    def _pass(
        self,
        name: str,
        function: Callable[[Sequence[Task]], Done],
        chunks: Iterable[Sequence[Task]],
        file_of: Callable[[Task], str],
    ) -> Iterator[Any]:
        try:
            for results, histogram in self.workers.map(function, chunks):
                if histogram is not None:
                    self.histogram += histogram
                self._new.setdefault(name, []).extend(results)
                yield from results
                if time.monotonic() - self._written > EVERY:
                    self._note()
        except Died as problem:
            raise UserError(
                f"a process that decoded {file_of(problem.args[0][0])}, or one of the {CHUNK} files after it, was "
                "ended: the memory may be used up (data.workers=1 needs less), or the file makes its decoder crash"
            ) from problem

    def _note(self) -> None:
        """Once the rows are on the disk, write down that they are."""
        for path in (self.decoder.images, self.decoder.masks):
            if path.exists():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
        values = np.flatnonzero(self.histogram)
        line: dict[str, Any] = {name: [_plain(one) for one in results] for name, results in self._new.items()}
        line["histogram"] = [values.tolist(), self.histogram[values].tolist()]
        line["rows_are"] = ROWS
        with open(self._notes, "a") as notes:
            notes.write(json.dumps(line) + "\n")
            notes.flush()
            os.fsync(notes.fileno())
        self._new, self._written = {}, time.monotonic()

    def _read_notes(self) -> None:
        if not self._notes.exists():
            return
        with open(self._notes, "rb+") as notes:
            whole = 0
            for text in notes:
                try:
                    line = json.loads(text)
                except ValueError:  # a kill has left it half-written
                    break
                if line.get("rows_are") != ROWS:  # an earlier version's, which windowed them later
                    break
                whole += len(text)
                for name, noted in self._noted.items():
                    noted += line.get(name, [])
                values, counts = line["histogram"]
                self.histogram[values] = counts
            notes.truncate(whole)


def _chunks(tasks: Sequence[Task], images: Callable[[Task], int], workers: int) -> Iterator[list[Task]]:
    """Neighbours, together of about ``CHUNK`` images; fewer where there are few."""
    most = min(CHUNK, sum(map(images, tasks)) // (workers * PER_WORKER))
    chunk: list[Task] = []
    held = 0
    for task in tasks:
        chunk.append(task)
        held += images(task)
        if held >= most:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _plain(result: Header | BadFile | Sequence[Decoded]) -> Any:
    """For JSON; the reverse tells them apart by their kinds."""
    if isinstance(result, BadFile):
        return str(result)
    return _fields(result) if isinstance(result, Header) else [_fields(row) for row in result]


def _fields(one: Header | Decoded) -> list[Any]:
    """As ``dataclasses.astuple``, a tenth of the time: what they hold needs no copy."""
    return list(vars(one).values())


def _tuples(fields: Sequence[Any]) -> list[Any]:
    return [tuple(value) if isinstance(value, list) else value for value in fields]
