"""Generator and discriminator of PGGAN (Karras et al., ICLR 2018, appendix A) and of Enhanced-GAN (Waqas et al., 2022).

Parameters of every resolution exist from the start; ``resolution`` and ``alpha`` of a forward choose what runs, and
what does not run gets no gradient. Enhanced-GAN is PGGAN with three switches: ``attention_at`` in both networks,
``spectral_norm`` in the discriminator, ``pixel_norm`` in the generator. All layers but the attention draw the same
initial weights under the same seed, whatever the switches.

A *resolution* is an image's longer side in pixels. The smallest features have ``start_resolution`` on that side and
the shape of ``base_aspect`` (height, width); every further resolution doubles both sides. So with ``(3, 4)`` the
features start at 3×4 and images of resolution 256 are 192×256.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from src.core.errors import UserError
from src.networks.attention import SelfAttention
from src.networks.equalized import (
    EqualizedConv2d,
    EqualizedLinear,
    blend,
    fades,
    normalise_spectrally,
    scale_biases,
    upsample,
)
from src.networks.kernels import available
from src.networks.progressive_blocks import (
    DiscriminatorBlock,
    DiscriminatorHead,
    GeneratorBlock,
    GeneratorStart,
    activated,
)
from src.networks.scaled_weights import scaled_at_once


def blend_real(image: Tensor, alpha: float | Tensor) -> Tensor:
    """Real images (B, C, H, W), cross-faded with their half-resolution version as the generator's are (section 2)."""
    return blend(upsample(F.avg_pool2d(image, 2)), image, alpha) if fades(alpha) else image


def check_resolution(resolution: int, start_resolution: int) -> None:
    """Raise unless ``resolution`` is ``start_resolution`` times a power of two."""
    doublings = math.log2(max(resolution, 1) / start_resolution)
    if doublings < 0 or doublings % 1:
        nearest = start_resolution * 2 ** max(0, round(doublings))
        raise UserError(
            f"data.resolution={resolution} is not {start_resolution} (start_resolution) times a power of two, "
            f"which growing needs: set data.resolution={nearest}"
        )


def start_shape(start_resolution: int, base_aspect: Sequence[int]) -> tuple[int, int]:
    """(height, width) of the smallest features: ``base_aspect`` with ``start_resolution`` as its longer side."""
    height, width = base_aspect
    if min(height, width, start_resolution) < 1 or start_resolution * min(height, width) % max(height, width):
        unit = max(height, width) // math.gcd(height, width)
        raise UserError(
            f"data.aspect=[{height}, {width}] has no whole number of pixels at start_resolution={start_resolution}: "
            f"set model.schedule.start_resolution={unit * math.ceil(4 / unit)}"
        )
    return start_resolution * height // max(height, width), start_resolution * width // max(height, width)


