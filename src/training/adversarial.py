"""The adversarial game of two networks, one step after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from src.core.clock import Stream
from src.core.errors import UserError
from src.core.pixels import to_unit_range
from src.data.store import Batch
from src.networks.latent import Latent
from src.networks.progressive import blend_real
from src.networks.second_derivative import differentiable_twice
from src.training.divergence import diverged
from src.training.ema import ExponentialMovingAverage
from src.training.module import ClockedModule, OptimizerFactory
from src.training.penalties import Penalty
from src.training.schedule import Schedule, State

SAMPLED_AT_ONCE = 2**20  # pixels: feature maps of 64 channels, as at 256 px, take 256 MB each


class AdversarialLoss(Protocol):
    """See ``src.training.losses``. Where there is a ``boundary``, it is the logit above which D says "real"."""

    gives_probabilities: bool
    needs_real: bool  # whether the generator's loss is one of real logits too, at the price of another pass

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor: ...

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor: ...

    def output(self, logits: Tensor) -> Tensor: ...


def uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)


def discriminate(
    discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, group: int | None
) -> Sequence[Tensor]:
    """Logits of real and of fake images, in one pass where that changes nothing: weights are prepared once, not twice.

    ``group``: how many consecutive images the discriminator looks at together; None: all, as batch norm does.
    """
    if group is None or len(real) % group:
        return discriminator(real), discriminator(fake)
    return discriminator(torch.cat([real, fake.to(real.dtype)])).chunk(2)


def accuracies(real: Tensor, fake: Tensor, boundary: float | None) -> tuple[Tensor, Tensor]:
    """Shares of the real and of the generated images that the discriminator finds to be so, from logits (B,).

    ``boundary``: the logit above which an image counts as real; None, for a critic whose output has no fixed zero: half
    way between the means of both.
    """
    real, fake = real.float(), fake.float()
    limit = (real.mean() + fake.mean()) / 2 if boundary is None else boundary
    return (real > limit).float().mean(), (fake < limit).float().mean()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Gradients flow through ``network`` but none are computed for its weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


class AdversarialModule(ClockedModule):
    """Trains a generator against a discriminator; its clock counts real images shown.

    Args:
        optimizer: makes an optimizer from parameters; called once per network.
        seed: with the clock, determines every latent and all noise in the networks.
        schedule: resolution, fade-in, batch size and learning rate as functions of the clock.
        penalties: by name, added to the discriminator's loss where they are due.
        ema: makes the average of the generator that is shown and scored; None shows the generator itself.
        augmentation: images (B, C, H, W) → the same, differentiable: what the discriminator sees of real and generated
            images alike, as in Zhao et al., "Differentiable Augmentation", NeurIPS 2020. None: the images.
        instance_noise: standard deviation of the Gaussian noise on what the discriminator sees, at the beginning; it
            falls to 0 on a straight line until the end of the run (Sønderby et al., "Amortised MAP Inference for Image
            Super-resolution", ICLR 2017, section 3.3).
        fresh_latents: draw others for the generator's step, in place of showing the same images again.
        lr_ratio: learning rate of the discriminator over that of the generator (two time-scales: Heusel et al., "GANs
            Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017).

    Raises:
        UserError: ``ema`` has no half-life for a resolution of ``schedule``.
    """

    streams = (Stream.LATENT, Stream.PENALTY)

    def __init__(
        self,
        name: str,
        generator: nn.Module,
        discriminator: nn.Module,
        latent: Latent,
        loss: AdversarialLoss,
        optimizer: OptimizerFactory,
        seed: int,
        schedule: Schedule,
        penalties: Mapping[str, Penalty] | None = None,
        ema: Callable[[nn.Module], ExponentialMovingAverage] | None = None,
        augmentation: Callable[[Tensor], Tensor] | None = None,
        instance_noise: float = 0.0,
        fresh_latents: bool = False,
        lr_ratio: float = 1.0,
    ) -> None:
        super().__init__(name, optimizer, seed, schedule)
        self.augmentation, self.instance_noise, self.fresh_latents = augmentation, instance_noise, fresh_latents
        self.noise: float | Tensor = 0.0  # of this step
        self.lr_factors = (lr_ratio, 1.0)
        self.generator = generator.to(memory_format=torch.channels_last)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)
        self.ema = ema(self.generator) if ema is not None else None
        if self.ema is not None:
            for phase in schedule.phases():
                self.ema.decay_at(phase.batch_size, phase.resolution)
        self.latent, self.loss, self.penalties = latent, loss, list((penalties or {}).values())
        penalty = ["penalty"] if self.penalties else []
        self.metrics = ("loss_d", "loss_g", "d_real", "d_fake", "accuracy_real", "accuracy_fake", *penalty)
        self.gives_probabilities = loss.gives_probabilities
        self.boundary: float | None = getattr(loss, "boundary", None)
        self.group: int | None = getattr(discriminator, "group", None)
        self.checkpoint = ""  # that the weights are from; empty while they are trained

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.optimizer(self.discriminator.parameters()), self.optimizer(self.generator.parameters())]

    def begin_step(self, state: State) -> None:
        if state.grows and self.ema is not None and self.ema.reset_at_growth:
            self.ema.reset(self.generator)
        if self.instance_noise:
            noise = self.instance_noise * max(1 - self.clock.images / self.schedule.total, 0.0)
            self.noise = self.number("noise", noise) if self.device.type == "cuda" else noise

    def due(self, state: State) -> tuple[bool, ...]:
        return tuple(penalty.due(state.step) for penalty in self.penalties)

    def step(
        self, batch: Batch, state: State, growth: Mapping[str, Any], optimizers: Sequence[LightningOptimizer]
    ) -> Mapping[str, Tensor]:
        optimizer_d, optimizer_g = optimizers
        generator = partial(self.generator, **growth)
        discriminator: Callable[[Tensor], Tensor] = partial(self.discriminate, **growth)

        real = blend_real(to_unit_range(batch["image"]), growth.get("alpha", 1.0))
        with torch.set_grad_enabled(not self.fresh_latents):
            fake = generator(self.draw(Stream.LATENT, self.latent.sample, len(real)))

        real_logits, fake_logits = discriminate(discriminator, real, fake.detach(), self.group)
        loss_d = self.loss.discriminator(real_logits, fake_logits)
        self.manual_backward(loss_d)
        penalty = torch.zeros_like(loss_d)
        for term, due in zip(self.penalties, self.due(state), strict=True):
            if due:
                mix = self.draw(Stream.PENALTY, uniform, len(real))
                with differentiable_twice(self.discriminator):
                    value = term(discriminator, real, fake, mix)
                self.manual_backward(value)  # at once: the graphs of two passes through D are never held together
                penalty += value.detach()
        self.follow_gradients(optimizer_d)

        if self.fresh_latents:
            fake = generator(self.draw(Stream.LATENT, self.latent.sample, len(real)))
        with frozen(self.discriminator):
            real_again = None
            if self.loss.needs_real:
                with torch.no_grad():
                    real_again = discriminator(real)
            loss_g = self.loss.generator(discriminator(fake), real_again)
            self.descend(loss_g, optimizer_g)

        if self.ema is not None:
            self.ema.update(self.generator, state.batch_size, state.resolution)
        found_real, found_fake = accuracies(real_logits.detach(), fake_logits.detach(), self.boundary)
        return {
            "loss_d": loss_d,
            "loss_g": loss_g,
            "d_real": self.loss.output(real_logits.detach()).mean(),
            "d_fake": self.loss.output(fake_logits.detach()).mean(),
            "accuracy_real": found_real,
            "accuracy_fake": found_fake,
            **({"penalty": penalty} if self.penalties else {}),
        }

    def discriminate(self, images: Tensor, **growth: Any) -> Tensor:
        """Logits (B,) of what the discriminator sees of ``images``."""
        if self.augmentation is not None:
            images = self.augmentation(images)
        if self.instance_noise:
            images = images + self.noise * torch.randn_like(images, dtype=torch.float32)
        return self.discriminator(images, **growth)

    @torch.no_grad()
    def sample(self, latents: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] from ``latents`` (B, dim), without autocast and in evaluation mode.

        They have the final resolution, also while the networks still work below it.

        Raises:
            UserError: a value is not finite, which clamping would have turned into black or white.
        """
        state = self.schedule.at(self.clock.images)
        network = self.ema or self.generator
        training = network.training
        network.eval()
        some = max(1, SAMPLED_AT_ONCE // state.resolution**2)
        with torch.autocast(self.device.type, enabled=False):
            parts = [
                network(part, **self.schedule.growth(state))
                for part in latents.to(next(network.parameters())).split(some)
            ]
        network.train(training)
        images = torch.cat(parts)
        if not images.isfinite().all():
            raise UserError(
                f"checkpoint {self.checkpoint} makes images that are not finite: take an earlier one"
                if self.checkpoint
                else diverged("an image of the generator", "not finite", self.clock.images)
            )
        return F.interpolate(images.clamp(-1, 1), scale_factor=self.schedule.resolution // state.resolution)

    @torch.no_grad()
    def judge(self, images: Tensor) -> Tensor:
        """Logits (B,) of the discriminator, in evaluation mode, of real or generated ``images`` (B, C, H, W) in [-1, 1]
        at the final resolution, each looked at alone."""
        state = self.schedule.at(self.clock.images)
        growth = self.schedule.growth(state)
        height, width = (side * state.resolution // self.schedule.resolution for side in images.shape[2:])
        shown = F.interpolate(images.to(self.device), size=(height, width), mode="area")
        training = self.discriminator.training
        self.discriminator.eval()
        with torch.autocast(self.device.type, enabled=False):
            logits = [self.discriminator(one[None], **growth) for one in shown]
        self.discriminator.train(training)
        return torch.cat(logits).float().flatten().cpu()

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}
