"""What every module trained here shares: the image clock, its checkpoint, and a step of an optimizer."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from src.clock import Clock
from src.data.store import Split
from src.training.checkpoint_io import check_architecture
from src.training.meter import Meter
from src.training.schedule import Schedule
from src.training.strategy import average_gradients, of_all_ranks

log = logging.getLogger(__name__)

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def seed_noise(device: torch.device, seed: int) -> None:
    """Seed what networks and augmentation draw.

    ``torch.manual_seed`` would also queue the seed for devices that are not in use, at a millisecond a step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor``, which is on the CPU, on ``device``; nobody waits for what a GPU is still at."""
    if device.type == "cuda":  # which copies at its own time only from memory that stays in place
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class ClockedModule(LightningModule, ABC):
    """Optimizes by hand, on the clock of real images shown.

    Args:
        optimizer: makes an optimizer from parameters; called once per network.
        seed: with the clock, determines all noise.
        schedule: batch size, learning rate and the like as functions of the clock.
    """

    metrics: Sequence[str]  # names of what is measured at every step
    gives_probabilities = False  # whether the metrics tell a discriminator that has won

    def __init__(self, name: str, optimizer: OptimizerFactory, seed: int, schedule: Schedule) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.name, self.optimizer, self.seed, self.schedule = name, optimizer, seed, schedule
        self.clock, self.meter = Clock(), Meter()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return {name: send(tensor, device) for name, tensor in batch.items()}

    def descend(self, loss: Tensor, optimizer: LightningOptimizer) -> None:
        self.manual_backward(loss)
        self.follow_gradients(optimizer)

    def follow_gradients(self, optimizer: LightningOptimizer) -> None:
        """A step along the gradients that were summed since the last one, which are forgotten after it."""
        average_gradients(optimizer.optimizer)
        optimizer.step()
        optimizer.zero_grad()
        # Autocast keeps low-precision copies of the weights for as long as its context lasts: now they are stale.
        torch.clear_autocast_cache()

    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """What is trained, by name."""

    def check(self, split: Split) -> None:
        """Raise UserError where the images of ``split`` lack what is learned of them."""

    def parameter_counts(self) -> dict[str, int]:
        return {name: sum(p.numel() for p in network.parameters()) for name, network in self.networks().items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The trainer's own loop counters count optimizer steps and batches; here the image clock says where to go on.
        checkpoint.pop("loops", None)
        checkpoint["images"] = self.clock.images
        checkpoint["threads"] = torch.get_num_threads()
        checkpoint["meters"] = of_all_ranks(self.meter.state_dict())  # one process writes for all

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_architecture(self.state_dict(), checkpoint["state_dict"], "the run's last checkpoint")
        self.clock.images = checkpoint["images"]
        before, now = checkpoint.get("threads"), torch.get_num_threads()
        if self.device.type == "cpu" and before not in (None, now):
            log.warning(
                f"goes on with {now} CPU threads where it had {before}: not to the same bits, which depend on their "
                f"number; trainer.threads={before} keeps them"
            )
        self.meter.load_state_dict(checkpoint["meters"][self.global_rank])
