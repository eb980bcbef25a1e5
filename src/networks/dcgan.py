"""DCGAN generator and discriminator for any power-of-two resolution (Radford et al., ICLR 2016).

At 32 px the two networks are the baseline's table exactly; other resolutions follow the same rule:

* generator: start at 8×8, double up to the resolution; every stage has 128 channels but the last, which has 64;
* discriminator: halve down to 4×4 with channels doubling from 32 (512 at most), then a convolution of stride 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.networks.dropout import Dropout
from src.networks.upsampling import UpsampleConv2d

T = TypeVar("T")

START_SIZE = 8  # pixels of the generator's first feature map
FINAL_SIZE = 4  # pixels of the discriminator's last feature map
MAX_FILTERS = 512
LEAKY_SLOPE = 0.2

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "none": lambda channels: nn.Identity(),
}


def check_resolution(resolution: int) -> None:
    """Raise unless ``resolution`` is a power of two of at least 16."""
    if resolution < 16 or resolution & (resolution - 1):
        nearest = max(16, 2 ** round(math.log2(max(resolution, 16))))
        raise UserError(
            f"data.resolution={resolution} is not a power of two of at least 16, which DCGAN needs: "
            f"set data.resolution={nearest}"
        )


def choose(table: Mapping[str, T], key: str, name: str) -> T:
    if name not in table:
        raise UserError(f"{key}={name} is unknown: choose one of {', '.join(table)}")
    return table[name]


def _scaled(filters: int, width: float) -> int:
    return max(1, round(filters * width))


def init_weights(module: nn.Module) -> None:
    """Weights N(0, 0.02), norm gains N(1, 0.02), biases 0 (Radford et al., section 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class Generator(nn.Module):
    """Latents (B, latent_dim) → images (B, channels, resolution, resolution) in [-1, 1].

    Args:
        aspect: height and width of the data, in any unit. Raises UserError unless it is square.
        upsampling: ``nearest`` (upsample ×2, then 3×3 convolution) or ``transposed`` (4×4 convolution, stride 2).
        activation: ``relu`` or ``leaky_relu``.
        norm: ``batch``, ``instance`` or ``none``, after every convolution but the last.
        dropout: probability of a zero after every stage.
        width: factor on all channel counts.
    """

    def __init__(
        self,
        latent_dim: int,
        channels: int,
        resolution: int,
        aspect: Sequence[int] = (1, 1),
        upsampling: str = "nearest",
        activation: str = "relu",
        norm: str = "batch",
        dropout: float = 0.0,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        check_resolution(resolution)
        if aspect[0] != aspect[1]:
            raise UserError(
                f"data.aspect={list(aspect)}: DCGAN makes square images; take model=pggan, or data.aspect=[1,1]"
            )
        activate = choose(ACTIVATIONS, "model.generator.activation", activation)
        normalise = choose(NORMS, "model.generator.norm", norm)
        upsample = choose(
            {"nearest": UpsampleConv2d, "transposed": _transposed}, "model.generator.upsampling", upsampling
        )

        stages = int(math.log2(resolution // START_SIZE))
        filters = [_scaled(128, width)] * stages + [_scaled(64, width)]
        self.latent_dim = latent_dim
        self.project = nn.Sequential(nn.Linear(latent_dim, filters[0] * START_SIZE**2), activate())
        self.stages = nn.Sequential(
            *(
                nn.Sequential(upsample(fan_in, fan_out), normalise(fan_out), activate(), Dropout(dropout))
                for fan_in, fan_out in itertools.pairwise(filters)
            )
        )
        self.to_image = nn.Conv2d(filters[-1], channels, 3, padding=1)
        self.apply(init_weights)

    def forward(self, latent: Tensor) -> Tensor:
        features = self.project(latent).unflatten(1, (-1, START_SIZE, START_SIZE))
        return torch.tanh(self.to_image(self.stages(features)))


def _transposed(fan_in: int, fan_out: int) -> nn.Module:
    return nn.ConvTranspose2d(fan_in, fan_out, 4, stride=2, padding=1)


class Discriminator(nn.Module):
    """Images (B, channels, resolution, resolution) → one logit each (B,); the sigmoid is in the loss.

    Every stage is convolution → norm → LeakyReLU → dropout; the first has no norm.
    """

    def __init__(
        self,
        channels: int,
        resolution: int,
        activation: str = "leaky_relu",
        norm: str = "batch",
        dropout: float = 0.3,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        check_resolution(resolution)
        activate = choose(ACTIVATIONS, "model.discriminator.activation", activation)
        normalise = choose(NORMS, "model.discriminator.norm", norm)
        halvings = int(math.log2(resolution // FINAL_SIZE))
        filters = [channels] + [_scaled(min(32 * 2**i, MAX_FILTERS), width) for i in range(halvings + 1)]
        stages: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(filters)):
            stages += [
                nn.Conv2d(fan_in, fan_out, 3, stride=2 if i < halvings else 1, padding=1),
                normalise(fan_out) if i else nn.Identity(),
                activate(),
                Dropout(dropout),
            ]
        self.stages = nn.Sequential(*stages)
        self.classify = nn.Linear(filters[-1] * FINAL_SIZE**2, 1)
        self.apply(init_weights)

    def forward(self, image: Tensor) -> Tensor:
        return self.classify(self.stages(image).flatten(1)).squeeze(1)
