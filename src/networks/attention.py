"""Self-attention over the positions of a feature map, without ever holding the matrix of all pairs of positions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from src.networks import attention_kernels
from src.networks.equalized import EqualizedConv2d, at_least_float32
from src.networks.kernels import available

BLOCK = {"cpu": 2**20, "cuda": 2**24}  # pairs of positions held at once: enough to keep the processor busy


class SelfAttention(nn.Module):
    """Features (B, C, H, W) → the same shape: ``x + γ·out(attention(x))`` with γ starting at 0.

    Zhang et al., "Self-Attention GAN", ICML 2019, section 3: 1×1 convolutions without bias to queries and keys of C/8
    channels and values of C/2; keys and values are max-pooled, scores are not divided by √d, and a 1×1 convolution
    returns to C channels. C must be a multiple of 8.

    Args:
        channels: C.
        equalized: scale the weights at run time.
        pool: side of the pooling, 2 in the paper, whose 64×64 features have 32×32 keys. Time goes with the pairs of
            positions, so 4 costs a quarter.

    A penalty on gradients differentiates twice, which the fused kernels cannot: see
    :func:`src.networks.second_derivative.differentiable_twice`.
    """

    def __init__(self, channels: int, equalized: bool = True, pool: int = 2) -> None:
        super().__init__()
        self.pool = pool

        def conv(fan_in: int, fan_out: int) -> EqualizedConv2d:
            return EqualizedConv2d(fan_in, fan_out, 1, gain=1.0, equalized=equalized, bias=False)

        self.query = conv(channels, channels // 8)
        self.key = conv(channels, channels // 8)
        self.value = conv(channels, channels // 2)
        self.out = conv(channels // 2, channels)
        self.gamma = nn.Parameter(torch.zeros(()))
        self.twice = False  # whether the next forward will be differentiated twice

    def forward(self, features: Tensor) -> Tensor:
        # One convolution in place of three: the features are read, and their gradient is summed, once.
        layers = (self.query, self.key, self.value)
        projected = self.query.convolve(features, torch.cat([layer.scaled_weight() for layer in layers]))
        projected = projected.contiguous(memory_format=torch.channels_last)  # so that what follows are views
        query, rest = projected.split([self.query.out_channels, self.key.out_channels + self.value.out_channels], 1)
        key, value = F.max_pool2d(rest, self.pool).split([self.key.out_channels, self.value.out_channels], 1)
        in_blocks = _TwiceDifferentiable.apply if self.twice else _attend
        attend = _KernelAttention.apply if available(query) else in_blocks
        attended = attend(_positions(query), _positions(key), _positions(value))
        attended = attended.transpose(1, 2).unflatten(2, features.shape[2:])
        # γ multiplies the weight, not the features: nothing of their size is kept for its gradient.
        return features + self.out.convolve(attended, self.gamma * self.out.scaled_weight())


def _positions(features: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H·W, C); channels must lie side by side, without which the fused kernels are not chosen."""
    return features.flatten(2).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q·kᵀ)·v of queries (B, N, d), keys (B, M, d) and values (B, M, e): (B, N, e)."""
    # Zeros leave the scores as they are, and the fused kernels want queries as wide as values.
    padding = (0, value.shape[2] - query.shape[2])
    # They also want rows that begin at multiples of 16 bytes, which those of a view among other channels do not.
    wide = (F.pad(query, padding), F.pad(key, padding), value.contiguous())
    q, k, v = (tensor.unsqueeze(1) for tensor in wide)
    return F.scaled_dot_product_attention(q, k, v, scale=1.0).squeeze(1)


class _KernelAttention(torch.autograd.Function):
    """:func:`_attend` on a GPU, whose gradient can be differentiated once more."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output, sums = attention_kernels.attend(query, key, value)
        ctx.save_for_backward(query, key, value, output, sums)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _KernelGradient.apply(*ctx.saved_tensors, grad)


class _KernelGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Any:
        ctx.save_for_backward(*tensors)
        return attention_kernels.gradient(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *toward: Tensor) -> Any:
        *found, d_grad = attention_kernels.second_derivative(*ctx.saved_tensors, *toward)
        return *found, None, None, d_grad  # what depends on the output and the sums is in the others


