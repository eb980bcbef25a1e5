"""Training speed of ``model=pggan`` and ``enhanced``: python -m benchmarks.bench_progressive [resolution …].

A full step: D with WGAN-GP and drift, then G, with the paper's channels. ``plain`` is how the algorithm is usually
written: float32, NCHW, separate D passes for real, fake and mixed images, the scale of equalized layers multiplied onto
the activations, upsampling before the convolution, gradients of D computed along the way in G's step, torch's own
second derivatives, default Adam. ``project`` is this project's step without Lightning, in float32 and in bf16.
``enhanced`` is Enhanced-GAN's, at the resolution of its attention: with and without its mirror image in D, and with
keys and values pooled 4×4 in place of 2×2.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.bench_attention import peak_memory
from benchmarks.timing import interleaved, machine, table
from src.networks.progressive import Discriminator, Generator
from src.networks.second_derivative import differentiable_twice
from src.training.adversarial import discriminate, frozen
from src.training.losses import Wasserstein
from src.training.memory import keep_freed_memory
from src.training.penalties import GradientPenalty

ZOO = {
    16: (4.3, 16),
    32: (0.95, 16),
    64: (0.35, 16),
    128: (0.22, 8),
    256: (0.14, 4),
}  # images/s, batch: a public GAN zoo
ENHANCED: dict[str, tuple[Any, ...]] = {  # where attention is, and its pooling
    "enhanced, bf16": ("GD",),
    "enhanced, keys pooled 4×4, bf16": ("GD", 4),
    "enhanced, attention in G alone, bf16": ("G",),
}
ROUNDS = 3


class PlainLayer(nn.Module):
    """A convolution or dense layer whose output is multiplied by He's constant."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, fan_in: int, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        nn.init.normal_(layer.weight)
        nn.init.zeros_(cast(Tensor, layer.bias))
        self.layer, self.scale = layer, gain / math.sqrt(fan_in)

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return F.linear(x, layer.weight) * self.scale + layer.bias
        assert layer.bias is not None
        return F.conv2d(x, layer.weight, padding=layer.padding) * self.scale + layer.bias.view(-1, 1, 1)


def plain_conv(fan_in: int, fan_out: int, kernel: int, padding: int, gain: float = math.sqrt(2)) -> PlainLayer:
    return PlainLayer(nn.Conv2d(fan_in, fan_out, kernel, padding=padding), fan_in * kernel**2, gain)


