"""Training on a GPU: python -m benchmarks.gpu [--out FILE] [part …], at most eight minutes for all parts.

First the tests marked ``gpu``, then the card's ceilings, then a table. A row is a process of its own with a time limit,
so what fails costs a row. Speeds are images per second of full steps:

``train`` is the real thing, module, trainer, callbacks and run folder, with a row of metrics every 20 steps. ``graph``
is what it replays, without anything around. ``eager`` is the same step launched kernel by kernel
(``trainer.graph=false``). ``plain`` is how the algorithm is usually written (``benchmarks.bench_progressive``,
``benchmarks.bench_dcgan``). TFLOP/s are those of convolutions and matrix products in the captured step.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from omegaconf import DictConfig, open_dict
from pytorch_lightning import Callback

from benchmarks.bench_progressive import floating_point_operations, plain_step
from src.command_line import resolvers  # noqa: F401  # the configuration computes with them
from src.command_line.schema import CONF
from src.core.run_folder import RunFolder
from src.data.description import Description
from src.data.store import Split, Store
from src.data.stream import BatchStream
from src.training.callbacks.progress import ProgressReport
from src.training.callbacks.recorder import Recorder
from src.training.divergence import DivergenceMonitor
from src.training.from_config import build_module
from src.training.step_graph import WARM_UP
from src.training.trainer import build_trainer

SECONDS = 3.0  # timed, of every speed
LIMIT = 90  # seconds for a row
IMAGES = 2048  # in the training split
PROGRESSIVE = ("model=pggan", "width=512", "images=100_000_000")
ENHANCED = ("model=enhanced", "width=512", "images=100_000_000")
CASES: dict[str, tuple[str, ...]] = {
    "dcgan 32 px, batch 32": ("model=dcgan", "resolution=32", "batch_size=32"),
    "dcgan 32 px, batch 128": ("model=dcgan", "resolution=32", "batch_size=128"),
    "pggan 32 px, batch 16": (*PROGRESSIVE, "resolution=32", "batch_size=16"),
    "pggan 64 px, batch 16": (*PROGRESSIVE, "resolution=64", "batch_size=16"),
    "pggan 128 px, batch 64": (*PROGRESSIVE, "resolution=128", "batch_size=64"),
    "pggan 256 px, batch 32": (*PROGRESSIVE, "resolution=256", "batch_size=32"),
    "enhanced 256 px, batch 32": (*ENHANCED, "resolution=256", "batch_size=32"),
    "enhanced 256 px, batch 32, hinge": (*ENHANCED, "resolution=256", "batch_size=32", "loss=hinge"),
    "unet 64 px, batch 16": ("model=unet", "resolution=64", "batch_size=16"),
    "classifier 32 px, batch 128": ("model=classifier", "resolution=32", "batch_size=128"),
}


class Stopwatch(Callback):
    """Times whole steps for a while, once they are as fast as they will be; then ends the training."""

    def __init__(self, began: float) -> None:
        self.began, self.first_step, self.images_per_s = began, 0.0, 0.0
        self.extra: dict[str, float] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            torch.cuda.synchronize()
            self.first_step = time.perf_counter() - self.began
        if batch_idx == WARM_UP + 4:
            torch.cuda.synchronize()
            self.started, self.images = time.perf_counter(), pl_module.clock.images
        if batch_idx > WARM_UP + 4 and batch_idx % 5 == 0 and time.perf_counter() - self.started > SECONDS:
            torch.cuda.synchronize()
            seconds = time.perf_counter() - self.started
            self.images_per_s = (pl_module.clock.images - self.images) / seconds
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.extra["reserved_mib"] = torch.cuda.max_memory_reserved() / 2**20
        self.extra["allocated_mib"] = torch.cuda.max_memory_allocated() / 2**20
        graphs = pl_module._graphs
        if graphs is None or not graphs.captured:
            return
        (captured,) = graphs.captured.values()
        batch = pl_module.schedule.at(pl_module.clock.images).batch_size
        self.extra["graph"] = batch * repeated(captured.graph.replay)
        state = pl_module.schedule.at(pl_module.clock.images)
        optimizers, growth = pl_module.prepare_optimizers(state), pl_module.growth(state)

        def step() -> None:
            with trainer.precision_plugin.forward_context():
                pl_module.step(captured.inputs, state, growth, optimizers)

        self.extra["tflop_per_image"] = floating_point_operations(step) / batch / 1e12


def repeated(run: Callable[[], object]) -> float:
    """How often a second ``run`` can be repeated."""
    run()
    torch.cuda.synchronize()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS / 2:
        for _ in range(5):
            run()
        torch.cuda.synchronize()
        count += 5
    return count / (time.perf_counter() - started)


def configuration(*overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("train", ["trainer.accelerator=gpu", *overrides])
    masks = ("cavity",) if "unet" in overrides[0] else ()
    with open_dict(cfg):
        cfg.data.update(Description(3, cfg.data.resolution, ("a", "b"), masks).as_config())
    return cfg


def random_split(cfg: DictConfig) -> Split:
    random, side = np.random.default_rng(0), cfg.data.resolution
    images = random.integers(0, 256, (IMAGES, 3, side, side), dtype=np.uint8)
    masks = random.integers(0, 2, (IMAGES, 1, side, side), dtype=np.uint8) if cfg.data.masks else None
    return Split(Store(images, random.integers(0, 2, IMAGES), masks, {}), np.arange(IMAGES))


def train(cfg: DictConfig, began: float) -> Stopwatch:
    """At the last phase of the schedule."""
    split = random_split(cfg)
    module = build_module(cfg)
    module.graph = cfg.trainer.graph
    phase = module.schedule.phases()[-1]
    module.clock.images = phase.start
    watch = Stopwatch(began)
    with tempfile.TemporaryDirectory() as name:
        recorder = Recorder(RunFolder(Path(name)), 20 * cfg.batch_size, 10**12, DivergenceMonitor(None))
        recorder.monitor.check = lambda images, row: None  # type: ignore[method-assign]  # random images may diverge
        progress = ProgressReport(10**12, 100 * cfg.batch_size, recorder, live=False)
        trainer = build_trainer(cfg.trainer, [recorder, progress, watch])
        stream = BatchStream(split, module.schedule, 10**12, 0, module.clock)
        stream.place(trainer.strategy.root_device, cfg.trainer.data_memory, module.steps_at_once)
        trainer.fit(module, stream)
    return watch


def row(name: str) -> dict[str, float]:
    overrides, began = CASES[name], time.perf_counter()
    watch = train(configuration(*overrides), began)
    found = {"train": watch.images_per_s, "first_step_s": watch.first_step, **watch.extra}
    found["eager"] = train(configuration(*overrides, "trainer.graph=false"), began).images_per_s
    if "pggan" in name:
        found["plain"] = plain_progressive(configuration(*overrides))
    return found


def plain_progressive(cfg: DictConfig) -> float:
    torch.cuda.empty_cache()
    with torch.device("cuda"):
        return cfg.batch_size * repeated(plain_step(cfg.data.resolution, cfg.batch_size))


def ceilings() -> dict[str, float]:
    """Of a large product in bfloat16, and of a copy, counting bytes read and written."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    big = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    to = torch.empty_like(big)
    return {
        "product_tflop_per_s": 2 * 8192**3 * repeated(lambda: torch.mm(a, b)) / 1e12,
        "copy_tb_per_s": 2 * 2**30 * repeated(lambda: to.copy_(big)) / 1e12,
    }


