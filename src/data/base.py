"""What every data set here offers: a description that models are configured from, its splits, and loaders of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from pytorch_lightning import LightningDataModule

from src.core.errors import UserError
from src.data.description import Description
from src.data.scale import Scale
from src.data.store import Batch, Split
from src.data.stream import BatchStream


class Batches:
    """The images of ``split`` in order, ``batch_size`` at a time."""

    def __init__(self, split: Split, batch_size: int) -> None:
        self.split, self.batch_size = split, batch_size

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.split), self.batch_size):
            yield self.split.gather(np.arange(start, min(start + self.batch_size, len(self.split))))


class ImageData(LightningDataModule, ABC):
    """A data set. ``prepare`` downloads, decodes or draws it once; the rest is cheap after that.

    Its loaders work with any trainer of Lightning's: a batch is a ``Batch``. That of the training split is the stream
    on the image clock of the module that is trained, from where the clock stands to the end of its schedule.
    """

    evaluation_batch_size = 64  # images of a batch of val_dataloader and test_dataloader
    balance = False  # whether training shows all classes equally often

    def __init__(self) -> None:
        super().__init__()
        self.left_out: dict[str, str] = {}  # by file: why it is in no split, once the data are prepared

    @property
    def scale(self) -> Scale | None:
        """What the pixels stand for, where they come from files."""
        return None

    @abstractmethod
    def prepare(self) -> None:
        """Make the data ready to use. Does nothing where it is ready already."""

    @property
    @abstractmethod
    def description(self) -> Description: ...

    @property
    @abstractmethod
    def splits(self) -> dict[str, Split]:
        """Splits by name: train, val, test; one may be absent, none is empty."""

    def split(self, name: str) -> Split:
        if name not in self.splits:
            raise UserError(f"the data has no split {name!r}: it has {', '.join(self.splits)}")
        return self.splits[name]

    def prepare_data(self) -> None:
        self.prepare()

    def train_dataloader(self) -> BatchStream:
        """Raises UserError where there is no module of this repository whose clock it could follow."""
        module: Any = getattr(self.trainer, "lightning_module", None)
        if not (hasattr(module, "clock") and hasattr(module, "schedule")):
            raise UserError("the training images follow the clock of what is trained: train a module of src.training")
        world_size = self.trainer.world_size if self.trainer else 1
        return BatchStream(
            self.split("train"), module.schedule, module.schedule.total, module.seed, module.clock,
            module.global_rank, world_size, balance=self.balance,
        )  # fmt: skip

    def val_dataloader(self) -> Batches | list:
        return self._in_order("val")

    def test_dataloader(self) -> Batches | list:
        return self._in_order("test")

    def _in_order(self, split: str) -> Batches | list:
        """An empty list, as Lightning takes it, where there is no such split."""
        return Batches(self.splits[split], self.evaluation_batch_size) if split in self.splits else []