def pixel_norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def width(resolution: int) -> int:
    return min(16384 // resolution, 512)


class PlainGenerator(nn.Module):
    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.start = PlainLayer(nn.Linear(512, 512 * 16), 512, math.sqrt(2) / 4)
        self.first = plain_conv(512, 512, 3, 1)
        sizes = [2**i for i in range(3, int(math.log2(resolution)) + 1)]
        self.ones = nn.ModuleList(plain_conv(width(s // 2), width(s), 3, 1) for s in sizes)
        self.twos = nn.ModuleList(plain_conv(width(s), width(s), 3, 1) for s in sizes)
        self.to_rgb = plain_conv(width(resolution), 3, 1, 0, 1.0)

    def forward(self, z: Tensor) -> Tensor:
        x = pixel_norm(activate(self.start(pixel_norm(z)).view(-1, 512, 4, 4)))
        x = pixel_norm(activate(self.first(x)))
        for one, two in zip(self.ones, self.twos, strict=True):
            x = pixel_norm(activate(one(F.interpolate(x, scale_factor=2))))
            x = pixel_norm(activate(two(x)))
        return self.to_rgb(x)


class PlainDiscriminator(nn.Module):
    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.from_rgb = plain_conv(3, width(resolution), 1, 0)
        sizes = [2**i for i in range(int(math.log2(resolution)), 2, -1)]
        self.ones = nn.ModuleList(plain_conv(width(s), width(s), 3, 1) for s in sizes)
        self.twos = nn.ModuleList(plain_conv(width(s), width(s // 2), 3, 1) for s in sizes)
        self.conv, self.whole = plain_conv(513, 512, 3, 1), plain_conv(512, 512, 4, 0)
        self.classify = PlainLayer(nn.Linear(512, 1), 512, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        x = activate(self.from_rgb(x))
        for one, two in zip(self.ones, self.twos, strict=True):
            x = F.avg_pool2d(activate(two(activate(one(x)))), 2)
        group = x.view(min(4, len(x)), -1, *x.shape[1:])
        std = (group.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3), keepdim=True)
        std = std.repeat(group.shape[0], 1, *x.shape[2:])
        x = activate(self.whole(activate(self.conv(torch.cat([x, std], 1)))))
        return self.classify(x.flatten(1)).squeeze(1)


def plain_step(resolution: int, batch: int) -> Callable[[], None]:
    generator, discriminator = PlainGenerator(resolution), PlainDiscriminator(resolution)
    optimizer_g = torch.optim.Adam(generator.parameters(), 1e-3, (0.0, 0.99))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), 1e-3, (0.0, 0.99))
    real = torch.randn(batch, 3, resolution, resolution)

    def step() -> None:
        fake = generator(torch.randn(batch, 512)).detach()
        real_logits, fake_logits = discriminator(real), discriminator(fake)
        mixed = torch.lerp(real, fake, torch.rand(batch, 1, 1, 1)).requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(mixed).sum(), mixed, create_graph=True)
        penalty = 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean()
        optimizer_d.zero_grad()
        (fake_logits.mean() - real_logits.mean() + penalty + 1e-3 * real_logits.square().mean()).backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        (-discriminator(generator(torch.randn(batch, 512))).mean()).backward()
        optimizer_g.step()

    return step


def project_step(
    resolution: int, batch: int, bf16: bool, attention_in: str | None = None, pool: int = 2
) -> Callable[[], None]:
    """A step: PGGAN's, or Enhanced-GAN's where ``attention_in`` holds G, D or both."""
    attention: dict[str, Any] = {
        network: {"attention_at": resolution if network in (attention_in or "") else None, "attention_pool": pool}
        for network in "GD"
    }
    generator: Any = Generator(512, 3, resolution, **attention["G"])
    discriminator: Any = Discriminator(3, resolution, spectral_norm=attention_in is not None, **attention["D"])
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)
    optimizer_g = torch.optim.Adam(generator.parameters(), 1e-3, (0.0, 0.99), fused=True)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), 1e-3, (0.0, 0.99), fused=True)
    real = torch.randn(batch, 3, resolution, resolution).contiguous(memory_format=torch.channels_last)
    loss, penalty = Wasserstein(drift=1e-3), GradientPenalty()
    g, d = partial(generator, resolution=resolution), partial(discriminator, resolution=resolution)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            fake = g(torch.randn(batch, 512))
            real_logits, fake_logits = discriminate(d, real, fake.detach(), discriminator.group)
            loss.discriminator(real_logits, fake_logits).backward()
            with differentiable_twice(discriminator):
                value = penalty(d, real, fake, torch.rand(batch))
            value.backward()
        optimizer_d.step()
        optimizer_d.zero_grad()
        with frozen(discriminator):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss_g = loss.generator(d(fake))
            loss_g.backward()
            optimizer_g.step()
            optimizer_g.zero_grad()

    return step


def timed(step: Callable[[], None], batch: int) -> float:
    """Images per second of one step."""
    started = time.perf_counter()
    step()
    return batch / (time.perf_counter() - started)


class _Flops(TorchDispatchMode):
    """Counts as ``FlopCounterMode`` does, whose hooks on modules a gradient penalty trips over."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def floating_point_operations(step: Callable[[], None]) -> int:
    """Of the convolutions and matrix products of one step."""
    with _Flops() as counter:
        step()
    return counter.total


def peak_of_convolutions(dtype: torch.dtype) -> float:
    """The most operations per second that one large convolution reaches here, forward alone."""
    images = torch.randn(16, 256, 64, 64, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(256, 256, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    operations = 2 * images.numel() * weight[0].numel()
    best = 0.0
    with torch.no_grad():
        for _ in range(10):
            started = time.perf_counter()
            F.conv2d(images, weight, padding=1)
            best = max(best, operations / (time.perf_counter() - started))
    return best


def main(resolutions: list[int]) -> None:
    keep_freed_memory()
    peak = {dtype: peak_of_convolutions(dtype) for dtype in (torch.bfloat16, torch.float32)}
    print(f"{machine()}; {' and '.join(f'{value / 1e12:.2f} TFLOP/s in {d}' for d, value in peak.items())} at most\n")
    for resolution in resolutions:
        zoo, batch = ZOO[resolution]
        steps = {
            "plain": plain_step(resolution, batch),
            "project, float32": project_step(resolution, batch, False),
            "project, bf16": project_step(resolution, batch, True),
        }
        if resolution == 256:
            steps |= {name: project_step(resolution, batch, True, *options) for name, options in ENHANCED.items()}
        speeds = interleaved({name: partial(timed, step, batch) for name, step in steps.items()}, ROUNDS)
        print(table(f"{resolution} px, batch {batch}", "images/s", speeds, "plain"))
        print(
            f"Against the public GAN zoo's {zoo} images/s: {statistics.median(speeds['project, bf16']) / zoo:.1f} ×\n"
        )
        for name, dtype in (("project, bf16", torch.bfloat16), ("project, float32", torch.float32)):
            reached = floating_point_operations(steps[name]) * statistics.median(speeds[name]) / batch
            print(f"{name}: {reached / 1e12:.2f} TFLOP/s, {reached / peak[dtype]:.0%} of a large convolution's\n")
        if resolution == 256:
            for name, options in {"pggan": (), **ENHANCED}.items():
                peak_bytes = peak_memory(project_step(resolution, batch, True, *options))
                print(f"Peak memory of a step of {name}: {peak_bytes / 2**20:,.0f} MiB\n")


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [16, 32, 64, 128, 256])
