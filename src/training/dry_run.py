"""What a run will do and how long it will take, from a few steps of every phase."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from rich.table import Table

from src.data.store import Split
from src.data.stream import BatchStream
from src.networks.progressive import Progressive
from src.training.module import ClockedModule
from src.training.schedule import Phase
from src.training.step_graph import WARM_UP


@dataclass(frozen=True)
class PhaseEstimate:
    phase: Phase
    parameters: int  # of all networks, that take part in this phase
    seconds: float  # for the whole phase on this machine


class _StepTimes(Callback):
    """When steps ended, the device's work included."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self.marks.append(time.perf_counter())

    def fastest(self, steps: int) -> float:
        """Seconds of a step, from the fastest ``steps`` in a row."""
        return min(b - a for a, b in zip(self.marks, self.marks[steps:], strict=False)) / steps


def estimate(
    module: ClockedModule,
    split: Split,
    make_trainer: Callable[[list[Callback]], Trainer],
    data_memory: float = 0.0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[PhaseEstimate]:
    """Train a few steps in every phase of the module's schedule. The module is of no use afterwards.

    Args:
        data_memory: share of a GPU's free memory that the images may take.
    """
    cycle = math.lcm(*(penalty.every for penalty in getattr(module, "penalties", ())))  # steps of equal cost together
    for phase in module.schedule.phases():
        module.clock.images = phase.start
        times = _StepTimes()
        trainer = make_trainer([times])
        # Where steps are captured, each kind of them takes place so often before it is as fast as it will be.
        settling = (WARM_UP + 1) * cycle if trainer.strategy.root_device.type == "cuda" else 0
        images = (settling + cycle + 3) * phase.batch_size
        stream = BatchStream(split, module.schedule, phase.start + images, module.seed, module.clock, rank, world_size)
        stream.place(trainer.strategy.root_device, data_memory, module.steps_at_once)
        stream.total = phase.start + images * stream.steps
        trainer.fit(module, stream)
        seconds = phase.images / phase.batch_size * times.fastest(cycle) / stream.steps
        yield PhaseEstimate(phase, active_parameters(module, phase), seconds)


def active_parameters(module: ClockedModule, phase: Phase) -> int:
    """How many parameters the networks train in ``phase``."""
    growth: dict[str, Any] = module.schedule.growth(module.schedule.at(phase.start))
    networks = module.networks().values()
    active = (n.active_parameters(**growth) if isinstance(n, Progressive) else n.parameters() for n in networks)
    return sum(parameter.numel() for parameters in active for parameter in parameters)


def as_table(estimates: list[PhaseEstimate]) -> Table:
    table = Table(title="phases")
    for name in ("resolution", "phase", "from image", "images", "batch", "parameters", "hours"):
        table.add_column(name, justify="right")
    for e in estimates:
        kind = "fade in" if e.phase.fading else "stabilise"
        numbers = (f"{n:,}" for n in (e.phase.first, e.phase.images, e.phase.batch_size, e.parameters))
        table.add_row(f"{e.phase.resolution} px", kind, *numbers, _hours(e.seconds))
    total = sum(e.seconds for e in estimates)
    table.caption = f"{sum(e.phase.images for e in estimates):,} images, {_hours(total)} hours on this machine"
    return table


def _hours(seconds: float) -> str:
    """As 0:06:12."""
    return str(timedelta(seconds=math.ceil(seconds)))
