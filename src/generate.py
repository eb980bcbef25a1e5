"""Exports a synthetic data set from a trained run: ``python -m src.generate run=outputs/<run> n=1000``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import Progress

from src import overrides
from src.cli import INTERRUPTED
from src.errors import UserError, one_line
from src.release.copies import split_features
from src.release.export import Export, Request
from src.release.masks import MaskLimits
from src.training.restore import TrainedRun, load_data, load_generator

CONFIG = "generate"


def generate(cfg: DictConfig) -> Path:
    """Export what ``cfg`` (conf/generate.yaml) asks for, go on where that stopped, or say that it is done."""
    if not cfg.run:
        raise UserError("run is missing: give the folder of a trained GAN, run=outputs/<run>")
    if cfg.n is None:
        raise UserError("n is missing: give the number of images, n=1000")
    if cfg.threads is not None:
        if not isinstance(cfg.threads, int) or cfg.threads < 1:
            raise UserError(f"threads={cfg.threads} must be an integer of at least 1")
        torch.set_num_threads(cfg.threads)
    run = load_generator(Path(cfg.run))
    run.module.to(_device(cfg.device))
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
    export = Export(run, request, out, None if request.min_distance is None else _real_features(run))
    with Progress(console=Console(stderr=True), disable=not cfg.progress, transient=True) as bar:
        task = bar.add_task("generating", total=request.n)
        wrote = export.write(cfg.force, lambda done: bar.update(task, completed=done))
    print(f"done: {out}: look at preview.png" if wrote else f"finished already: {out} (force=true writes it anew)")
    return out


def _real_features(run: TrainedRun) -> torch.Tensor:
    data = load_data(run)
    data.prepare()
    return split_features(data.split("train"), run.settings["data"]["channels"])


def _device(asked: str) -> torch.device:
    if asked not in ("auto", "cpu", "cuda") or (asked == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"device={asked} cannot be used here: choose auto or cpu")
    return torch.device("cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu")


def _quoted(argument: str) -> str:
    """Paths of run folders hold ``=`` and ``,``, which would otherwise need quotes of their own."""
    key, _, value = argument.partition("=")
    return f"{key}='{value}'" if key in ("run", "out") and value and not set("'\"") & set(value) else argument


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 wrong (a line on stderr), 130 stopped by Ctrl-C."""
    asked = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(asked):
        print((overrides.CONF / f"{CONFIG}.yaml").read_text(), end="")
        return 0
    try:
        generate(overrides.check(CONFIG, [_quoted(argument) for argument in asked], multirun=False))
    except (UserError, HydraException, OmegaConfBaseException) as problem:
        print(f"error: {one_line(problem)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
