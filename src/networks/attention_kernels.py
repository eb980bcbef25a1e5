"""Attention softmax(q·kᵀ)·v on a GPU with its first and second derivatives, none of which holds the pairs of positions.

Triton kernels in the manner of Dao et al., "FlashAttention", NeurIPS 2022: a program holds some queries and goes over
all keys, or holds some keys and goes over all queries, and computes what it needs of the pairs anew. Queries and keys
may have any number of channels, values another. Products are summed in float32, in a fixed order, so results repeat.

Queries are (B, N, d), keys (B, M, d), values (B, M, e), all of one dtype; scores are not divided by √d.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from src.networks.kernels import tl, triton

SMALLEST = 16  # side of a matrix that tensor cores multiply
# Queries and keys held at once, warps of a program, stages of its loads: the best of ten on an H200.
SHAPES = {
    "forward": (64, 64, 4, 2),
    "gradient_rows": (128, 64, 8, 3),
    "gradient_columns": (32, 64, 4, 2),
    "second_rows": (64, 32, 4, 3),
    "second_columns": (64, 64, 4, 2),
}


def attend(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, e), and log₂ of every row's sum of exponentials (B, N), float32, which the derivatives need."""
    query, key, value = (tensor.contiguous() for tensor in (query, key, value))
    output, sums = query.new_empty(*query.shape[:2], value.shape[2]), _numbers(query)
    _launch("forward", _forward, query, value, query, key, value, output, sums)
    return output, sums


