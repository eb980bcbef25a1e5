"""The endless, shuffled sequence of training batches, addressed by images shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch

from src.core.clock import Clock
from src.core.errors import UserError
from src.data.device import ResidentSplit, ahead, fits
from src.data.order import BalancedOrder, Order, ShuffledOrder
from src.data.store import Batch, Split


class BatchSchedule(Protocol):
    """See ``src.training.schedule``."""

    def at(self, images: int) -> Any: ...

    def phases(self) -> Sequence[Any]: ...


class BatchStream:
    """Batches from ``clock.images`` up to the end of the schedule, at its resolution and batch size.

    The data is shown pass after pass, each in an order of its own (``src.data.order``); the image at position i is a
    function of (seed, i), so a resumed run and any number of ranks see the same images. A batch may reach into the
    next pass.

    Args:
        total: images shown at the end; the last batch is whole and may reach beyond.
        schedule: gives ``resolution`` and ``batch_size`` (over all ranks) of the step after so many images.
        world_size: number of ranks; each gets its equal slice of every batch.
        balance: show all classes equally often, those of fewer images in more passes.
    """

    def __init__(
        self,
        split: Split,
        schedule: BatchSchedule,
        total: int,
        seed: int,
        clock: Clock,
        rank: int = 0,
        world_size: int = 1,
        *,
        balance: bool = False,
    ) -> None:
        if total < 1:
            raise UserError(f"images={total} must be at least 1")
        largest = max(phase.batch_size for phase in schedule.phases())
        if largest > len(split):
            raise UserError(
                f"batch_size={largest} is larger than the data set: its training split has {len(split)} images; "
                f"set batch_size={2 ** (len(split).bit_length() - 1)} or less"
            )
        for phase in schedule.phases():
            if phase.batch_size % world_size:
                raise UserError(
                    f"batch_size={phase.batch_size} cannot be divided by {world_size} devices: choose a multiple"
                )
        self.split, self.schedule, self.total, self.clock = split, schedule, total, clock
        self.rank, self.world_size = rank, world_size
        labels = split.store.labels[split.rows]
        self.order: Order = BalancedOrder(labels, seed) if balance else ShuffledOrder(len(split), seed)
        self._pyramid = lru_cache(maxsize=1)(self._at)
        self.device, self.share, self.steps = torch.device("cpu"), 0.0, 1

    def place(self, device: torch.device, share: float, steps: int = 1) -> None:
        """Make the batches on ``device``.

        Args:
            share: of a GPU's free memory, up to which it holds all images, so that a batch is gathered there.
            steps: whose batches a GPU is given as one; for schedules of a single phase.
        """
        self.device, self.share = device, share
        self.steps = steps if device.type == "cuda" else 1

    def _at(self, resolution: int) -> Split | ResidentSplit:
        split = self.split.at(resolution)
        if self.device.type == "cuda" and fits(split, self.device, self.share):
            return ResidentSplit(split, self.device)
        return split

    def positions(self, images: int, batch_size: int) -> np.ndarray:
        """Positions in the split of this rank's share of the batch that follows after ``images`` images shown."""
        order = self.order.positions(images, batch_size)
        share = batch_size // self.world_size
        return order[self.rank * share : (self.rank + 1) * share]

    def __iter__(self) -> Iterator[Batch]:
        return ahead(self._batches(), self.device) if self.device.type == "cuda" else self._batches()

    def _batches(self) -> Iterator[Batch]:
        # The trainer fetches a batch ahead, so the stream counts by itself from where the clock stands.
        images = self.clock.images
        while images < self.total:
            state = self.schedule.at(images)
            steps = min(self.steps, -(-(self.total - images) // state.batch_size))
            starts = range(images, images + steps * state.batch_size, state.batch_size)
            positions = np.concatenate([self.positions(start, state.batch_size) for start in starts])
            yield self._pyramid(state.resolution).gather(positions)
            images += steps * state.batch_size
