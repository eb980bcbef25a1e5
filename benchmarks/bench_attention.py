"""Memory and time of self-attention by number of positions: python -m benchmarks.bench_attention.

One image of 64 channels. *Trained* is a forward and a backward pass; *penalised* has a penalty on the gradient, which
differentiates twice. The matrix of pairs (queries × pooled keys, float32) is what neither may hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import machine
from src.networks.attention import SelfAttention
from src.networks.second_derivative import differentiable_twice

CHANNELS = 64  # of the features that enter PGGAN's block at 512 px
SIDES = (64, 128, 256)  # pixels


def peak_memory(run: Callable[[], object], device: str = "cpu") -> int:
    """The most bytes that ``run`` holds at once, beyond what is held before it."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        run()
    held = peak = 0
    assert trace.profiler is not None and trace.profiler.kineto_results is not None
    for event in trace.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def train(layer: SelfAttention, features: Tensor) -> None:
    layer(features).square().sum().backward()


def penalise(layer: SelfAttention, features: Tensor) -> None:
    with differentiable_twice(layer):
        output = layer(features)
    (gradient,) = torch.autograd.grad(output.square().sum(), features, create_graph=True)
    gradient.square().sum().backward()


def seconds(run: Callable[[], object], device: str) -> float:
    run()
    started = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    layer = SelfAttention(CHANNELS).to(device)
    torch.nn.init.ones_(layer.gamma)
    print(f"{machine()}; {device}, {dtype}\n")
    print("| positions | matrix of pairs, MiB | trained, MiB | penalised, MiB | trained, s | penalised, s |")
    print("|---|---:|---:|---:|---:|---:|")
    for side in SIDES:
        features = torch.randn(1, CHANNELS, side, side, device=device, requires_grad=True)
        row = [side**4 // 4 * 4 / 2**20]
        with torch.autocast(device, dtype, enabled=device == "cuda"):
            passes = [lambda f=features: train(layer, f), lambda f=features: penalise(layer, f)]
            row += [peak_memory(run, device) / 2**20 for run in passes]
            row += [seconds(run, device) for run in passes]
        print("| {}² | {:,.0f} | {:,.0f} | {:,.0f} | {:.2f} | {:.2f} |".format(side, *row), flush=True)


if __name__ == "__main__":
    main()
