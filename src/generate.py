"""Exports a synthetic data set from a trained run: ``python -m src.generate run=outputs/<run> n=1000``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from omegaconf import DictConfig

from src.command_line.launch import run_configured

CONFIG = "generate"
PATHS = ("run", "out", "c2pa.certificate", "c2pa.key")  # settings whose values are paths


def generate(cfg: DictConfig) -> Path:
    """Export what ``cfg`` (conf/generate.yaml) asks for, go on where that stopped, or say that it is done."""
    # Imported now: --help and a typo need none of them.
    import torch
    from hydra.utils import instantiate
    from rich.console import Console
    from rich.progress import Progress

    from src.core import environment
    from src.core.errors import UserError
    from src.release.card import Publication
    from src.release.content_credentials import ContentCredentials
    from src.release.copy_filter import NOT_LOOKED, CopyFilter
    from src.release.export import Export
    from src.release.left_out import LeftOut
    from src.release.masks import MaskLimits
    from src.release.real_data import RealData
    from src.release.request import Request
    from src.training.restore import load_generator

    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    run = load_generator(Path(cfg.run))
    run.module.to(environment.device(cfg.device))
    size = run.module.schedule.resolution if cfg.size is None else cfg.size
    given = {key: value for key, value in cfg.masks.items() if key != "reject" and value is not None}
    given |= {key: tuple(value) for key, value in given.items() if key == "may_be_empty"}
    if (cfg.c2pa.certificate is None) != (cfg.c2pa.key is None):
        raise UserError("c2pa.certificate and c2pa.key belong together: give both, or none")
    credentials = ContentCredentials(Path(cfg.c2pa.certificate), Path(cfg.c2pa.key)) if cfg.c2pa.key else None
    real, file_format = RealData(run), instantiate(cfg.format)
    facts: dict[str, object] = {}
    if (masks := real.masks(size, given)) is not None:
        facts["real_masks"] = masks.facts()
        print(masks.describe())
    copies = None
    if cfg.copies.share is not None or cfg.copies.min_distance is not None:
        copies = CopyFilter.of(real.comparison(), cfg.copies.share, cfg.copies.min_distance)
        for line in copies.lines():  # said first, for who is told afterwards that too few images pass
            print(line)
    facts["copies"] = NOT_LOOKED if copies is None else copies.facts()
    request = Request(
        n=cfg.n,
        size=size,
        seed=cfg.seed,
        bits=real.bits(file_format.bits) if cfg.bits == "auto" else cfg.bits,
        reject=cfg.masks.reject,
        limits=MaskLimits(**given) if masks is None else masks.limits,
        min_distance=None if copies is None else copies.min_distance,
        watermark=cfg.watermark,
        units=cfg.units,
        class_name=cfg.class_name,
    )
    said = Publication(**cfg.card)
    form = "" if file_format.name == "png" else f"_{file_format.name}"
    form += "_original" if cfg.units == "original" else ""
    out = Path(cfg.out) if cfg.out else run.folder / "generated" / f"n{cfg.n}_size{size}_seed{cfg.seed}{form}"
    originals = None if copies is None else copies.comparison.originals
    export = Export(run, request, out, originals, facts, file_format, said, credentials)
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True)
    task = bar.add_task("generating", total=request.n)
    with bar if cfg.progress and console.is_terminal else nullcontext():  # else rich may leave an empty line of it
        wrote = export.write(cfg.force, lambda done: bar.update(task, completed=done))
    if (left_out := LeftOut.of(out)).count or left_out.unfit:
        print(f"left out: {left_out.text()}; rejected.csv and manifest.csv name them")
    for caution in left_out.cautions():
        print(f"caution: {caution}")
    print(f"done: {out}: look at preview.png" if wrote else f"finished already: {out} (force=true writes it anew)")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    return run_configured(CONFIG, generate, PATHS, arguments)


if __name__ == "__main__":
    sys.exit(main())