class Progressive(nn.Module):
    """What the two networks share: resolutions, widths, and which layers a resolution runs.

    Attributes:
        resolutions: all of them, ascending, from ``start_resolution`` to ``resolution``.
        base: what every resolution runs, at ``start_resolution``.
        blocks: the block between a resolution, which is its key, and the one below.
        rgb: per resolution, the 1×1 convolution to or from an image.
        attention: on the features between ``attention_at`` and the resolution below, if anywhere.
    """

    base: nn.Module
    blocks: nn.ModuleDict
    rgb: nn.ModuleDict
    attention: SelfAttention | None

    def __init__(self, resolution: int, start_resolution: int, fmap_base: int, fmap_max: int) -> None:
        super().__init__()
        check_resolution(resolution, start_resolution)
        self.fmap_base, self.fmap_max = fmap_base, fmap_max
        doublings = round(math.log2(resolution / start_resolution))
        self.resolutions = tuple(start_resolution * 2**i for i in range(doublings + 1))
        self.attention_at: int | None = None

    def features_at(self, resolution: int) -> int:
        """Channels of the features of ``resolution``: min(fmap_base / 2^(log₂ resolution − 1), fmap_max).

        The logarithm is rounded, so that they divide by 8, which attention needs, also where an aspect has no power
        of two.
        """
        return max(1, min(2 * self.fmap_base // 2 ** round(math.log2(resolution)), self.fmap_max))

    def active_parameters(self, resolution: int, alpha: float | Tensor = 1.0) -> Iterator[nn.Parameter]:
        """The parameters that a forward with the same arguments gives a gradient."""
        return (parameter for module in self._active(resolution, alpha) for parameter in module.parameters())

    def _active(self, resolution: int, alpha: float | Tensor) -> list[nn.Module]:
        modules = [self.base, self.rgb[str(resolution)]]
        modules += [self.blocks[str(size)] for size in self.resolutions[1:] if size <= resolution]
        if self.attention is not None and self.attention_at is not None and self.attention_at <= resolution:
            modules.append(self.attention)
        if self._fades(resolution, alpha):
            modules.append(self.rgb[str(resolution // 2)])
        return modules

    def _scaled(self, input: Tensor, resolution: int, alpha: float | Tensor) -> AbstractContextManager[None]:
        """Where launches count, all weights of a forward are scaled at once."""
        if not available(input):
            return nullcontext()
        return scaled_at_once(self._active(resolution, alpha), input)

    def _fades(self, resolution: int, alpha: float | Tensor) -> bool:
        return fades(alpha) and resolution > self.resolutions[0]

    def _make_attention(
        self, network: str, attention_at: int | None, pool: int, start: tuple[int, int], equalized: bool = True
    ) -> SelfAttention | None:
        if attention_at is None:
            return None
        key = f"model.{network}.attention_at={attention_at}"
        if attention_at not in self.resolutions[1:]:
            reached = ", ".join(map(str, self.resolutions[1:])) or "no resolution"
            raise UserError(
                f"{key} is never reached: growing from {self.resolutions[0]} to {self.resolutions[-1]} px adds "
                f"{reached}; choose one of these, or null for no attention"
            )
        channels = self.features_at(attention_at // 2)
        if channels % 8:
            raise UserError(
                f"{key} has {channels} channels, and attention needs a multiple of 8: "
                "choose a lower attention_at, or fmap_base and fmap_max that are powers of two"
            )
        shorter = min(start) * attention_at // 2 // self.resolutions[0]
        if not 1 <= pool <= shorter:
            raise UserError(
                f"model.{network}.attention_pool={pool} does not fit features whose shorter side is {shorter}: "
                f"choose 1 to {shorter}"
            )
        self.attention_at = attention_at
        return SelfAttention(channels, equalized, pool)


class Generator(Progressive):
    """Latents (B, latent_dim) → images (B, channels, height, width), linear as in the paper: no tanh, no clipping.

    Args:
        latent_dim: dimensions of the latent, 512 in the paper.
        channels: of the images, 1 to 4.
        resolution: the last one, in pixels on the longer side.
        start_resolution: the first one.
        base_aspect: (height, width) of all images, in any unit.
        fmap_base: channels are fmap_base / 2^(log₂ resolution − 1) …
        fmap_max: … and at most this.
        pixel_norm: normalise the features of every pixel after every convolution's LeakyReLU.
        attention_at: put self-attention on the features that enter this resolution's block; ``None``: nowhere.
        attention_pool: side of the max-pooling of its keys and values.
        bias_scale: factor on all biases at run time, with Adam one on their learning rate; ``"he"``: in each layer that
            of its weight, He's constant.
        first_gain: of the dense layer that latents enter; ``None``: see :class:`GeneratorStart`.
        last_gain: of the layers that make images.

    Raises:
        UserError: ``resolution`` cannot be grown to from ``start_resolution``, ``base_aspect`` has no whole number of
            pixels, ``attention_at`` is never reached or has channels that attention cannot divide, or
            ``attention_pool`` is larger than the features.
    """

    def __init__(
        self,
        latent_dim: int,
        channels: int,
        resolution: int,
        start_resolution: int = 4,
        base_aspect: Sequence[int] = (1, 1),
        fmap_base: int = 8192,
        fmap_max: int = 512,
        pixel_norm: bool = True,
        attention_at: int | None = None,
        attention_pool: int = 2,
        bias_scale: float | str = 1.0,
        first_gain: float | None = None,
        last_gain: float = 1.0,
    ) -> None:
        shape = start_shape(start_resolution, base_aspect)
        super().__init__(resolution, start_resolution, fmap_base, fmap_max)
        self.latent_dim = latent_dim
        width = self.features_at
        self.base = GeneratorStart(latent_dim, width(start_resolution), shape, pixel_norm, first_gain)
        self.blocks = nn.ModuleDict(
            {str(size): GeneratorBlock(width(size // 2), width(size), pixel_norm) for size in self.resolutions[1:]}
        )
        self.rgb = nn.ModuleDict(
            {str(size): EqualizedConv2d(width(size), channels, 1, gain=last_gain) for size in self.resolutions}
        )
        self.attention = self._make_attention("generator", attention_at, attention_pool, shape)
        scale_biases(self, bias_scale)

    def forward(self, latent: Tensor, resolution: int, alpha: float | Tensor = 1.0) -> Tensor:
        """Images of ``resolution``.

        While ``alpha`` < 1 they are faded in: alpha is the share of the new block, the rest the images of the
        resolution below, upsampled. It means nothing at ``start_resolution``, where there is none below.
        """
        with self._scaled(latent, resolution, alpha):
            return self._draw(latent, resolution, alpha)

    def _draw(self, latent: Tensor, resolution: int, alpha: float | Tensor) -> Tensor:
        features = below = self.base(latent)
        for size in self.resolutions[1 : self.resolutions.index(resolution) + 1]:
            below = features
            # Attention belongs to the new path: what the resolution below shows does not change when it joins.
            if self.attention is not None and size == self.attention_at:
                features = self.attention(features)
            features = self.blocks[str(size)](features)
        image = self.rgb[str(resolution)](features)
        if self._fades(resolution, alpha):
            image = blend(upsample(self.rgb[str(resolution // 2)](below)), image, alpha)
        return image


class Discriminator(Progressive):
    """Images (B, channels, height, width) → one logit each (B,); what a logit means is the loss's choice.

    Args:
        channels, resolution, start_resolution, base_aspect, fmap_base, fmap_max: as in :class:`Generator`.
        spectral_norm: divide the weight of every convolution and dense layer by its largest singular value, estimated
            by one power iteration per forward in training mode (Miyato et al., ICLR 2018), in place of equalized
            scaling: see :func:`src.networks.equalized.normalise_spectrally`.
        equalized: scale the weights at run time; ``False``: He's initialisation only.
        attention_at: put self-attention behind this resolution's block, the generator's mirror image.
        attention_pool: side of the max-pooling of its keys and values.
        minibatch_std_group: samples per group of :class:`MinibatchStd`; 1 leaves that layer out.
        minibatch_std_at: put it before the block of this resolution, ``None`` before the last layers, which are those
            of the first resolution: at a higher one it joins when images have grown to it.
        bias_scale: as in :class:`Generator`.
        last_gain: of the layer that makes the logit.

    Raises:
        UserError: as in :class:`Generator`, or there is no resolution ``minibatch_std_at``.
    """

    def __init__(
        self,
        channels: int,
        resolution: int,
        start_resolution: int = 4,
        base_aspect: Sequence[int] = (1, 1),
        fmap_base: int = 8192,
        fmap_max: int = 512,
        spectral_norm: bool = False,
        equalized: bool = True,
        attention_at: int | None = None,
        attention_pool: int = 2,
        minibatch_std_group: int = 4,
        minibatch_std_at: int | None = None,
        bias_scale: float | str = 1.0,
        last_gain: float = 1.0,
    ) -> None:
        shape = start_shape(start_resolution, base_aspect)
        super().__init__(resolution, start_resolution, fmap_base, fmap_max)
        equalized = equalized or spectral_norm  # which wants the same weights, and sets a scale of its own
        width = self.features_at
        hidden = max(1, min(4 * fmap_base // start_resolution, fmap_max))  # as for the resolution below the first
        self.group = minibatch_std_group  # consecutive images that it looks at together
        groups = dict.fromkeys(self.resolutions, 1)
        groups[self._minibatch_std_at(minibatch_std_at)] = minibatch_std_group
        head = groups[start_resolution]
        self.base = DiscriminatorHead(width(start_resolution), hidden, shape, equalized, head, last_gain)
        self.blocks = nn.ModuleDict(
            {
                str(size): DiscriminatorBlock(width(size), width(size // 2), equalized, groups[size])
                for size in self.resolutions[1:]
            }
        )
        self.rgb = nn.ModuleDict(
            {str(size): EqualizedConv2d(channels, width(size), 1, equalized=equalized) for size in self.resolutions}
        )
        self.attention = self._make_attention("discriminator", attention_at, attention_pool, shape, equalized)
        scale_biases(self, bias_scale)
        if spectral_norm:
            for layer in list(self.modules()):
                if isinstance(layer, EqualizedConv2d | EqualizedLinear):
                    normalise_spectrally(layer)

    def _minibatch_std_at(self, resolution: int | None) -> int:
        if resolution not in (None, *self.resolutions):
            raise UserError(
                f"model.discriminator.minibatch_std_at={resolution} is no resolution that is grown to: choose one of "
                f"{', '.join(map(str, self.resolutions))}, or null for the first"
            )
        return resolution or self.resolutions[0]

    def forward(self, image: Tensor, resolution: int, alpha: float | Tensor = 1.0) -> Tensor:
        """Logits of images of ``resolution``; ``alpha`` as in :meth:`Generator.forward`."""
        with self._scaled(image, resolution, alpha):
            return self._judge(image, resolution, alpha)

    def _judge(self, image: Tensor, resolution: int, alpha: float | Tensor) -> Tensor:
        features = activated(cast(EqualizedConv2d, self.rgb[str(resolution)]), image)
        for size in self.resolutions[self.resolutions.index(resolution) : 0 : -1]:
            features = self.blocks[str(size)](features)
            if self.attention is not None and size == self.attention_at:
                features = self.attention(features)
            if size == resolution and self._fades(resolution, alpha):
                below = activated(cast(EqualizedConv2d, self.rgb[str(size // 2)]), F.avg_pool2d(image, 2))
                features = blend(below, features, alpha)
        return self.base(features)
