"""Layers with an equalized learning rate (Karras et al., "Progressive Growing of GANs", ICLR 2018, section 4.1)."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from src.networks.fused import LEAKY_SLOPE
from src.networks.second_derivative import conv2d_twice
from src.networks.upsampling import upsampling_kernel

FUSE_FROM = 2048  # positions in a batch: with fewer, summing kernels costs more than the taps it saves


def leaky_relu(features: Tensor) -> Tensor:
    """LeakyReLU with slope 0.2, in place."""
    return F.leaky_relu(features, LEAKY_SLOPE, inplace=True)


def upsample(image: Tensor) -> Tensor:
    """Nearest neighbour: (B, C, H, W) → (B, C, 2H, 2W)."""
    return F.interpolate(image, scale_factor=2, mode="nearest")


def fades(alpha: float | Tensor) -> bool:
    """Whether layers fade in: α is below 1, or a number on a GPU, where a captured step takes it from."""
    return isinstance(alpha, Tensor) or alpha < 1


def blend(below: Tensor, above: Tensor, alpha: float | Tensor) -> Tensor:
    """(1 − α)·below + α·above, in the dtype of ``above``: autocast may give the two different ones.

    Args:
        alpha: a number, or one on the device of the two (a float32 tensor without dimensions), for which the sum is
            taken in float32: rounded to bfloat16, α would have 256 steps.
    """
    if not isinstance(alpha, Tensor):
        return torch.lerp(below.to(above.dtype), above, alpha)
    sums = at_least_float32(above)
    return torch.lerp(below.to(sums), above.to(sums), alpha.to(sums)).to(above.dtype)


class Equalized(nn.Module):
    """A layer whose weight is multiplied by ``scale`` at run time; the weight, not the activations: it is much smaller.

    Attributes:
        bias_scale: by which its bias is multiplied, see :func:`scale_biases`.
        ready, ready_bias: the products, where they are there before they are asked for
            (``src.networks.scaled_weights``).
    """

    weight: Tensor
    scale: float
    bias_scale: float = 1.0
    ready: Tensor | None = None
    ready_bias: Tensor | None = None

    def exact_weight(self) -> Tensor:
        """What is multiplied, in float32 also under autocast."""
        if not is_parametrized(self):
            return self.weight
        # Spectral norm keeps its vectors in float32 and must not see them rounded to the dtype of autocast.
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            return self.weight

    def scaled_weight(self) -> Tensor:
        if self.ready is not None:
            return self.ready
        weight = self.exact_weight()
        return weight if self.scale == 1 else weight * self.scale

    def scaled_bias(self) -> Tensor | None:
        if self.ready_bias is not None:
            return self.ready_bias
        bias = cast(Tensor | None, self.bias)
        return bias if bias is None or self.bias_scale == 1 else bias * self.bias_scale


class EqualizedConv2d(nn.Conv2d, Equalized):
    """Convolution of stride 1 with an equalized learning rate (section 4.1): (B, in, H, W) → (B, out, H', W').

    Weights start as N(0, 1) and are multiplied at run time by He's constant ``gain / √fan_in``, so that Adam, whose
    steps do not depend on the gradient's scale, moves all layers equally fast. Biases start at zero.

    Args:
        gain: √2 before a LeakyReLU, 1 before nothing.
        equalized: ``False`` multiplies once, at initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        padding: int = 0,
        gain: float = math.sqrt(2),
        equalized: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding, bias=bias)
        self.scale = _he_scale(self.weight, gain, equalized)
        self.twice = False  # whether the next forward will be differentiated twice

    def reset_parameters(self) -> None:
        _reset(self)

    def forward(self, input: Tensor) -> Tensor:
        return self.convolve(input, self.scaled_weight(), self.scaled_bias())

    def without_bias(self, input: Tensor) -> Tensor:
        return self.convolve(input, self.scaled_weight())

    def convolve(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As :meth:`forward`, with any weight of the same kernel size and another bias."""
        convolve = conv2d_twice if self.twice else F.conv2d
        return convolve(input, weight, bias, padding=self.padding)


class EqualizedUpsampleConv2d(EqualizedConv2d):
    """Nearest upsampling ×2, then an equalized 3×3 convolution: (B, in, H, W) → (B, out, 2H, 2W).

    In one operation where that is faster, with the same result: see :func:`src.networks.upsampling.upsampling_kernel`.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def convolve(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if input.shape[0] * input.shape[2] * input.shape[3] < FUSE_FROM:
            return F.conv2d(upsample(input), weight, bias, padding=1)
        return F.conv_transpose2d(input, upsampling_kernel(weight), bias, stride=2, padding=1)


class EqualizedLinear(nn.Linear, Equalized):
    """Dense layer with an equalized learning rate, (B, in) → (B, out); see :class:`EqualizedConv2d`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        gain: float = math.sqrt(2),
        equalized: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.scale = _he_scale(self.weight, gain, equalized)

    def reset_parameters(self) -> None:
        _reset(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.scaled_weight(), self.scaled_bias())


def scale_biases(network: nn.Module, by: float | str) -> None:
    """Have all equalized layers of ``network`` multiply their biases at run time.

    Biases start at zero and Adam's steps do not depend on the gradient's scale: so a factor is one on their learning
    rate alone.

    Args:
        by: the factor, or ``"he"``: in each layer that of its weight, so that both learn equally fast. To be called
            before :func:`normalise_spectrally`, which gives weights other factors.
    """
    for layer in network.modules():
        if isinstance(layer, Equalized):
            layer.bias_scale = layer.scale if by == "he" else float(by)


def normalise_spectrally(layer: Equalized) -> None:
    """Divide the layer's weight by its top singular value (Miyato et al., "Spectral Normalization", ICLR 2018).

    The scale at run time becomes a constant that keeps signals at unit scale, as He's does: the top singular value of
    a Gaussian matrix (out × fan_in) is 1 + √(out / fan_in) times the root mean square of its rows. Divided by it and by
    nothing else, a dozen layers shrink signals, and the critic's slope, a thousandfold: a gradient penalty then rules
    alone, and bfloat16 rounds away what tells images apart. A constant leaves all layers equally conditioned.

    Weights stay N(0, 1) as with an equalized learning rate, so that a step of Adam changes them as slowly.
    """
    fan_in = layer.weight[0].numel()
    gain = layer.scale * math.sqrt(fan_in)
    spectral_norm(layer)
    layer.scale = gain * (1 + math.sqrt(len(layer.weight) / fan_in))


def _reset(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _he_scale(weight: Tensor, gain: float, equalized: bool) -> float:
    """The factor to apply at run time; where there is to be none, apply it to the weight now."""
    scale = gain / math.sqrt(weight[0].numel())
    if equalized:
        return scale
    with torch.no_grad():
        weight.mul_(scale)
    return 1.0


def at_least_float32(tensor: Tensor) -> torch.dtype:
    """The dtype in which sums over ``tensor`` are accumulated."""
    return torch.promote_types(tensor.dtype, torch.float32)
