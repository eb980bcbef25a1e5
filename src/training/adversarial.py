"""The adversarial game of two networks, one step after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from src.clock import Clock, Stream, derive_seed, random_generator
from src.data.store import Batch
from src.networks.latent import Latent
from src.training.meter import Meter

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class AdversarialLoss(Protocol):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor: ...

    def generator(self, fake: Tensor) -> Tensor: ...


def to_unit_range(image: Tensor) -> Tensor:
    """Stored pixels (uint8 or uint16) → float32 in [-1, 1], channels last in memory."""
    half = torch.iinfo(image.dtype).max / 2
    return image.to(torch.float32).div_(half).sub_(1).contiguous(memory_format=torch.channels_last)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Gradients flow through ``network`` but none are computed for its weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


class AdversarialModule(LightningModule):
    """Trains a generator against a discriminator; its clock counts real images shown.

    Args:
        optimizer: makes an optimizer from parameters; called once per network.
        seed: with the clock, determines every latent and all noise in the networks.
    """

    def __init__(
        self,
        name: str,
        generator: nn.Module,
        discriminator: nn.Module,
        latent: Latent,
        loss: AdversarialLoss,
        optimizer: OptimizerFactory,
        seed: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.name = name
        self.generator = generator.to(memory_format=torch.channels_last)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)
        self.latent, self.loss, self.optimizer, self.seed = latent, loss, optimizer, seed
        self.clock, self.meter = Clock(), Meter()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.optimizer(self.discriminator.parameters()), self.optimizer(self.generator.parameters())]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        optimizer_d, optimizer_g = cast(list[LightningOptimizer], self.optimizers())
        torch.manual_seed(derive_seed(self.seed, Stream.NETWORK, self.clock.images, self.global_rank))
        real = to_unit_range(batch["image"])
        fake = self.generator(self.draw_latents(len(real)))

        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake.detach())
        loss_d = self.loss.discriminator(real_logits, fake_logits)
        self.descend(loss_d, optimizer_d)

        with frozen(self.discriminator):
            loss_g = self.loss.generator(self.discriminator(fake))
            self.descend(loss_g, optimizer_g)

        self.clock.advance(len(real) * self.trainer.world_size)
        self.meter.add(
            {
                "loss_d": loss_d,
                "loss_g": loss_g,
                "d_real": real_logits.detach().sigmoid().mean(),
                "d_fake": fake_logits.detach().sigmoid().mean(),
            }
        )

    def descend(self, loss: Tensor, optimizer: LightningOptimizer) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        # Autocast keeps low-precision copies of the weights for as long as its context lasts: now they are stale.
        torch.clear_autocast_cache()

    def draw_latents(self, count: int) -> Tensor:
        """Latents (count, dim) of this rank for this step: its slice of the draw for the whole batch."""
        generator = random_generator(self.seed, Stream.LATENT, self.clock.images)
        latents = self.latent.sample(count * self.trainer.world_size, generator)
        return latents[self.global_rank * count :][:count].to(self.device)

    @torch.no_grad()
    def sample(self, latents: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] from ``latents`` (B, dim), in float32 and evaluation mode."""
        training = self.generator.training
        self.generator.eval()
        with torch.autocast(self.device.type, enabled=False):
            images = self.generator(latents.to(self.device))
        self.generator.train(training)
        return images

    def parameter_counts(self) -> dict[str, int]:
        return {
            "generator": sum(p.numel() for p in self.generator.parameters()),
            "discriminator": sum(p.numel() for p in self.discriminator.parameters()),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The trainer's own loop counters count optimizer steps and batches; here the image clock says where to go on.
        checkpoint.pop("loops", None)
        checkpoint["images"] = self.clock.images
        checkpoint["meter"] = self.meter.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.clock.images = checkpoint["images"]
        self.meter.load_state_dict(checkpoint["meter"])
