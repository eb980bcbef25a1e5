"""Ctrl-C ends training between two steps, with everything saved."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, Trainer


class Interruption(Callback):
    """Turns SIGINT or SIGTERM into a stop after the running step; a second SIGINT ends the process at once.

    A second SIGTERM changes nothing: a scheduler and the parent of this process may send one each.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(number, self._previous[number])

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._request)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        stop = self.requested
        # The signal reaches the processes of a job at different moments, but all must stop after the same step. One
        # that comes while they agree counts at the next.
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            self.requested = trainer.should_stop = True

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._restore()
