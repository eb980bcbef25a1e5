"""What do a generator's images give away of its training images? ``python -m src.audit run=outputs/<run>``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from src.command_line.launch import run_configured
from src.core.atomic import make_writable, write_atomically
from src.core.errors import UserError, one_line

CONFIG = "audit"
PATHS = ("run", "images", "out", "paths.cache")  # settings whose values are paths


def audit(cfg: DictConfig) -> Path:
    """Attack the images that ``cfg`` (conf/audit.yaml) names; returns the folder it wrote."""
    # Imported now: --help and a typo need none of them.
    import torch
    from rich.console import Console

    from src.core import environment
    from src.data.training_images import read_synthetic
    from src.release.audit import Audit, Judge
    from src.release.audit_page import write_page
    from src.release.audit_report import as_json, as_table, sentence
    from src.release.generated import generated_split
    from src.release.real_data import RealData
    from src.training.restore import load_generator

    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    run = load_generator(Path(cfg.run))
    run.module.to(environment.device(cfg.device))
    name = f"n{cfg.n}_seed{cfg.seed}" if cfg.images is None else Path(cfg.images).resolve().name
    out = Path(cfg.out) if cfg.out else run.folder / "audit" / run.checkpoint.stem / name
    real = RealData(run)
    comparison = real.comparison(way_out="")
    channels = real.data.description.channels
    if cfg.images is None:
        made = generated_split(run, cfg.n, cfg.seed)
    else:
        made = read_synthetic(cfg.images, real.data.description, cfg.paths.cache)
    try:
        make_writable(out)
    except OSError as problem:
        raise UserError(f"{out} cannot be written ({one_line(problem)}): out=<folder> names another place") from problem
    found = Audit.of(comparison, made, channels, Judge.of(run))

    title = f"{run.folder.resolve().name}, {run.checkpoint.name}, {name}"
    asked = {
        "run": run.folder.resolve().name,
        "checkpoint": run.checkpoint.name,
        "images": cfg.images,
        "seed": cfg.seed,
    }
    write_atomically(out / "audit.json", json.dumps({**as_json(found), "asked": asked}, indent=1))
    write_page(found, title, out / "audit.html")
    console = Console()
    console.print(as_table(found))
    for caution in found.cautions:
        console.print(f"caution: {caution}", highlight=False)
    console.print(sentence(found), highlight=False)
    print(f"done: {out}: audit.html, which shows real images, and audit.json")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    return run_configured(CONFIG, audit, PATHS, arguments, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
