"""What follows a convolution in one pass over its output, on a GPU: bias and LeakyReLU, then pooling or pixel norm.

There the passes over feature maps take longer than the convolutions: a kernel each reads and writes them as a whole.
These are Triton's, which torch brings along for GPUs of NVIDIA and AMD; elsewhere the layers compute the same with
what PyTorch has (``src.networks.progressive_blocks``). Sums are taken in float32 and in a fixed order: results repeat.

All feature maps are (B, C, H, W) with channels last in memory, and a *row* is the C numbers of a position.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from src.networks.kernels import tl, triton
from src.networks.second_derivative import wants_inputs_only

LEAKY_SLOPE = 0.2
PIXEL_NORM_EPSILON = 1e-8  # on the mean square
TILE = 4096  # numbers that a program holds at once
PROGRAMS = 528  # at most: four on each of the 132 processors of a large GPU


def bias_leaky_relu(features: Tensor, bias: Tensor) -> Tensor:
    """LeakyReLU(features + bias (C,)); can be differentiated twice."""
    return _BiasLeakyReLU.apply(features, bias)


def bias_leaky_relu_pool(features: Tensor, bias: Tensor) -> Tensor:
    """LeakyReLU(features + bias (C,)), averaged over 2×2 positions: (B, C, H/2, W/2); can be differentiated twice.

    H and W must be even.
    """
    return _BiasLeakyReLUPool.apply(features, bias)


def bias_leaky_relu_pixel_norm(features: Tensor, bias: Tensor) -> Tensor:
    """LeakyReLU(features + bias (C,)), each row divided by its root mean square; can be differentiated once."""
    return _BiasLeakyReLUPixelNorm.apply(features, bias)


if triton is not None:

    @triton.jit
    def _forward(
        x, bias, y, scales, rows, channels, C: tl.constexpr, R: tl.constexpr, NORM: tl.constexpr,
        SLOPE: tl.constexpr, EPSILON: tl.constexpr,
    ):  # fmt: skip
        """y = LeakyReLU(x + bias), divided by its root mean square where NORM, whose reciprocals are the scales."""
        c = tl.arange(0, C)
        b = tl.load(bias + c, c < channels, other=0.0).to(tl.float32)
        for start in range(tl.program_id(0) * R, rows, tl.num_programs(0) * R):
            r = start + tl.arange(0, R)
            inside = (r < rows)[:, None] & (c < channels)[None, :]
            at = r[:, None].to(tl.int64) * channels + c[None, :]
            v = tl.load(x + at, inside, other=0.0).to(tl.float32) + b[None, :]
            v = tl.where(v > 0, v, v * SLOPE)
            if NORM:
                s = tl.rsqrt(tl.sum(v * v, 1) / channels + EPSILON)
                v = v * s[:, None]
                tl.store(scales + r, s, r < rows)
            tl.store(y + at, v.to(y.dtype.element_ty), inside)

    @triton.jit
    def _backward(
        grad, y, scales, d_x, d_bias, rows, channels, C: tl.constexpr, R: tl.constexpr, NORM: tl.constexpr,
        BIAS: tl.constexpr, SLOPE: tl.constexpr,
    ):  # fmt: skip
        """d_x from the output y, whose sign is that of x + bias; of d_bias the sum over each program's rows."""
        c = tl.arange(0, C)
        total = tl.zeros((C,), tl.float32)
        for start in range(tl.program_id(0) * R, rows, tl.num_programs(0) * R):
            r = start + tl.arange(0, R)
            inside = (r < rows)[:, None] & (c < channels)[None, :]
            at = r[:, None].to(tl.int64) * channels + c[None, :]
            g = tl.load(grad + at, inside, other=0.0).to(tl.float32)
            v = tl.load(y + at, inside, other=0.0).to(tl.float32)
            if NORM:
                s = tl.load(scales + r, r < rows, other=0.0)
                g = s[:, None] * (g - v * (tl.sum(g * v, 1) / channels)[:, None])
            g = tl.where(v > 0, g, g * SLOPE)
            if BIAS:
                total += tl.sum(g, 0)
            tl.store(d_x + at, g.to(d_x.dtype.element_ty), inside)
        if BIAS:
            tl.store(d_bias + tl.program_id(0) * channels + c, total, c < channels)

    @triton.jit
    def _pool(
        x, bias, grad, out, rows, width, channels, C: tl.constexpr, R: tl.constexpr, GRAD: tl.constexpr,
        SLOPE: tl.constexpr,
    ):  # fmt: skip
        """out: the mean over 2×2 of LeakyReLU(x + bias); where GRAD, that of grad · LeakyReLU'(x + bias).

        ``rows`` and ``width`` are those of the pooled map.
        """
        c = tl.arange(0, C)
        b = tl.load(bias + c, c < channels, other=0.0).to(tl.float32)
        for start in range(tl.program_id(0) * R, rows, tl.num_programs(0) * R):
            r = start + tl.arange(0, R)
            inside = (r < rows)[:, None] & (c < channels)[None, :]
            first = (2 * (r // width)).to(tl.int64) * (2 * width) + 2 * (r % width)
            total = tl.zeros((R, C), tl.float32)
            for k in tl.static_range(4):
                at = (first + (k // 2) * (2 * width) + k % 2)[:, None] * channels + c[None, :]
                v = tl.load(x + at, inside, other=0.0).to(tl.float32) + b[None, :]
                t = tl.load(grad + at, inside, other=0.0).to(tl.float32) if GRAD else v
                total += tl.where(v > 0, t, t * SLOPE)
            to = r[:, None].to(tl.int64) * channels + c[None, :]
            tl.store(out + to, (total * 0.25).to(out.dtype.element_ty), inside)

    @triton.jit
    def _pool_backward(
        grad, x, bias, d_x, d_bias, rows, width, channels, C: tl.constexpr, R: tl.constexpr, BIAS: tl.constexpr,
        SLOPE: tl.constexpr,
    ):  # fmt: skip
        c = tl.arange(0, C)
        b = tl.load(bias + c, c < channels, other=0.0).to(tl.float32)
        total = tl.zeros((C,), tl.float32)
        for start in range(tl.program_id(0) * R, rows, tl.num_programs(0) * R):
            r = start + tl.arange(0, R)
            inside = (r < rows)[:, None] & (c < channels)[None, :]
            first = (2 * (r // width)).to(tl.int64) * (2 * width) + 2 * (r % width)
            g = tl.load(grad + r[:, None].to(tl.int64) * channels + c[None, :], inside, other=0.0).to(tl.float32)
            for k in tl.static_range(4):
                at = (first + (k // 2) * (2 * width) + k % 2)[:, None] * channels + c[None, :]
                v = tl.load(x + at, inside, other=0.0).to(tl.float32) + b[None, :]
                d = tl.where(v > 0, g, g * SLOPE) * 0.25
                if BIAS:
                    total += tl.sum(d, 0)
                tl.store(d_x + at, d.to(d_x.dtype.element_ty), inside)
        if BIAS:
            tl.store(d_bias + tl.program_id(0) * channels + c, total, c < channels)


def _channels_last(features: Tensor) -> Tensor:
    return features.contiguous(memory_format=torch.channels_last)


class _Launch:
    """How many rows a program takes at once, and how many programs there are."""

    def __init__(self, features: Tensor) -> None:
        batch, self.channels, height, width = features.shape
        self.rows = batch * height * width
        self.padded = triton.next_power_of_2(self.channels)
        self.tile = max(1, TILE // self.padded)
        self.programs = min(PROGRAMS, triton.cdiv(self.rows, self.tile))

    def partial_sums(self, features: Tensor, wanted: bool) -> Tensor:
        """Room for a sum by program and channel, which are added afterwards in always the same order."""
        return features.new_empty((self.programs if wanted else 1, self.channels), dtype=torch.float32)


def _gradient(grad: Tensor, output: Tensor, scales: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Gradients for features and bias, the latter where it is given; ``scales`` where there was a pixel norm."""
    grad = _channels_last(grad)
    launch, wanted = _Launch(output), bias is not None
    d_features, sums = torch.empty_like(output), launch.partial_sums(output, wanted)
    _backward[(launch.programs,)](
        grad, output, scales if scales is not None else output, d_features, sums, launch.rows, launch.channels,
        launch.padded, launch.tile, scales is not None, wanted, LEAKY_SLOPE,
    )  # fmt: skip
    return d_features, sums.sum(0).to(bias.dtype) if bias is not None else None


def _forward_pass(features: Tensor, bias: Tensor, norm: bool) -> tuple[Tensor, Tensor]:
    features = _channels_last(features)
    launch, output = _Launch(features), torch.empty_like(features)
    scales = features.new_empty(launch.rows if norm else 1, dtype=torch.float32)
    _forward[(launch.programs,)](
        features,
        bias,
        output,
        scales,
        launch.rows,
        launch.channels,
        launch.padded,
        launch.tile,
        norm,
        LEAKY_SLOPE,
        PIXEL_NORM_EPSILON,
    )
    return output, scales


def _wanted_bias(ctx: Any, bias: Tensor) -> Tensor | None:
    return bias if ctx.needs_input_grad[1] and not wants_inputs_only() else None


class _BiasLeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, bias: Tensor) -> Tensor:
        output, _ = _forward_pass(features, bias, norm=False)
        ctx.save_for_backward(output, bias)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        output, bias = ctx.saved_tensors
        wanted = _wanted_bias(ctx, bias)
        if not torch.is_grad_enabled():
            return _gradient(grad, output, None, wanted)
        d_features = _LeakyReLUGradient.apply(grad, output)
        return d_features, None if wanted is None else d_features.float().sum((0, 2, 3)).to(bias.dtype)


class _LeakyReLUGradient(torch.autograd.Function):
    """grad · LeakyReLU'(output): linear in ``grad``, whose own gradient is the same product."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, output: Tensor) -> Tensor:
        ctx.save_for_backward(output)
        return _gradient(grad, output, None, None)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, toward: Tensor) -> Any:
        return _gradient(toward, ctx.saved_tensors[0], None, None)[0], None


class _BiasLeakyReLUPixelNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, bias: Tensor) -> Tensor:
        output, scales = _forward_pass(features, bias, norm=True)
        ctx.save_for_backward(output, scales, bias)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        output, scales, bias = ctx.saved_tensors
        return _gradient(grad, output, scales, _wanted_bias(ctx, bias))


def _pooled(features: Tensor, bias: Tensor, grad: Tensor | None) -> Tensor:
    batch, channels, height, width = features.shape
    size = (batch, channels, height // 2, width // 2)
    output = torch.empty(size, dtype=features.dtype, device=features.device, memory_format=torch.channels_last)
    launch = _Launch(output)
    _pool[(launch.programs,)](
        features, bias, features if grad is None else _channels_last(grad), output, launch.rows, width // 2,
        launch.channels, launch.padded, max(1, launch.tile // 2), grad is not None, LEAKY_SLOPE,
    )  # fmt: skip
    return output


def _pool_gradient(grad: Tensor, features: Tensor, bias: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    grad = _channels_last(grad)
    launch = _Launch(grad)
    d_features, sums = torch.empty_like(features), launch.partial_sums(features, wanted)
    _pool_backward[(launch.programs,)](
        grad, features, bias, d_features, sums, launch.rows, grad.shape[3], launch.channels, launch.padded,
        max(1, launch.tile // 2), wanted, LEAKY_SLOPE,
    )  # fmt: skip
    return d_features, sums.sum(0).to(bias.dtype) if wanted else None


class _BiasLeakyReLUPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, bias: Tensor) -> Tensor:
        features = _channels_last(features)
        ctx.save_for_backward(features, bias)
        return _pooled(features, bias, None)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        features, bias = ctx.saved_tensors
        wanted = _wanted_bias(ctx, bias) is not None
        if not torch.is_grad_enabled():
            return _pool_gradient(grad, features, bias, wanted)
        d_features = _PoolGradient.apply(grad, features, bias)
        return d_features, d_features.float().sum((0, 2, 3)).to(bias.dtype) if wanted else None


class _PoolGradient(torch.autograd.Function):
    """Linear in ``grad``; what its own gradient is pooled from."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, features: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(features, bias)
        return _pool_gradient(grad, features, bias, wanted=False)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, toward: Tensor) -> Any:
        features, bias = ctx.saved_tensors
        return _pooled(features, bias, toward), None, None
