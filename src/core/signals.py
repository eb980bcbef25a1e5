"""Signals, owned in one place: their handlers note what came, and nothing is saved in them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from src.core.errors import Stopped

# Ctrl-C; a scheduler, or the parent of this process; a closed terminal; a scheduler shortly before a time limit
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Signals:
    """Within its ``with`` a signal ends the job at once, and in ``noted`` it is noted for who looks at ``received``.

    A second SIGINT ends the job at once everywhere. Any other second signal changes nothing: a scheduler and the parent
    of this process may send one each, and a scheduler one more where it was told to start the job again. What
    ``nohup`` ignores stays ignored. At the end every handler is what it was.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None  # the first
        self._notes = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # no other thread has handlers
            for number in SIGNALS:
                if not (number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN):
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self.received = self.received is None, self.received or signal.Signals(number)
        if number == signal.SIGINT if not first else not self._notes:
            raise Stopped(signal.Signals(number))

    @property
    def source(self) -> str | None:
        """Who sent the first, for messages."""
        if self.received is None:
            return None
        return "the user" if self.received == signal.SIGINT else self.received.name

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Within it, whoever works looks at ``received`` when it can stop."""
        self._notes, before = True, self._notes
        try:
            yield
        finally:
            self._notes = before