def gradient(
    query: Tensor, key: Tensor, value: Tensor, output: Tensor, sums: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for (query, key, value) of what :func:`attend` gave, from ``grad`` (B, N, e)."""
    query, key, value, grad = _alike(query, key, value, grad)
    d_query, d_key, d_value = (torch.empty_like(tensor) for tensor in (query, key, value))
    inner = _numbers(query)
    _launch("gradient_rows", _gradient_rows, query, value, query, key, value, output, grad, sums, inner, d_query)
    _launch("gradient_columns", _gradient_columns, query, value, query, key, value, grad, sums, inner, d_key, d_value)
    return d_query, d_key, d_value


def second_derivative(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    sums: Tensor,
    grad: Tensor,
    to_query: Tensor,
    to_key: Tensor,
    to_value: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for (query, key, value, grad) of Φ = ⟨to_query, dq⟩ + ⟨to_key, dk⟩ + ⟨to_value, dv⟩.

    dq, dk and dv are what :func:`gradient` gives. As derived in ``src.networks.attention._second_derivative``: with P
    the weights, dS = P∘(dP − ⟨P, dP⟩), T = to_query·kᵀ + q·to_keyᵀ and U = grad·to_valueᵀ, Φ = ⟨dS, T⟩ + ⟨P, U⟩.
    """
    query, key, value, grad, to_query, to_key, to_value = _alike(query, key, value, grad, to_query, to_key, to_value)
    d_query, d_key, d_value, d_grad = (torch.empty_like(tensor) for tensor in (query, key, value, grad))
    inner, average, constant = (_numbers(query) for _ in range(3))
    _launch(
        "second_rows", _second_rows, query, value, query, key, value, grad, output, to_query, to_key, to_value, sums,
        inner, average, constant, d_query, d_grad,
    )  # fmt: skip
    _launch(
        "second_columns", _second_columns, query, value, query, key, value, grad, to_query, to_key, to_value, sums,
        inner, average, constant, d_key, d_value,
    )  # fmt: skip
    return d_query, d_key, d_value, d_grad


def _alike(query: Tensor, *others: Tensor) -> list[Tensor]:
    return [tensor.to(query.dtype).contiguous() for tensor in (query, *others)]


def _numbers(query: Tensor) -> Tensor:
    """Room for a number by query."""
    return query.new_empty(query.shape[:2], dtype=torch.float32)


def _launch(name: str, kernel: Any, query: Tensor, value: Tensor, *tensors: Tensor) -> None:
    """Run ``kernel``: a program for some queries of an image, or for some keys where its name ends in columns."""
    queries, keys, warps, stages = SHAPES[name]
    batch, positions, narrow = query.shape
    pooled, wide = value.shape[1:]
    programs = triton.cdiv(pooled, keys) if name.endswith("columns") else triton.cdiv(positions, queries)
    padded = [max(SMALLEST, triton.next_power_of_2(channels)) for channels in (narrow, wide)]
    full = not (positions % queries or pooled % keys) and padded == [narrow, wide]
    kernel[(programs, batch)](
        *tensors, positions, pooled, narrow, wide, *padded, queries, keys,
        "ieee" if query.dtype == torch.float32 else "tf32", full, num_warps=warps, num_stages=stages,
    )  # fmt: skip


if triton is not None:
    # N, M, d, e are the sizes; D and E the channels rounded up to what can be multiplied, R and S how many queries and
    # keys are held at once. What lies outside is loaded as zero, given no weight, and not stored; where FULL, nothing
    # does. Exponentials are powers of 2, which is what a GPU computes.
    LOG2_E: tl.constexpr = tl.constexpr(math.log2(math.e))

    @triton.jit
    def _load(base, positions, count, channels, width, FULL: tl.constexpr):
        """(positions × channels)"""
        at = positions[:, None] * width + channels[None, :]
        if FULL:
            values = tl.load(base + at)
        else:
            values = tl.load(base + at, (positions < count)[:, None] & (channels < width)[None, :], other=0.0)
        return values

    @triton.jit
    def _load_turned(base, positions, count, channels, width, FULL: tl.constexpr):
        """(channels × positions)"""
        at = positions[None, :] * width + channels[:, None]
        if FULL:
            values = tl.load(base + at)
        else:
            values = tl.load(base + at, (positions < count)[None, :] & (channels < width)[:, None], other=0.0)
        return values

    @triton.jit
    def _store(base, values, positions, count, channels, width):
        at = positions[:, None] * width + channels[None, :]
        inside = (positions < count)[:, None] & (channels < width)[None, :]
        tl.store(base + at, values.to(base.dtype.element_ty), inside)

    @triton.jit
    def _forward(
        q, k, v, o, sums, N, M, d, e, D: tl.constexpr, E: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
        PRECISION: tl.constexpr, FULL: tl.constexpr,
    ):  # fmt: skip
        image = tl.program_id(1).to(tl.int64)
        q += image * N * d
        k += image * M * d
        v += image * M * e
        o += image * N * e
        rows, narrow, wide = tl.program_id(0) * R + tl.arange(0, R), tl.arange(0, D), tl.arange(0, E)
        queries = _load(q, rows, N, narrow, d, FULL)
        largest = tl.full((R,), -float("inf"), tl.float32)
        total = tl.zeros((R,), tl.float32)
        output = tl.zeros((R, E), tl.float32)
        for start in range(0, M, S):
            columns = start + tl.arange(0, S)
            scores = tl.dot(queries, _load_turned(k, columns, M, narrow, d, FULL), input_precision=PRECISION) * LOG2_E
            if not FULL:
                scores = tl.where((columns < M)[None, :], scores, -float("inf"))
            larger = tl.maximum(largest, tl.max(scores, 1))
            rescale = tl.exp2(largest - larger)
            weights = tl.exp2(scores - larger[:, None])
            values = _load(v, columns, M, wide, e, FULL)
            output = output * rescale[:, None] + tl.dot(weights.to(values.dtype), values, input_precision=PRECISION)
            total = total * rescale + tl.sum(weights, 1)
            largest = larger
        _store(o, output / total[:, None], rows, N, wide, e)
        tl.store(sums + image * N + rows, largest + tl.log2(total), rows < N)

    @triton.jit
    def _gradient_rows(
        q, k, v, o, g, sums, inner, d_q, N, M, d, e, D: tl.constexpr, E: tl.constexpr, R: tl.constexpr,
        S: tl.constexpr, PRECISION: tl.constexpr, FULL: tl.constexpr,
    ):  # fmt: skip
        """d_q = dS·k; ⟨P, dP⟩ of every row, which is ⟨grad, output⟩, into ``inner``."""
        image = tl.program_id(1).to(tl.int64)
        q += image * N * d
        k += image * M * d
        v += image * M * e
        o += image * N * e
        g += image * N * e
        rows, narrow, wide = tl.program_id(0) * R + tl.arange(0, R), tl.arange(0, D), tl.arange(0, E)
        queries, grads = _load(q, rows, N, narrow, d, FULL), _load(g, rows, N, wide, e, FULL)
        products = tl.sum(grads.to(tl.float32) * _load(o, rows, N, wide, e, FULL).to(tl.float32), 1)
        tl.store(inner + image * N + rows, products, rows < N)
        logs = tl.load(sums + image * N + rows, rows < N, other=0.0)
        total = tl.zeros((R, D), tl.float32)
        for start in range(0, M, S):
            columns = start + tl.arange(0, S)
            keys = _load_turned(k, columns, M, narrow, d, FULL)
            weights = tl.exp2(tl.dot(queries, keys, input_precision=PRECISION) * LOG2_E - logs[:, None])
            if not FULL:
                weights = tl.where((columns < M)[None, :], weights, 0.0)
            toward = (
                tl.dot(grads, _load_turned(v, columns, M, wide, e, FULL), input_precision=PRECISION) - products[:, None]
            )
            total += tl.dot((weights * toward).to(keys.dtype), tl.trans(keys), input_precision=PRECISION)
        _store(d_q + image * N * d, total, rows, N, narrow, d)

    @triton.jit
    def _gradient_columns(
        q, k, v, g, sums, inner, d_k, d_v, N, M, d, e, D: tl.constexpr, E: tl.constexpr, R: tl.constexpr,
        S: tl.constexpr, PRECISION: tl.constexpr, FULL: tl.constexpr,
    ):  # fmt: skip
        """d_k = dSᵀ·q and d_v = Pᵀ·grad."""
        image = tl.program_id(1).to(tl.int64)
        q += image * N * d
        g += image * N * e
        columns, narrow, wide = tl.program_id(0) * S + tl.arange(0, S), tl.arange(0, D), tl.arange(0, E)
        keys = _load(k + image * M * d, columns, M, narrow, d, FULL)
        values = _load(v + image * M * e, columns, M, wide, e, FULL)
        to_keys, to_values = tl.zeros((S, D), tl.float32), tl.zeros((S, E), tl.float32)
        for start in range(0, N, R):
            rows = start + tl.arange(0, R)
            queries, grads = _load_turned(q, rows, N, narrow, d, FULL), _load_turned(g, rows, N, wide, e, FULL)
            logs = tl.load(sums + image * N + rows, rows < N, other=0.0)
            products = tl.load(inner + image * N + rows, rows < N, other=0.0)
            weights = tl.exp2(tl.dot(keys, queries, input_precision=PRECISION) * LOG2_E - logs[None, :])
            if not FULL:
                weights = tl.where((rows < N)[None, :], weights, 0.0)
            toward = weights * (tl.dot(values, grads, input_precision=PRECISION) - products[None, :])
            to_keys += tl.dot(toward.to(keys.dtype), tl.trans(queries), input_precision=PRECISION)
            to_values += tl.dot(weights.to(keys.dtype), tl.trans(grads), input_precision=PRECISION)
        _store(d_k + image * M * d, to_keys, columns, M, narrow, d)
        _store(d_v + image * M * e, to_values, columns, M, wide, e)

    @triton.jit
    def _second_rows(
        q, k, v, g, o, to_q, to_k, to_v, sums, inner, average, constant, d_q, d_g, N, M, d, e, D: tl.constexpr,
        E: tl.constexpr, R: tl.constexpr, S: tl.constexpr, PRECISION: tl.constexpr, FULL: tl.constexpr,
    ):  # fmt: skip
        """Gradients for queries and grad; by row ⟨P, dP⟩, ⟨P, T⟩ and the constant of Φ's derivative for the scores."""
        image = tl.program_id(1).to(tl.int64)
        k += image * M * d
        to_k += image * M * d
        v += image * M * e
        to_v += image * M * e
        rows, narrow, wide = tl.program_id(0) * R + tl.arange(0, R), tl.arange(0, D), tl.arange(0, E)
        queries, grads = (
            _load(q + image * N * d, rows, N, narrow, d, FULL),
            _load(g + image * N * e, rows, N, wide, e, FULL),
        )
        to_queries = _load(to_q + image * N * d, rows, N, narrow, d, FULL)
        outputs = _load(o + image * N * e, rows, N, wide, e, FULL).to(tl.float32)
        products = tl.sum(grads.to(tl.float32) * outputs, 1)
        logs = tl.load(sums + image * N + rows, rows < N, other=0.0)
        # Averages over the keys by weight: of keys, their counterparts and those of the values; the same by dS.
        mean_k, mean_to_k = tl.zeros((R, D), tl.float32), tl.zeros((R, D), tl.float32)
        mean_to_v = tl.zeros((R, E), tl.float32)
        carried_k, carried_to_k = tl.zeros((R, D), tl.float32), tl.zeros((R, D), tl.float32)
        outer_k, outer_v = tl.zeros((R, D), tl.float32), tl.zeros((R, E), tl.float32)
        for start in range(0, M, S):
            columns = start + tl.arange(0, S)
            keys, to_keys = (
                _load_turned(k, columns, M, narrow, d, FULL),
                _load_turned(to_k, columns, M, narrow, d, FULL),
            )
            values, to_values = (
                _load_turned(v, columns, M, wide, e, FULL),
                _load_turned(to_v, columns, M, wide, e, FULL),
            )
            weights = tl.exp2(tl.dot(queries, keys, input_precision=PRECISION) * LOG2_E - logs[:, None])
            if not FULL:
                weights = tl.where((columns < M)[None, :], weights, 0.0)
            scores = weights * (tl.dot(grads, values, input_precision=PRECISION) - products[:, None])  # dS
            turned = tl.dot(to_queries, keys, input_precision=PRECISION)  # T
            turned += tl.dot(queries, to_keys, input_precision=PRECISION)
            both = weights * tl.dot(grads, to_values, input_precision=PRECISION) + scores * turned
            low_weights, low_scores = weights.to(keys.dtype), scores.to(keys.dtype)
            mean_k += tl.dot(low_weights, tl.trans(keys), input_precision=PRECISION)
            mean_to_k += tl.dot(low_weights, tl.trans(to_keys), input_precision=PRECISION)
            mean_to_v += tl.dot(low_weights, tl.trans(to_values), input_precision=PRECISION)
            carried_k += tl.dot(low_scores, tl.trans(keys), input_precision=PRECISION)
            carried_to_k += tl.dot(low_scores, tl.trans(to_keys), input_precision=PRECISION)
            outer_k += tl.dot(both.to(keys.dtype), tl.trans(keys), input_precision=PRECISION)
            outer_v += tl.dot((weights * turned).to(keys.dtype), tl.trans(values), input_precision=PRECISION)
        wide_q, wide_to_q = queries.to(tl.float32), to_queries.to(tl.float32)
        mean = tl.sum(wide_to_q * mean_k, 1) + tl.sum(wide_q * mean_to_k, 1)
        rest = tl.sum(grads.to(tl.float32) * mean_to_v, 1)
        rest += tl.sum(wide_to_q * carried_k, 1) + tl.sum(wide_q * carried_to_k, 1)
        to_query = outer_k - rest[:, None] * mean_k - mean[:, None] * carried_k + carried_to_k
        _store(d_q + image * N * d, to_query, rows, N, narrow, d)
        _store(d_g + image * N * e, mean_to_v + outer_v - mean[:, None] * outputs, rows, N, wide, e)
        at = image * N + rows
        tl.store(inner + at, products, rows < N)
        tl.store(average + at, mean, rows < N)
        tl.store(constant + at, rest, rows < N)

    @triton.jit
    def _second_columns(
        q, k, v, g, to_q, to_k, to_v, sums, inner, average, constant, d_k, d_v, N, M, d, e, D: tl.constexpr,
        E: tl.constexpr, R: tl.constexpr, S: tl.constexpr, PRECISION: tl.constexpr, FULL: tl.constexpr,
    ):  # fmt: skip
        """Gradients for keys and values, everything turned: (keys × queries)."""
        image = tl.program_id(1).to(tl.int64)
        q += image * N * d
        to_q += image * N * d
        g += image * N * e
        columns, narrow, wide = tl.program_id(0) * S + tl.arange(0, S), tl.arange(0, D), tl.arange(0, E)
        keys = _load(k + image * M * d, columns, M, narrow, d, FULL)
        to_keys = _load(to_k + image * M * d, columns, M, narrow, d, FULL)
        values = _load(v + image * M * e, columns, M, wide, e, FULL)
        to_values = _load(to_v + image * M * e, columns, M, wide, e, FULL)
        for_keys, for_values = tl.zeros((S, D), tl.float32), tl.zeros((S, E), tl.float32)
        for start in range(0, N, R):
            rows = start + tl.arange(0, R)
            queries, to_queries = (
                _load_turned(q, rows, N, narrow, d, FULL),
                _load_turned(to_q, rows, N, narrow, d, FULL),
            )
            grads = _load_turned(g, rows, N, wide, e, FULL)
            at = image * N + rows
            logs, products = tl.load(sums + at, rows < N, other=0.0), tl.load(inner + at, rows < N, other=0.0)
            mean, rest = tl.load(average + at, rows < N, other=0.0), tl.load(constant + at, rows < N, other=0.0)
            weights = tl.exp2(tl.dot(keys, queries, input_precision=PRECISION) * LOG2_E - logs[None, :])
            if not FULL:
                weights = tl.where((rows < N)[None, :], weights, 0.0)
            centred = tl.dot(values, grads, input_precision=PRECISION) - products[None, :]
            turned = tl.dot(keys, to_queries, input_precision=PRECISION)
            turned += tl.dot(to_keys, queries, input_precision=PRECISION) - mean[None, :]
            both = tl.dot(to_values, grads, input_precision=PRECISION) - rest[None, :] + centred * turned
            for_keys += tl.dot((weights * both).to(keys.dtype), tl.trans(queries), input_precision=PRECISION)
            for_keys += tl.dot((weights * centred).to(keys.dtype), tl.trans(to_queries), input_precision=PRECISION)
            for_values += tl.dot((weights * turned).to(keys.dtype), tl.trans(grads), input_precision=PRECISION)
        _store(d_k + image * M * d, for_keys, columns, M, narrow, d)
        _store(d_v + image * M * e, for_values, columns, M, wide, e)
