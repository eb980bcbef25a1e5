"""One network that learns what the data say of their images: classes or masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from src.core.errors import UserError
from src.core.pixels import to_unit_range
from src.data.store import Batch, Split
from src.training.checkpoint_io import load_weights
from src.training.ema import ExponentialMovingAverage
from src.training.module import ClockedModule, OptimizerFactory
from src.training.schedule import Schedule, State

Augmentation = Callable[[Tensor, Batch], tuple[Tensor, Batch]]


class Task(Protocol):
    """What is learned. Implemented in ``src.downstream``.

    Attributes:
        scores: names of what ``evaluate`` gives.
    """

    @property
    def scores(self) -> Sequence[str]: ...

    def check(self, split: Split) -> None:
        """Raise UserError where the images of ``split`` lack what is learned of them."""
        ...

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """A scalar, in float32, from the network's output for a batch."""
        ...

    def evaluate(self, predictions: Sequence[tuple[Tensor, Batch]]) -> Mapping[str, float]:
        """Scores by name, from (output, batch) of a whole split."""
        ...

    def result(self, predictions: Sequence[tuple[Tensor, Batch]], cases: Sequence[str]) -> str:
        """The score that counts, in words, with its interval over the cases of the images."""
        ...

    def report(
        self, predictions: Sequence[tuple[Tensor, Batch]], split: Split, folder: Path, name: str, network: nn.Module
    ) -> None:
        """Write what the scores do not tell into files of ``folder`` that begin with ``name``, the split's."""
        ...


class SupervisedModule(ClockedModule):
    """Trains ``network`` on ``task``.

    Args:
        network: images (B, C, H, W) in [-1, 1] → what the task takes.
        augmentation: images and batch → the same, changed together; None shows the images as they are.
        ema: makes the average of the network that is evaluated; None evaluates the network itself.
        initial: checkpoint or run folder whose weights the network starts with, None for its own.

    Raises:
        UserError: ``initial`` cannot be read, or holds another network.
    """

    metrics = ("loss",)
    steps_at_once = 8  # augmentation is dozens of small kernels, which take as long for a batch as for eight

    def __init__(
        self,
        name: str,
        network: nn.Module,
        task: Task,
        optimizer: OptimizerFactory,
        seed: int,
        schedule: Schedule,
        augmentation: Augmentation | None = None,
        ema: Callable[[nn.Module], ExponentialMovingAverage] | None = None,
        initial: str | None = None,
    ) -> None:
        super().__init__(name, optimizer, seed, schedule)
        if initial is not None:
            try:
                load_weights(network, Path(initial), ("ema.module.", "network."))
            except UserError as problem:
                raise UserError(f"model.initial={initial}: {problem}") from problem
        self.network = network.to(memory_format=torch.channels_last)
        self.task, self.augmentation = task, augmentation
        self.ema = ema(self.network) if ema is not None else None
        self._predictions: list[tuple[Tensor, Batch]] = []  # of the split that a trainer goes over

    def networks(self) -> dict[str, nn.Module]:
        return {"network": self.network}

    def check(self, split: Split) -> None:
        self.task.check(split)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is scored: its average where there is one."""
        return self.ema or self.network

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.network.parameters())

    def prepare(self, batch: Batch) -> Batch:
        """The batch with its images in [-1, 1], augmented: that chooses by what it draws, which no graph can."""
        image = to_unit_range(batch["image"])
        if self.augmentation is not None:
            image, batch = self.augmentation(image, batch)
        return {**batch, "image": image.contiguous(memory_format=torch.channels_last)}

    def step(
        self, batch: Batch, state: State, growth: Mapping[str, Any], optimizers: Sequence[LightningOptimizer]
    ) -> Mapping[str, Tensor]:
        loss = self.task.loss(self.network(batch["image"]), batch)
        self.descend(loss, optimizers[0])
        if self.ema is not None:
            self.ema.update(self.network, state.batch_size, state.resolution)
        return {"loss": loss}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._predictions.append((self._predict(batch), batch))

    def on_validation_epoch_end(self) -> None:
        self._log_scores("val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._predictions.append((self._predict(batch), batch))

    def on_test_epoch_end(self) -> None:
        self._log_scores("test")

    def _log_scores(self, split: str) -> None:
        """Of all that was predicted since the last time; of this process's share, where there are several."""
        scores = self.task.evaluate(self._predictions)
        self._predictions = []
        self.log_dict({f"{split}_{name}": value for name, value in scores.items()}, batch_size=1)

    def _predict(self, batch: Batch) -> Tensor:
        """What the evaluated network gives, without augmentation and autocast, in float32."""
        with torch.autocast(self.device.type, enabled=False):
            return self.evaluated(to_unit_range(batch["image"])).float()

    @torch.no_grad()
    def predictions(self, split: Split, batch_size: int = 256) -> Iterator[tuple[Tensor, Batch]]:
        """(output, batch) over the split in order, without augmentation, in evaluation mode and without autocast."""
        network = self.evaluated
        training = network.training
        network.eval()
        for positions in np.array_split(np.arange(len(split)), max(1, -(-len(split) // batch_size))):
            batch = cast(Batch, {k: cast(Tensor, v).to(self.device) for k, v in split.gather(positions).items()})
            yield self._predict(batch), batch
        network.train(training)
