"""Calls a function on many tasks at once, in order: in threads at first, in processes where it goes on for long."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from src.core.signals import SIGNALS

Task = TypeVar("Task")
Result = TypeVar("Result")

HEAD_START = 2.0  # seconds in threads: what is done by then is not worth a process
AHEAD = 3  # tasks of each worker that are begun before their results are asked for: memory stays bounded
QUEUED = 128  # in processes at least: enough to do while the results so far are written to a disk


class Died(Exception):
    """A process has ended that should not have; the argument is the first task that is not done."""


class Workers:
    """``count`` threads, and after ``HEAD_START`` as many processes, until the ``with`` block ends.

    The processes are started as ``method`` says (fork, spawn, forkserver; None: as the platform does), and end at once
    with an exception in the block and with this process, however it ends; signals are left to this process.
    """

    def __init__(self, count: int, method: str | None = None) -> None:
        self.count, self.context = count, multiprocessing.get_context(method)
        self.threads_until: float | None = None
        self.processes: ProcessPoolExecutor | None = None
        self.ends: tuple[Connection, ...] = ()  # theirs and ours of a pipe that nothing is sent through

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.processes is None:
            return
        if kind is not None:
            self.ends[1].close()  # which ends them at once, also in the middle of a result,
            results: Any = self.processes._result_queue
            results._writer.close()  # for whose rest the shutdown would wait for ever
        self.processes.shutdown(cancel_futures=True)
        for end in self.ends:
            end.close()

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """``function`` of each task, in order; what it raises is raised in its place.

        ``function``, tasks and results have to be picklable. Raises Died where a process was killed or has crashed.
        """
        tasks = iter(tasks)
        if self.threads_until is None:
            self.threads_until = time.monotonic() + HEAD_START
        with ThreadPoolExecutor(self.count) as threads:
            yield from self._in_order(threads, function, self._for_threads(tasks), self.count * AHEAD)
        for first in itertools.islice(tasks, 1):
            rest = itertools.chain([first], tasks)
            yield from self._in_order(self._started(), function, rest, max(self.count * AHEAD, QUEUED))

    def _for_threads(self, tasks: Iterator[Task]) -> Iterator[Task]:
        alone = self.count == 1 or multiprocessing.current_process().daemon  # which may have no children
        while alone or time.monotonic() < (self.threads_until or 0):
            try:
                yield next(tasks)
            except StopIteration:
                return

    def _started(self) -> ProcessPoolExecutor:
        if self.processes is None:
            self.ends = self.context.Pipe(duplex=False)
            self.processes = ProcessPoolExecutor(self.count, self.context, _begin, self.ends)
        return self.processes

    def _in_order(
        self, executor: Executor, function: Callable[[Task], Result], tasks: Iterator[Task], ahead: int
    ) -> Iterator[Result]:
        begun: deque[tuple[Task, Future[Result]]] = deque()
        try:
            while True:
                for task in itertools.islice(tasks, ahead - len(begun)):
                    with _signals_held():  # by what is started now for good
                        begun.append((task, executor.submit(function, task)))
                if not begun:
                    return
                result = begun[0][1].result()
                begun.popleft()
                yield result
        except BrokenProcessPool as problem:
            raise Died(begun[0][0] if begun else task) from problem
        finally:
            if executor is not self.processes:  # whose end cancels the rest, and trips over what is cancelled already
                for _, future in begun:
                    future.cancel()


def _begin(lifeline: Connection, others_end: Connection) -> None:
    """The first that a process does: it ends when the other end of its lifeline is closed, by whom or what ever."""
    others_end.close()
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    gc.freeze()  # what came with a fork is not looked through, and so stays shared
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # OpenMP's threads do not survive a fork


def _end_with(lifeline: Connection) -> None:
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


@contextmanager
def _signals_held() -> Iterator[None]:
    """What comes within arrives after it; what is started within inherits this."""
    before: Any = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
