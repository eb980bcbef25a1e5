"""A signal ends training between two steps, with everything saved."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from pytorch_lightning import Callback, Trainer

from src.core.signals import Signals


class Interruption(Callback):
    """While steps are made, a signal becomes a stop after the running one."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.requested = False
        self._steps = ExitStack()

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._steps.enter_context(self.signals.noted())

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        stop = self.signals.received is not None
        # The signal reaches the processes of a job at different moments, but all must stop after the same step. One
        # that comes while they agree counts at the next.
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            self.requested = trainer.should_stop = True

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._steps.close()
