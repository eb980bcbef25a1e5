"""Weights times He's constants in the dtype of autocast, those of all layers in one pass, on a GPU; biases likewise.

There two small launches a layer, for the product and the cast, take a tenth of a step at 32 px.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from src.networks.equalized import Equalized


@contextmanager
def scaled_at_once(modules: Iterable[nn.Module], input: Tensor) -> Iterator[None]:
    """A forward of ``input`` within finds the products of all equalized layers of ``modules`` ready, in its dtype."""
    device = input.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else input.dtype
    layers = [layer for module in modules for layer in module.modules() if isinstance(layer, Equalized)]
    products = multiplied([layer.exact_weight() for layer in layers], [layer.scale for layer in layers], dtype)
    biases: dict[Equalized, Any] = {
        layer: layer.bias for layer in layers if layer.bias is not None and layer.bias_scale != 1
    }
    try:
        for layer, product in zip(layers, products, strict=True):
            layer.ready = product
        if biases:  # in float32, as biases that are not scaled
            factors = [layer.bias_scale for layer in biases]
            for layer, product in zip(biases, multiplied(list(biases.values()), factors, torch.float32), strict=True):
                layer.ready_bias = product
        yield
    finally:
        for layer in layers:
            layer.ready = layer.ready_bias = None


def multiplied(tensors: Sequence[Tensor], factors: Sequence[float], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Each tensor times its factor, multiplied in float32 and rounded once to ``dtype``; can be differentiated."""
    return _Multiplied.apply(list(factors), dtype, *tensors)


class _Multiplied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, factors: list[float], dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.factors, ctx.dtype = factors, tensors[0].dtype
        wide = torch.promote_types(torch.promote_types(tensors[0].dtype, dtype), torch.float32)
        products = torch._foreach_mul(_cast(tensors, wide), factors)
        return tuple(_cast(products, dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        there = [grad for grad in grads if grad is not None]
        if not there:
            return None, None, *grads
        factors = [factor for factor, grad in zip(ctx.factors, grads, strict=True) if grad is not None]
        found = iter(multiplied(there, factors, ctx.dtype))
        return None, None, *(None if grad is None else next(found) for grad in grads)


def _cast(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    if all(tensor.dtype == dtype for tensor in tensors):
        return list(tensors)
    found = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    torch._foreach_copy_(found, list(tensors))
    return found
