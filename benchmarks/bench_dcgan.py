"""Training speed of ``model=dcgan`` at 32 px: python -m benchmarks.bench_dcgan.

``plain`` is how the algorithm is usually written: float32, NCHW, default Adam, upsampling and convolution one after the
other, a second generator pass for the generator's step, gradients of the discriminator computed along the way.
``hand-written`` does all that this project does (bf16 where the processor has it, channels last, fused Adam, fused
upsampling, the fakes reused, the discriminator frozen) without Lightning. ``project`` is the real thing: module,
trainer, callbacks and run folder.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning import Callback
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from benchmarks.timing import interleaved, machine, table
from src.command_line.schema import CONF
from src.core import environment
from src.core.clock import Clock
from src.core.pixels import to_unit_range
from src.core.run_folder import RunFolder
from src.data.store import Split, Store
from src.data.stream import BatchStream
from src.networks.dcgan import Discriminator, Generator
from src.networks.upsampling import UpsampleConv2d
from src.training.adversarial import AdversarialModule, frozen
from src.training.callbacks.progress import ProgressReport
from src.training.callbacks.recorder import Recorder
from src.training.divergence import DivergenceMonitor
from src.training.schedule import FixedSchedule
from src.training.trainer import build_trainer

WARM_UP = 3  # steps before the clock starts
STEPS = {32: 40, 128: 8}  # timed steps a round, by batch size
LOG_EVERY = 20  # steps between rows of metrics: ten times as often as in training


def make_split() -> Split:
    images = np.random.default_rng(0).integers(0, 256, (5000, 3, 32, 32), dtype=np.uint8)
    return Split(Store(images, np.zeros(5000, np.int64), None, {}), np.arange(5000))


def plain(split: Split, batch_size: int) -> float:
    generator, discriminator = in_two_steps(Generator(100, 3, 32)), Discriminator(3, 32)
    optimizer_g = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    ones, zeros = torch.ones(batch_size), torch.zeros(batch_size)
    started = 0.0
    for step, batch in enumerate(stream(split, batch_size)):
        if step == WARM_UP:
            started = time.perf_counter()
        real = batch["image"].float() / 127.5 - 1
        fake = generator(torch.rand(batch_size, 100) * 2 - 1)
        loss_d = cross_entropy(discriminator(real), ones) + cross_entropy(discriminator(fake.detach()), zeros)
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()
        loss_g = cross_entropy(discriminator(generator(torch.rand(batch_size, 100) * 2 - 1)), ones)
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()
    return STEPS[batch_size] * batch_size / (time.perf_counter() - started)


def in_two_steps(module: nn.Module) -> nn.Module:
    """The same network with upsampling and convolution one after the other."""
    for name, child in module.named_children():
        if isinstance(child, UpsampleConv2d):
            convolution = nn.Conv2d(child.in_channels, child.out_channels, 3, padding=1)
            setattr(module, name, nn.Sequential(nn.Upsample(scale_factor=2), convolution))
        else:
            in_two_steps(child)
    return module


def hand_written(split: Split, batch_size: int, module: AdversarialModule) -> float:
    optimizer_d, optimizer_g = module.configure_optimizers()
    bf16 = environment.has_fast_bfloat16("cpu")
    started = 0.0
    for step, batch in enumerate(stream(split, batch_size)):
        if step == WARM_UP:
            started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            real = to_unit_range(batch["image"])
            fake = module.generator(torch.rand(batch_size, 100) * 2 - 1)
            loss_d = module.loss.discriminator(module.discriminator(real), module.discriminator(fake.detach()))
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()
        with frozen(module.discriminator):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss_g = module.loss.generator(module.discriminator(fake))
            optimizer_g.zero_grad()
            loss_g.backward()
            optimizer_g.step()
    return STEPS[batch_size] * batch_size / (time.perf_counter() - started)


class Stopwatch(Callback):
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == WARM_UP - 1:
            self.started = time.perf_counter()
        self.ended = time.perf_counter()


def project(split: Split, batch_size: int, cfg: DictConfig) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        module, watch = make_module(cfg), Stopwatch()
        module.schedule = schedule(batch_size)
        recorder = Recorder(folder, LOG_EVERY * batch_size, 10**9, DivergenceMonitor(10**9))
        progress = ProgressReport(10**9, LOG_EVERY * batch_size, recorder, live=False)
        trainer = build_trainer(cfg.trainer, [recorder, progress, watch])
        total = (WARM_UP + STEPS[batch_size]) * batch_size
        trainer.fit(module, BatchStream(split, schedule(batch_size), total, 0, module.clock))
        return STEPS[batch_size] * batch_size / (watch.ended - watch.started)


def make_module(cfg: DictConfig) -> AdversarialModule:
    torch.manual_seed(0)
    return instantiate(cfg.model, optimizer=instantiate(cfg.optim), seed=0)


def stream(split: Split, batch_size: int) -> BatchStream:
    return BatchStream(split, schedule(batch_size), (WARM_UP + STEPS[batch_size]) * batch_size, 0, Clock())


def schedule(batch_size: int) -> FixedSchedule:
    return FixedSchedule(32, batch_size, 2e-4, 10**9)


def main() -> None:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("train", ["model=dcgan", "data=cifar10_dog", "trainer.accelerator=cpu"])
    split = make_split()
    print(f"{machine()}; bf16 in hardware: {environment.has_fast_bfloat16('cpu')}\n")
    for batch_size in STEPS:
        contenders = {
            "plain": lambda b=batch_size: plain(split, b),
            "hand-written": lambda b=batch_size: hand_written(split, b, make_module(cfg)),
            "project": lambda b=batch_size: project(split, b, cfg),
        }
        speeds = interleaved(contenders, rounds=5)
        print(table(f"dcgan, 32 px, batch {batch_size}", "images/s", speeds, "plain"))
        ratios = sorted(h / p - 1 for h, p in zip(speeds["hand-written"], speeds["project"], strict=True))
        print(f"Lightning, callbacks and run folder cost {ratios[len(ratios) // 2]:.1%} over the hand-written loop.\n")


if __name__ == "__main__":
    main()
