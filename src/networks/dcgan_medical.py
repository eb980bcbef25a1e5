"""The DCGAN for medical images of the project's second source, "Dataset generation with GANs": 128 px, kernels of 5.

* generator: dense to 4×4, then a transposed convolution of stride 2 for each of the filters (512, 256, 128, 64, 32:
  from 4 to 128 px), LeakyReLU each, then a convolution to the image's channels, tanh;
* discriminator: a convolution of stride 2 for each of the filters (64, 128, 256, 512), LeakyReLU 0.2 each, then
  flatten, dropout, dense. The sigmoid is in the loss.

Chosen, as the source is silent: the dense layer has as many channels as the first filters, the generator's LeakyReLU
has the slope 0.2 too, neither network has a norm unless it is asked for, dropout is 0.3, and weights begin as in He et
al. ("Delving deep into rectifiers", ICCV 2015, equation 15), so that without a norm signals keep their scale at any
width; a transposed convolution of stride 2 has a quarter of its taps in every output pixel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.networks.dcgan import LEAKY_SLOPE, NORMS, choose
from src.networks.dropout import Dropout

START_SIZE = 4  # pixels of the generator's first feature map
KERNEL = 5


def init_weights(network: nn.Module) -> None:
    """He's normal weights for LeakyReLU, by the taps that an output pixel really has; gain 1 where none follows."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    for layer in layers:
        gain = nn.init.calculate_gain("leaky_relu", LEAKY_SLOPE) if layer is not layers[-1] else 1.0
        taps = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):  # (in, out, k, k)
            taps = layer.weight[:, 0].numel() // math.prod(layer.stride)
        nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(taps))
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


class Generator(nn.Module):
    """Latents (B, latent_dim) → images (B, channels, resolution, resolution) in [-1, 1].

    Args:
        resolution: pixels a side of the data: 4 doubled once for each of ``filters``. Raises UserError where it is not.
        filters: of the transposed convolutions, in order.
        aspect: height and width of the data, in any unit. Raises UserError unless it is square.
        norm: ``batch``, ``instance`` or ``none``, after every transposed convolution.
    """

    def __init__(
        self,
        latent_dim: int,
        channels: int,
        resolution: int,
        filters: Sequence[int],
        aspect: Sequence[int] = (1, 1),
        norm: str = "none",
    ) -> None:
        super().__init__()
        if aspect[0] != aspect[1]:
            raise UserError(
                f"data.aspect={list(aspect)}: dcgan_medical makes square images; take model=pggan, or data.aspect=[1,1]"
            )
        if START_SIZE * 2 ** len(filters) != resolution:
            stages = max(1, round(math.log2(max(resolution, 1) / START_SIZE)))
            raise UserError(
                f"model.generator.filters={list(filters)} double {START_SIZE} px {len(filters)} times, to "
                f"{START_SIZE * 2 ** len(filters)} px, the data have {resolution}: give {stages} filters, which make "
                f"{START_SIZE * 2**stages} px, or set resolution={START_SIZE * 2 ** len(filters)}"
            )
        normalise = choose(NORMS, "model.generator.norm", norm)
        self.project = nn.Linear(latent_dim, filters[0] * START_SIZE**2)
        self.activation = nn.LeakyReLU(LEAKY_SLOPE, inplace=True)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    nn.ConvTranspose2d(fan_in, fan_out, KERNEL, stride=2, padding=2, output_padding=1),
                    normalise(fan_out),
                    nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
                )
                for fan_in, fan_out in itertools.pairwise([filters[0], *filters])
            )
        )
        self.to_image = nn.Conv2d(filters[-1], channels, KERNEL, padding=KERNEL // 2)
        init_weights(self)

    def forward(self, latent: Tensor) -> Tensor:
        features = self.activation(self.project(latent)).unflatten(1, (-1, START_SIZE, START_SIZE))
        return torch.tanh(self.to_image(self.stages(features)))


class Discriminator(nn.Module):
    """Images (B, channels, resolution, resolution) → one logit each (B,); the sigmoid is in the loss.

    Args:
        resolution: pixels a side, which each of ``filters`` halves. Raises UserError where it cannot be.
        filters: of the convolutions, in order.
        norm: ``batch``, ``instance`` or ``none``, after every convolution but the first.
        dropout: probability of a zero before the dense layer.
    """

    def __init__(
        self, channels: int, resolution: int, filters: Sequence[int], norm: str = "none", dropout: float = 0.3
    ) -> None:
        super().__init__()
        side, rest = divmod(resolution, 2 ** len(filters))
        if rest:
            raise UserError(
                f"model.discriminator.filters={list(filters)} halve {resolution} px {len(filters)} times, which leaves "
                f"no whole pixel: give fewer, or set resolution to a multiple of {2 ** len(filters)}"
            )
        normalise = choose(NORMS, "model.discriminator.norm", norm)
        stages: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise([channels, *filters]):
            stages += [
                nn.Conv2d(fan_in, fan_out, KERNEL, stride=2, padding=KERNEL // 2),
                normalise(fan_out) if stages else nn.Identity(),
                nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
            ]
        self.stages = nn.Sequential(*stages)
        self.dropout = Dropout(dropout)
        self.classify = nn.Linear(filters[-1] * side**2, 1)
        init_weights(self)

    def forward(self, image: Tensor) -> Tensor:
        return self.classify(self.dropout(self.stages(image).flatten(1))).squeeze(1)
