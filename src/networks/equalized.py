"""Layers and blocks of progressive growing (Karras et al., "Progressive Growing of GANs", ICLR 2018).

Sections are that paper's; the layers of a block are its table 2.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from src.networks import fused
from src.networks.fused import LEAKY_SLOPE, PIXEL_NORM_EPSILON
from src.networks.second_derivative import conv2d_twice
from src.networks.upsampling import upsampling_kernel

MINIBATCH_STD_EPSILON = 1e-8  # on the variance
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


class GeneratorStart(nn.Module):
    """Latents (B, latent_dim), normalised to the unit hypersphere → features (B, out, *shape)."""

    def __init__(self, latent_dim: int, fan_out: int, shape: tuple[int, int], pixel_norm: bool) -> None:
        super().__init__()
        self.shape = shape
        # The authors' code has √2/4 here, whose scale pixel norm undoes: it slows this layer down. Without pixel norm
        # nothing would undo it, and all features would start four times too small.
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
    if not fused.available(input):
        features = leaky_relu(layer(input))
        return features if norm is None else norm(features)
    act = fused.bias_leaky_relu_pixel_norm if isinstance(norm, PixelNorm) else fused.bias_leaky_relu
    return act(layer.without_bias(input), cast(Tensor, layer.scaled_bias()))


def activated_and_pooled(layer: EqualizedConv2d, input: Tensor) -> Tensor:
    """LeakyReLU(layer(input)), averaged over 2×2 positions."""
    if not fused.available(input):
        return F.avg_pool2d(leaky_relu(layer(input)), 2)
    return fused.bias_leaky_relu_pool(layer.without_bias(input), cast(Tensor, layer.scaled_bias()))


class DiscriminatorBlock(nn.Module):
    """Features (B, in, H, W) → (B, out, H/2, W/2)."""

    def __init__(self, fan_in: int, fan_out: int, equalized: bool) -> None:
        super().__init__()
        self.conv = EqualizedConv2d(fan_in, fan_in, 3, padding=1, equalized=equalized)
        self.down = EqualizedConv2d(fan_in, fan_out, 3, padding=1, equalized=equalized)

    def forward(self, features: Tensor) -> Tensor:
        # The LeakyReLU stands between convolution and pooling (table 2): unlike the generator's, they cannot be fused.
        return activated_and_pooled(self.down, activated(self.conv, features))


class DiscriminatorHead(nn.Module):
    """Features (B, in, *shape) → one logit each (B,)."""

    def __init__(
        self, fan_in: int, hidden: int, shape: tuple[int, int], equalized: bool, minibatch_std_group: int
    ) -> None:
        super().__init__()
        grouped = minibatch_std_group > 1
        self.minibatch_std = MinibatchStd(minibatch_std_group) if grouped else nn.Identity()
        self.conv = EqualizedConv2d(fan_in + grouped, fan_in, 3, padding=1, equalized=equalized)
        self.whole = EqualizedConv2d(fan_in, hidden, shape, equalized=equalized)
        self.classify = EqualizedLinear(hidden, 1, gain=1.0, equalized=equalized)

    def forward(self, features: Tensor) -> Tensor:
        features = activated(self.conv, self.minibatch_std(features))
        return self.classify(activated(self.whole, features).flatten(1)).squeeze(1)