def tests() -> dict[str, float]:
    ran = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"], check=False)
    return {"exit_status": ran.returncode}


PARTS: dict[str, Callable[[], dict[str, float]]] = {"tests": tests, "ceilings": ceilings}


def child(part: str, limit: float) -> dict[str, Any]:
    """What ``part`` found in a process of its own, or why it found nothing."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.gpu", "--child", part, "--out", str(found)]
        try:
            ran = subprocess.run(command, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return {"failed": f"took longer than {limit:.0f} s"}
        return json.loads(found.read_text()) if ran.returncode == 0 else {"failed": f"status {ran.returncode}"}


def table(found: dict[str, dict[str, Any]]) -> str:
    peak = found.get("ceilings", {}).get("product_tflop_per_s")
    lines = [
        "| images/s | train | graph | eager | plain | TFLOP/s (share of the peak) | MiB | first step, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in (name for name in found if name in CASES):
        values = found[name]
        if "failed" in values:
            lines.append(f"| {name} | {values['failed']} |")
            continue
        reached = values.get("tflop_per_image", 0) * values["train"]
        share = f"{reached:.0f}" + (f" ({reached / peak:.0%})" if peak else "")
        speeds = (f"{values[key]:,.0f}" if key in values else "" for key in ("train", "graph", "eager", "plain"))
        memory = f"{values['reserved_mib']:,.0f}"
        lines.append(f"| {name} | {' | '.join(speeds)} | {share} | {memory} | {values['first_step_s']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join([*PARTS, *CASES])}; all where none is given")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks_gpu.json"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: no GPU of NVIDIA is here")
    if options.child:
        found = PARTS[options.child]() if options.child in PARTS else row(options.child)
        options.out.write_text(json.dumps(found))
        return
    results: dict[str, dict[str, Any]] = {}
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    for part in options.parts or [*PARTS, *CASES]:
        started = time.perf_counter()
        results[part] = child(part, 3 * LIMIT if part == "tests" else LIMIT)
        print(f"{part}: {results[part]} ({time.perf_counter() - started:.0f} s)", flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"card": torch.cuda.get_device_name(), **results}, indent=1))
    print(f"\n{table(results)}")


if __name__ == "__main__":
    main()
