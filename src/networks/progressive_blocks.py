"""Blocks of progressive growing (Karras et al., "Progressive Growing of GANs", ICLR 2018).

Sections are that paper's; the layers of a block are its table 2.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.networks import fused
from src.networks.equalized import (
    EqualizedConv2d,
    EqualizedLinear,
    EqualizedUpsampleConv2d,
    at_least_float32,
    leaky_relu,
)
from src.networks.fused import PIXEL_NORM_EPSILON
from src.networks.kernels import available

MINIBATCH_STD_EPSILON = 1e-8  # on the variance


class PixelNorm(nn.Module):
    """Feature vectors (B, C, …) of every pixel → the same with a mean square of 1 over C (section 4.2), in float32."""

    def forward(self, features: Tensor) -> Tensor:
        # vector_norm converts as it sums: no float32 copy of the features is kept for the backward pass.
        norm = torch.linalg.vector_norm(features, dim=1, keepdim=True, dtype=at_least_float32(features))
        scale = torch.rsqrt(norm.square() / features.shape[1] + PIXEL_NORM_EPSILON)
        return (features * scale).to(features.dtype)


class MinibatchStd(nn.Module):
    """Append one map with the standard deviation over groups of samples: (B, C, H, W) → (B, C + 1, H, W).

    Section 3, as in the authors' code: the standard deviation of every feature over the samples of a group, averaged
    over features and positions to one number, which is the map's value for each sample of that group. In float32.

    A group is consecutive samples (theirs are strided, which is the same in law). So the ranks of a distributed run,
    which hold consecutive slices of the batch, form the groups of a single process where ``group_size`` divides their
    slice; where it does not, groups are smaller, but never span two ranks.

    Args:
        group_size: samples in a group. Where it does not divide B, groups have the largest size below it that does:
            14 samples are 7 groups of 2, 6 are 2 groups of 3; 5 or 7 samples stand alone, with a constant map.
    """

    def __init__(self, group_size: int = 4) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(self, features: Tensor) -> Tensor:
        count, _, height, width = features.shape
        group = next(size for size in range(min(self.group_size, count), 0, -1) if count % size == 0)
        grouped = features.to(at_least_float32(features)).unflatten(0, (-1, group))
        std = (grouped.var(1, correction=0) + MINIBATCH_STD_EPSILON).sqrt().mean((1, 2, 3))
        maps = std.to(features.dtype).repeat_interleave(group).view(-1, 1, 1, 1).expand(-1, 1, height, width)
        return torch.cat([features, maps], 1)


def _minibatch_std(group_size: int) -> tuple[nn.Module, int]:
    """The layer, and the number of maps that it appends: groups of one image need none."""
    return (MinibatchStd(group_size), 1) if group_size > 1 else (nn.Identity(), 0)


class GeneratorStart(nn.Module):
    """Latents (B, latent_dim), normalised to the unit hypersphere → features (B, out, *shape).

    Args:
        gain: of the dense layer. ``None``: √2/4, as in the authors' code, whose scale pixel norm undoes: it slows the
            layer down. Without pixel norm √2: nothing would undo it, and all features would start four times too small.
    """

    def __init__(
        self, latent_dim: int, fan_out: int, shape: tuple[int, int], pixel_norm: bool, gain: float | None = None
    ) -> None:
        super().__init__()
        self.shape = shape
        if gain is None:
            gain = math.sqrt(2) / 4 if pixel_norm else math.sqrt(2)
        self.normalise = PixelNorm()
        self.dense = EqualizedLinear(latent_dim, fan_out * shape[0] * shape[1], gain=gain, bias=False)
        self.bias = nn.Parameter(torch.zeros(fan_out))  # the same at all positions, and scaled as the dense layer's
        self.conv = EqualizedConv2d(fan_out, fan_out, 3, padding=1)
        self.norm = _norm(pixel_norm)

    def forward(self, latent: Tensor) -> Tensor:
        features = self.dense(self.normalise(latent)).unflatten(1, (-1, *self.shape))
        scale = self.dense.bias_scale
        bias = self.bias if scale == 1 else self.bias * scale
        features = self.norm(leaky_relu(features + bias.view(-1, 1, 1).to(features.dtype)))
        return activated(self.conv, features, self.norm)


class GeneratorBlock(nn.Module):
    """Features (B, in, H, W) → (B, out, 2H, 2W)."""

    def __init__(self, fan_in: int, fan_out: int, pixel_norm: bool) -> None:
        super().__init__()
        self.up = EqualizedUpsampleConv2d(fan_in, fan_out)
        self.conv = EqualizedConv2d(fan_out, fan_out, 3, padding=1)
        self.norm = _norm(pixel_norm)

    def forward(self, features: Tensor) -> Tensor:
        return activated(self.conv, activated(self.up, features, self.norm), self.norm)


def _norm(pixel_norm: bool) -> nn.Module:
    return PixelNorm() if pixel_norm else nn.Identity()


def activated(layer: EqualizedConv2d, input: Tensor, norm: nn.Module | None = None) -> Tensor:
    """norm(LeakyReLU(layer(input))), where ``norm`` is a :class:`PixelNorm` or changes nothing."""
    if not available(input):
        features = leaky_relu(layer(input))
        return features if norm is None else norm(features)
    act = fused.bias_leaky_relu_pixel_norm if isinstance(norm, PixelNorm) else fused.bias_leaky_relu
    return act(layer.without_bias(input), cast(Tensor, layer.scaled_bias()))


def activated_and_pooled(layer: EqualizedConv2d, input: Tensor) -> Tensor:
    """LeakyReLU(layer(input)), averaged over 2×2 positions."""
    if not available(input):
        return F.avg_pool2d(leaky_relu(layer(input)), 2)
    return fused.bias_leaky_relu_pool(layer.without_bias(input), cast(Tensor, layer.scaled_bias()))


class DiscriminatorBlock(nn.Module):
    """Features (B, in, H, W) → (B, out, H/2, W/2)."""

    def __init__(self, fan_in: int, fan_out: int, equalized: bool, minibatch_std_group: int) -> None:
        super().__init__()
        self.minibatch_std, maps = _minibatch_std(minibatch_std_group)
        self.conv = EqualizedConv2d(fan_in + maps, fan_in, 3, padding=1, equalized=equalized)
        self.down = EqualizedConv2d(fan_in, fan_out, 3, padding=1, equalized=equalized)

    def forward(self, features: Tensor) -> Tensor:
        # The LeakyReLU stands between convolution and pooling (table 2): unlike the generator's, they cannot be fused.
        return activated_and_pooled(self.down, activated(self.conv, self.minibatch_std(features)))


class DiscriminatorHead(nn.Module):
    """Features (B, in, *shape) → one logit each (B,)."""

    def __init__(
        self,
        fan_in: int,
        hidden: int,
        shape: tuple[int, int],
        equalized: bool,
        minibatch_std_group: int,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.minibatch_std, maps = _minibatch_std(minibatch_std_group)
        self.conv = EqualizedConv2d(fan_in + maps, fan_in, 3, padding=1, equalized=equalized)
        self.whole = EqualizedConv2d(fan_in, hidden, shape, equalized=equalized)
        self.classify = EqualizedLinear(hidden, 1, gain=gain, equalized=equalized)

    def forward(self, features: Tensor) -> Tensor:
        features = activated(self.conv, self.minibatch_std(features))
        return self.classify(activated(self.whole, features).flatten(1)).squeeze(1)
