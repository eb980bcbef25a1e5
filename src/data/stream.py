"""The endless, shuffled sequence of training batches, addressed by images shown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from src.clock import Clock, Stream, derive_seed
from src.data.store import Batch, Split
from src.errors import UserError


class BatchStream:
    """Batches from ``clock.images`` up to ``total`` images shown.

    The data is shown pass after pass, each in an order of its own; the image at position i is a function of
    (seed, i), so a resumed run and any number of ranks see the same images. A batch may reach into the next pass.

    Args:
        batch_size: images per step over all ranks; each of ``world_size`` ranks gets its equal slice.
    """

    def __init__(
        self, split: Split, batch_size: int, total: int, seed: int, clock: Clock, rank: int = 0, world_size: int = 1
    ) -> None:
        for key, value in (("batch_size", batch_size), ("images", total)):
            if value < 1:
                raise UserError(f"{key}={value} must be at least 1")
        if batch_size > len(split):
            raise UserError(
                f"batch_size={batch_size} is larger than the data set: its training split has {len(split)} images; "
                f"set batch_size={2 ** (len(split).bit_length() - 1)} or less"
            )
        if batch_size % world_size:
            raise UserError(f"batch_size={batch_size} cannot be divided by {world_size} devices: choose a multiple")
        self.split, self.batch_size, self.total, self.seed, self.clock = split, batch_size, total, seed, clock
        share = batch_size // world_size
        self.slice = slice(rank * share, (rank + 1) * share)
        self._order = lru_cache(maxsize=2)(self._shuffle)

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(derive_seed(self.seed, Stream.DATA_ORDER, epoch)).permutation(len(self.split))

    def positions(self, images: int) -> np.ndarray:
        """Positions in the split of the batch that follows after ``images`` images shown."""
        epoch, first = divmod(images, len(self.split))
        order = self._order(epoch)[first : first + self.batch_size]
        if len(order) < self.batch_size:
            order = np.concatenate([order, self._order(epoch + 1)[: self.batch_size - len(order)]])
        return order[self.slice]

    def __iter__(self) -> Iterator[Batch]:
        # The trainer fetches a batch ahead, so the stream counts by itself from where the clock stands.
        for images in range(self.clock.images, self.total, self.batch_size):
            yield self.split.gather(self.positions(images))
