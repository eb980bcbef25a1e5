"""Convolutions whose input gradient can be differentiated again at the price of an ordinary backward pass.

PyTorch differentiates a convolution's gradient by convolutions with batch and channels exchanged, whose kernels are as
large as the images: on a CPU that takes several times as long as the weight-gradient kernel that computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@contextmanager
def differentiable_twice(module: nn.Module) -> Iterator[None]:
    """Forwards within may be differentiated twice, as a penalty on gradients does.

    It tells the layers that prepare for that (those with an attribute ``twice``): attention, whose fused kernels
    allow one derivative only, and convolutions, where it is a matter of speed. Exact either way.
    """
    layers: list[Any] = [layer for layer in module.modules() if hasattr(layer, "twice")]
    before = [layer.twice for layer in layers]
    for layer in layers:
        layer.twice = True
    try:
        yield
    finally:
        for layer, twice in zip(layers, before, strict=True):
            layer.twice = twice


_inputs_only = False


@contextmanager
def inputs_only() -> Iterator[None]:
    """Backward passes within want no gradient of any parameter, and ``conv2d_twice`` computes none.

    What ``torch.autograd.grad`` is asked for never reaches a function's backward pass.
    """
    global _inputs_only
    _inputs_only = True
    try:
        yield
    finally:
        _inputs_only = False


def wants_inputs_only() -> bool:
    """Whether a backward pass runs within :func:`inputs_only`."""
    return _inputs_only


def conv2d_twice(input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any) -> Tensor:
    """``F.conv2d`` of stride 1, autocast included, whose gradient for ``input`` is cheap to differentiate.

    The gradients for weight and bias cannot be differentiated again: that is an error of torch, never a wrong value.
    """
    device = input.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        input, weight, bias = input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    with torch.autocast(device, enabled=False):
        return _Convolution.apply(input, weight, bias, padding)


def _gradients(grad: Tensor, input: Tensor, weight: Tensor, padding: Any, mask: list[bool]) -> Any:
    """Gradients of a convolution for (input, weight, bias), those of ``mask``."""
    return torch.ops.aten.convolution_backward(
        grad, input, weight, [weight.shape[0]], [1, 1], padding, [1, 1], False, [0, 0], 1, mask
    )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.padding = padding
        return F.conv2d(input, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        to_input, *to_parameters, _ = ctx.needs_input_grad
        input, weight = ctx.saved_tensors
        d_input = _InputGradient.apply(grad, input, weight, ctx.padding) if to_input else None
        d_weight = d_bias = None
        if any(to_parameters) and not _inputs_only:
            d_weight, d_bias = _ParameterGradients.apply(grad, input, weight, ctx.padding, [False, *to_parameters])
        return d_input, d_weight, d_bias, None


class _InputGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, input: Tensor, weight: Tensor, padding: Any) -> Tensor:
        ctx.save_for_backward(grad, weight)
        ctx.padding = padding
        return _gradients(grad, input, weight, padding, [True, False, False])[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, toward: Tensor) -> Any:
        # ⟨toward, d_input⟩ = ⟨conv(toward, weight), grad⟩: so the derivatives are those of a convolution of ``toward``.
        grad, weight = ctx.saved_tensors
        d_grad = F.conv2d(toward, weight, padding=ctx.padding)
        d_weight = _gradients(grad, toward, weight, ctx.padding, [False, True, False])[1]
        return d_grad, None, d_weight, None


class _ParameterGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, input: Tensor, weight: Tensor, padding: Any, mask: list[bool]) -> Any:
        return _gradients(grad, input, weight, padding, mask)[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *toward: Tensor) -> Any:
        raise RuntimeError("only the gradient for the input of this convolution can be differentiated again")
