"""Exports a synthetic data set from a trained run: ``python -m src.generate run=outputs/<run> n=1000``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src import overrides
from src.cli import run_command

if TYPE_CHECKING:
    from src.release.copies import Originals
    from src.training.restore import TrainedRun

CONFIG = "generate"
PATHS = ("run", "out")  # settings whose values are paths


def generate(cfg: DictConfig) -> Path:
    """Export what ``cfg`` (conf/generate.yaml) asks for, go on where that stopped, or say that it is done."""
    # Imported now: --help and a typo need none of them.
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from src import environment
    from src.release.copies import describe
    from src.release.export import Export, Request
    from src.release.masks import MaskLimits
    from src.training.restore import load_generator

    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    run = load_generator(Path(cfg.run))
    run.module.to(environment.device(cfg.device))
    limits = {key: value for key, value in cfg.masks.items() if key != "reject"}
    request = Request(
        n=cfg.n,
        size=run.module.schedule.resolution if cfg.size is None else cfg.size,
        seed=cfg.seed,
        bits=cfg.bits,
        reject=cfg.masks.reject,
        limits=MaskLimits(**{**limits, "may_be_empty": tuple(cfg.masks.may_be_empty)}),
        min_distance=cfg.copies.min_distance,
    )
    name = f"n{request.n}_size{request.size}_seed{request.seed}"
    out = Path(cfg.out) if cfg.out else run.folder / "generated" / name
    originals, reference = (None, None) if request.min_distance is None else _compared_with(run)
    export = Export(run, request, out, originals, reference)
    if reference is not None:  # said first, for who is told afterwards that too few images pass
        print(f"copies.min_distance={request.min_distance:g}: {describe(reference)}")
    with Progress(console=Console(stderr=True), disable=not cfg.progress, transient=True) as bar:
        task = bar.add_task("generating", total=request.n)
        wrote = export.write(cfg.force, lambda done: bar.update(task, completed=done))
    if rejected := export.folder.card().get("rejected"):
        print(left_out(rejected, request.n))
    print(f"done: {out}: look at preview.png" if wrote else f"finished already: {out} (force=true writes it anew)")
    return out


def left_out(rejected: Mapping[str, int], kept: int) -> str:
    """How many images an export left out beside those that it ``kept``, and why."""
    count = sum(rejected.values())
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in rejected.items())
    return f"left out: {count:,} of {kept + count:,} images made ({reasons}); rejected.csv names them"


def _compared_with(run: TrainedRun) -> tuple[Originals, dict[str, float]]:
    """The images that ``run`` learned from, and how near to them other real images come."""
    from src.release.copies import Originals
    from src.training.restore import learned_from, load_data

    data, channels = load_data(run), run.settings["data"]["channels"]
    data.prepare()
    learned, held_out = learned_from(run).divide(data)
    originals = Originals.of(learned, channels)
    return originals, originals.reference(held_out, channels)


def main(arguments: Sequence[str] | None = None) -> int:
    def task(asked: list[str]) -> None:
        generate(overrides.check(CONFIG, overrides.quote_paths(asked, PATHS), multirun=False, can_sweep=False))

    return run_command(CONFIG, task, arguments)


if __name__ == "__main__":
    sys.exit(main())
