"""Scores a GAN or a folder of images: ``python -m src.evaluate run=outputs/<run> classifier=outputs/<run>``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from src.command_line import override_parsing, overrides, resolvers  # noqa: F401  the configurations of data sets compute
from src.command_line.launch import run_configured
from src.core.atomic import make_writable, write_atomically
from src.core.errors import UserError, one_line
from src.core.run_folder import place

CONFIG = "evaluate"
PATHS = ("run", "classifier", "out", "paths.outputs")  # settings whose values are paths


def evaluate(cfg: DictConfig) -> Path:
    """Score what ``cfg`` (conf/evaluate.yaml) names beside real images and noise; returns the folder it wrote."""
    # Imported now: --help and a typo need none of them.
    import torch
    from hydra.utils import instantiate
    from rich.console import Console

    from src.core import environment
    from src.data.base import ImageData
    from src.data.fingerprint import check_same_images
    from src.scoring.evaluator import Evaluator
    from src.scoring.image_source import open_source
    from src.scoring.picture import save_picture
    from src.scoring.record import log_scores
    from src.scoring.report import as_json, as_table, by_size, caption, read_rows
    from src.scoring.rows import check_against, score_beside, sizes
    from src.scoring.scores import Rules
    from src.training.restore import load_data

    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    source = open_source(Path(cfg.run))
    others = []
    for path in [cfg.against] if isinstance(cfg.against, str) else cfg.against:
        try:
            others.append(read_rows(Path(path)))
        except UserError as problem:
            raise UserError(f"against={path}: {problem}") from problem
    if cfg.get("data") is None and source.run is None:
        raise UserError(f"data is missing: say what the images of {cfg.run} are set against, e.g. data=cifar10")
    data: ImageData = instantiate(cfg.data) if cfg.get("data") else load_data(source.run)  # type: ignore[arg-type]
    data.prepare()
    if source.run is not None and not cfg.get("data"):
        check_same_images(source.run.folder, data)
    rules = Rules(cfg.kid_subset, cfg.allow_small)
    asked = data, cfg.classifier, cfg.features, cfg.seed, cfg.batch_size, rules, cfg.paths.cache
    evaluator = Evaluator(*asked, also=instantiate(cfg.also))
    if left_out := evaluator.check(cfg.n):
        print(left_out)
    for size in sizes(data, cfg.n)[1:]:
        if (subset := rules.subset(len(data.split("train")), size)) < (cfg.kid_subset or 0):
            print(f"kid_subset={cfg.kid_subset} is more than the {size} unseen images: in their table it is {subset}")
    device = environment.device(cfg.device)
    evaluator.extractor.to(device)
    if source.module is not None:
        source.module.to(device)
    check_against(evaluator, source, cfg.n, others)
    named = place(cfg.paths.outputs, "evaluate").parent
    out = Path(cfg.out) if cfg.out else source.out(named, cfg.hydra.overrides.task)
    try:
        make_writable(out)
    except OSError as problem:
        raise UserError(f"{out} cannot be written ({one_line(problem)}): out=<folder> names another place") from problem
    try:
        rows, samples = score_beside(evaluator, source, cfg.n, cfg.intervals)
    except BaseException:
        with suppress(OSError):
            out.rmdir()  # where nothing else is in it
        raise

    write_atomically(out / "scores.json", json.dumps(as_json(rows), indent=1))
    groups = by_size(rows, others)
    save_picture(groups[-1], samples, out / "scores.png")
    log_scores(out, cfg.logger, rows, source)
    console = Console()
    console.print(caption(rows[0].passport), highlight=False)
    for group in groups:
        console.print(as_table(group))
    print(f"done: {out}: scores.json and scores.png")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    return run_configured(CONFIG, evaluate, PATHS, arguments, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
