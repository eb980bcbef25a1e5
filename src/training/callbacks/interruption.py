"""Ctrl-C ends training between two steps, with everything saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, Trainer

from src.core.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption(Callback):
    """Within its ``with``, a signal ends the job; while steps are made it becomes a stop after the running one.

    A second SIGINT ends the job at once. A second SIGTERM changes nothing: a scheduler and the parent of this process
    may send one each. What ``nohup`` ignores stays ignored. At the end every handler is what it was before.
    """

    def __init__(self) -> None:
        self.requested = False
        self._stepping = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # no other thread has handlers
            for number in SIGNALS:
                if not (number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN):
                    self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _request(self, number: int, frame: FrameType | None) -> None:
        if not self._stepping or (self.requested and number == signal.SIGINT):
            raise Stopped
        self.requested = True

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        for number in self._previous:  # the trainer has taken SIGTERM, and gives it back when it ends
            signal.signal(number, self._request)
        self._stepping = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        stop = self.requested
        # The signal reaches the processes of a job at different moments, but all must stop after the same step. One
        # that comes while they agree counts at the next.
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            self.requested = trainer.should_stop = True

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._stepping = False
