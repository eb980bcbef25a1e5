"""What a run will do and how long it will take, from a few steps of every phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pytorch_lightning import Callback, Trainer
from rich.table import Table

from src.data.store import Split
from src.data.stream import BatchStream
from src.training.module import ClockedModule
from src.training.schedule import Phase


@dataclass(frozen=True)
class PhaseEstimate:
    phase: Phase
    parameters: int  # of both networks, that take part in this phase
    seconds: float  # for the whole phase on this machine


class _StepTimes(Callback):
    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.marks.append(time.perf_counter())

    @property
    def fastest(self) -> float:
        return min(b - a for a, b in zip(self.marks, self.marks[1:], strict=False))


def estimate(
    module: ClockedModule, split: Split, make_trainer: Callable[[list[Callback]], Trainer], steps: int = 4
) -> Iterator[PhaseEstimate]:
    """Train ``steps`` steps in every phase of the module's schedule. The module is of no use afterwards."""
    for phase in module.schedule.phases():
        module.clock.images = phase.start
        module.zero_grad(set_to_none=True)
        times = _StepTimes()
        stream = BatchStream(split, module.schedule, phase.start + steps * phase.batch_size, module.seed, module.clock)
        make_trainer([times]).fit(module, stream)
        used = sum(p.numel() for p in module.parameters() if p.grad is not None)
        yield PhaseEstimate(phase, used, phase.images / phase.batch_size * times.fastest)


def as_table(estimates: list[PhaseEstimate]) -> Table:
    table = Table(title="phases")
    for name in ("resolution", "phase", "from image", "images", "batch", "parameters", "hours"):
        table.add_column(name, justify="right")
    for e in estimates:
        kind = "fade in" if e.phase.fading else "stabilise"
        numbers = (f"{n:,}" for n in (e.phase.first, e.phase.images, e.phase.batch_size, e.parameters))
        table.add_row(f"{e.phase.resolution} px", kind, *numbers, f"{e.seconds / 3600:.2f}")
    total = sum(e.seconds for e in estimates)
    table.caption = f"{sum(e.phase.images for e in estimates):,} images, {total / 3600:.1f} hours on this machine"
    return table