class _TwiceDifferentiable(torch.autograd.Function):
    """:func:`_attend`, whose gradient can be differentiated once more."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with torch.enable_grad():
            leaves = tuple(tensor.detach().requires_grad_() for tensor in (query, key, value))
            output = _attend(*leaves)
        ctx.save_for_backward(query, key, value)
        ctx.graph = output, leaves
        return output.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _Gradient.apply(*ctx.saved_tensors, grad, ctx.graph)


class _Gradient(torch.autograd.Function):
    """(q, k, v, gradient of the output) → gradients of (q, k, v), by the fused kernel; its own gradient by blocks."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, grad: Tensor, graph: Any) -> Any:
        output, leaves = graph
        ctx.save_for_backward(query, key, value, grad, output.detach())
        return torch.autograd.grad(output, leaves, grad, retain_graph=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        tensors = (*ctx.saved_tensors, *grads)
        query, key = tensors[:2]
        positions, pooled = query.shape[1], key.shape[1]
        block = BLOCK.get(query.device.type, BLOCK["cuda"])
        images = min(len(query), max(1, block // (positions * pooled)))
        rows = max(1, block // (images * pooled))
        found = [torch.empty_like(tensor) for tensor in tensors[:4]]
        batches, places = (zip(*(t.split(images) for t in group), strict=True) for group in (tensors, found))
        with torch.autocast(query.device.type, enabled=False):
            for batch, place in zip(batches, places, strict=True):
                for tensor, part in zip(place, _second_derivative(rows, *batch), strict=True):
                    tensor.copy_(part)
        return *found, None


def _second_derivative(
    rows: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    grad: Tensor,
    output: Tensor,
    to_query: Tensor,
    to_key: Tensor,
    to_value: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of Φ = ⟨to_query, dq⟩ + ⟨to_key, dk⟩ + ⟨to_value, dv⟩ for (query, key, value, grad).

    With P = softmax(q·kᵀ), dP = grad·vᵀ and dS = P∘(dP − ⟨P, dP⟩), a bracket being a row's sum, the first derivatives
    are dq = dS·k, dk = dSᵀ·q, dv = Pᵀ·grad. So Φ = ⟨dS, T⟩ + ⟨P, U⟩ with T = to_query·kᵀ + q·to_keyᵀ and
    U = grad·to_valueᵀ, and what follows are the derivatives of that, ``rows`` queries at a time.

    Passes over all pairs are what it costs, so a row's sum is taken from products that are needed anyway, as
    ⟨P, dP⟩ = ⟨grad, output⟩, and subtracted within a product, see :func:`_centred`.
    """
    dtype, sums = query.dtype, at_least_float32(query)
    queries, grads = [], []
    d_key, d_value = (torch.zeros_like(t.transpose(1, 2), dtype=sums) for t in (key, value))  # channels × positions
    wide_key = key.to(sums).transpose(1, 2)
    keys, all_keys = torch.cat([key, to_key], 2), torch.cat([key, to_key, to_value], 2)
    d = key.shape[2]
    for q, g, o, to_q in zip(*(t.split(rows, 1) for t in (query, grad, output, to_query)), strict=True):
        weights = (q.to(sums) @ wide_key).softmax(2).to(dtype)
        toward_queries = torch.cat([to_q, q], 2)
        averages = weights @ all_keys
        d_weights = _centred(g, value, _row_sums(g, o))
        toward = _centred(toward_queries, keys, _row_sums(toward_queries, averages[..., : 2 * d]))
        inner = d_weights * weights  # dS
        carried = inner @ keys
        # A constant in a row of Φ's derivative for P does not pass the softmax, hence the centred factors.
        constant = _row_sums(g, averages[..., 2 * d :]) + _row_sums(toward_queries, carried)
        d_scores = _centred(g, to_value, constant).addcmul_(d_weights, toward).mul_(weights)
        outer = toward.mul_(weights)
        queries.append(d_scores @ key + carried[..., d:])
        grads.append(averages[..., 2 * d :] + outer @ value)
        # Of the two factors the small one is turned: a product with the other turned would copy all pairs first.
        d_key += q.transpose(1, 2) @ d_scores + to_q.transpose(1, 2) @ inner
        d_value += g.transpose(1, 2) @ outer
    d_key, d_value = (t.transpose(1, 2).to(dtype) for t in (d_key, d_value))
    return torch.cat(queries, 1), d_key, d_value, torch.cat(grads, 1)


def _row_sums(left: Tensor, right: Tensor) -> Tensor:
    """Of left ∘ right, in float32 or wider: (B, rows, 1)."""
    sums = at_least_float32(left)
    return (left.to(sums) * right.to(sums)).sum(2, keepdim=True)


def _centred(left: Tensor, right: Tensor, constant: Tensor) -> Tensor:
    """left·rightᵀ − constant in one product: the constant is a further column, or two where the dtype is short."""
    high = constant.to(left.dtype)
    low = (constant - high).to(left.dtype)
    ones = right.new_ones(()).expand(*right.shape[:2], 2)
    return torch.cat([left, -high, -low], 2) @ torch.cat([right, ones], 2).transpose(1, 2)
