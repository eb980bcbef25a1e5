"""Which data set is an image of? ``python -m src.identify images=<file or folder> among='[chest_xray,chest_ct]'``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from src.command_line import resolvers
from src.command_line.launch import run_configured
from src.core.atomic import make_writable, write_atomically
from src.core.errors import UserError, one_line

CONFIG = "identify"
PATHS = ("images", "out", "paths.cache", "paths.data", "paths.outputs")  # settings whose values are paths


def identify(cfg: DictConfig) -> Path:
    """Name the set of every image that ``cfg`` (conf/identify.yaml) asks about; returns the folder it wrote."""
    # Imported now: --help and a typo need none of them.
    import logging

    import torch
    from rich.console import Console

    from src.identification import answers as reports
    from src.identification.evaluation import compare_all, evaluate
    from src.identification.picture import save_picture
    from src.identification.queries import read_queries
    from src.identification.sets import open_sets

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    sets = open_sets(list(cfg.among), cfg.paths, cfg.resolution, cfg.channels, cfg.references, cfg.held_out, cfg.seed)
    channels = sets[0].references.shape[1]
    files: list[str] = []
    images = torch.empty(0)
    if cfg.images:
        files, images = read_queries(Path(cfg.images).expanduser(), cfg.paths.cache, cfg.resolution, channels)
    named = resolvers.run_name(None, cfg.hydra.overrides.task).replace("=", "-").replace(",", "_")
    out = Path(cfg.out or Path(cfg.paths.outputs) / CONFIG / named).expanduser()
    try:
        make_writable(out)
    except OSError as problem:
        raise UserError(f"{out} cannot be written ({one_line(problem)}): out=<folder> names another place") from problem

    compared = compare_all(sets)
    evaluation = evaluate(compared, cfg.measure, cfg.rule, cfg.unknown)
    used = compared[cfg.measure]
    found = []
    if files:
        found = reports.answer(files, images, sets, cfg.measure, cfg.rule, used.among, evaluation.limits)

    asked = {str(key): value for key, value in cfg.items() if key not in ("hydra", "paths")}
    settings = {**asked, "among": list(cfg.among), "channels": channels}
    content = reports.as_json(settings, sets, evaluation, used.truth, found)
    write_atomically(out / "identify.json", json.dumps(content, indent=1))
    save_picture(found, images, sets, evaluation, out / "identify.png")
    console = Console()
    console.print(reports.measure_table(evaluation, used.truth), reports.confusion_table(evaluation, sets))
    if found:
        console.print(reports.answer_table(found, sets))
    for line in reports.summary(evaluation, cfg.measure, cfg.rule, sets, found, cfg.unknown):
        console.print(line, highlight=False)
    print(f"done: {out}: identify.json and identify.png")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    return run_configured(CONFIG, identify, PATHS, arguments, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
