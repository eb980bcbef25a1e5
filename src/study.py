"""Is synthetic data worth it to a U-Net? ``python -m src.study data=sunnybrook resolution=64``."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from src import overrides
from src.atomic import write_atomically
from src.cli import run_command, run_job
from src.data.joint import sometimes_empty
from src.downstream.analysis import Study, analyse
from src.downstream.gather import StudyRuns, collect, study_page
from src.downstream.jobs import run_jobs
from src.downstream.judging import Scored, score_generators
from src.downstream.plan import StudySettings, classifier_job, generator_job, generator_name, is_run, unet_jobs
from src.downstream.record import record
from src.downstream.results import to_json
from src.errors import UserError
from src.release.export import Export, Request
from src.release.masks import MaskLimits
from src.reporting.study import write_study
from src.run_folder import RunFolder, identity
from src.scoring.passport import Passport
from src.training.build import build_loggers
from src.training.job import train
from src.training.loggers import finish
from src.training.restore import TrainedRun, load_data, load_generator

CONFIG = "study"
PARTS = ("generator", "classifier", "unet")  # kinds of training that have settings of their own


def train_job(cfg: DictConfig) -> float | None:
    """What a launcher runs."""
    return run_job(train, cfg, {})


def study(cfg: DictConfig, settings: StudySettings, common: Sequence[str]) -> Path:
    """Train, export and compare what ``cfg`` (conf/study.yaml) asks for; return the page.

    Args:
        common: overrides of every training.
    """
    folder = (Path(cfg.outputs) / cfg.name).absolute()
    holder = RunFolder(folder)
    holder.lock()
    if cfg.force:
        holder.clear()
    generators = {
        (generator_name(name), fraction): _generator(name, fraction, settings, common, cfg.launcher, folder)
        for name in settings.generators
        for fraction in settings.generator_fractions
    }
    synthetic = {key: _export(run, cfg.synthetic, cfg.reject_masks, folder) for key, run in generators.items()}
    jobs = []
    for stage in unet_jobs(settings, common, synthetic, folder / "unets"):
        run_jobs([unet.job for unet in stage], folder / "unets", cfg.launcher, train_job)
        jobs += stage
    results = collect(jobs, folder / "unets", settings.fractions)
    write_atomically(folder / "results.json", to_json(results))
    scored = _score(generators, settings, common, folder, cfg) if cfg.score_generators else {}
    answer = analyse(results, {name: scores for name, (scores, _) in scored.items()})
    write_atomically(folder / "study.json", json.dumps(asdict(answer), indent=1))
    runs = StudyRuns(folder, generators, synthetic, jobs, scored)
    command = shlex.join(["python", "-m", "src.study", *sys.argv[1:]])
    page = write_study(study_page(answer, runs, settings.per_fraction, command), folder)
    _record(answer, page, holder, cfg, common)
    print(f"\n{answer.verdict}\nreport: {page}")
    return page


def _settings(cfg: DictConfig, parts: Mapping[str, Sequence[str]], common: Sequence[str]) -> StudySettings:
    def values(node: object) -> tuple:
        return tuple(OmegaConf.to_object(node)) if OmegaConf.is_list(node) else (node,)  # type: ignore[arg-type]

    generators = values(cfg.generators)
    models = [name for name in generators if not is_run(name)] or ["pggan"]  # a typo in generator.… is found either way
    kinds = [("classifier", "classifier"), ("unet", "unet"), *(("generator", model) for model in models)]
    return StudySettings(
        generators=generators,
        generator=tuple(parts["generator"]),
        classifier=tuple(parts["classifier"]),
        per_fraction=cfg.generator_per_fraction,
        regimes=values(cfg.regimes),
        ratios=values(cfg.ratios),
        fractions=tuple(sorted(values(cfg.fractions))),
        seeds=cfg.seeds,
        unet_images=overrides.check("train", ["model=unet", *parts["unet"]], multirun=False).images,
        unet=tuple(override for override in parts["unet"] if not override.startswith("images=")),
        recipes={model: _recipe([*common, f"model={model}", *parts[part]]) for part, model in kinds},
    )


def _recipe(asked: Sequence[str]) -> str:
    """A hash of the configuration of a training: so that one that was made by another is not taken for it."""
    cfg = overrides.check("train", asked, multirun=False)
    settings = cast(dict[str, Any], OmegaConf.to_container(cfg))
    del settings["hydra"]
    return hashlib.sha256(json.dumps(identity(settings), sort_keys=True).encode()).hexdigest()


def _generator(
    name: str, fraction: float, settings: StudySettings, common: Sequence[str], launcher: str, folder: Path
) -> TrainedRun:
    if is_run(name):
        run = load_generator(Path(name))
        if not run.settings.get("with_masks"):
            raise UserError(f"{name} makes images without masks: train it with with_masks=true")
        return run
    job = generator_job(settings, common, name, fraction)
    run_jobs([job], folder / "generators", launcher, train_job)
    return load_generator(folder / "generators" / job.name)


def _export(run: TrainedRun, n: int, reject: bool, folder: Path) -> Path:
    data = load_data(run)
    data.prepare()
    limits = MaskLimits(may_be_empty=sometimes_empty(data.split("train"), data.description.masks))
    request = Request(n=n, size=run.module.schedule.resolution, reject=reject, limits=limits)
    out = folder / "synthetic" / f"{run.folder.resolve().name}-n{n}{'' if reject else '-unchecked'}"
    print(f"exporting {n} images of {run.folder.name} to {out}")
    try:
        Export(run, request, out).write()
    except UserError as problem:
        raise UserError(f"{problem}; in a study, reject_masks=false keeps them") from problem
    return out


def _score(
    generators: Mapping[tuple[str, float], TrainedRun],
    settings: StudySettings,
    common: Sequence[str],
    folder: Path,
    cfg: DictConfig,
) -> dict[str, tuple[dict[str, Scored], Passport]]:
    """The generators of the largest share of the data, by a classifier where the data have classes."""
    largest = {name: run for (name, fraction), run in sorted(generators.items())}
    first = next(iter(largest.values()))
    data = load_data(first)
    data.prepare()
    classifier = None
    if len(data.description.classes) > 1:
        job = classifier_job(settings, common)
        run_jobs([job], folder / "classifier", cfg.launcher, train_job)
        classifier = folder / "classifier" / job.name
    return score_generators(largest, data, classifier, cfg.synthetic, first.settings["paths"]["cache"])


def _record(answer: Study, page: Path, folder: RunFolder, cfg: DictConfig, common: Sequence[str]) -> None:
    """In the loggers of the trainings, beside theirs."""
    loggers = overrides.check("train", [*common, "model=unet"], multirun=False).logger
    for logger in loggers.values():
        if "job_type" in logger:
            logger.job_type = "study"
    run_loggers = build_loggers(loggers, folder, cast(dict[str, Any], OmegaConf.to_container(cfg)))
    record(answer, page, run_loggers)
    finish(run_loggers)


def _divide(asked: Sequence[str]) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """The overrides of the study itself, of its parts (without the part's name), and of every training."""
    keys = OmegaConf.load(overrides.CONF / f"{CONFIG}.yaml").keys()
    parts = {part: [o.removeprefix(f"{part}.") for o in asked if o.startswith(f"{part}.")] for part in PARTS}
    rest = [o for o in asked if not o.startswith(tuple(f"{part}." for part in PARTS))]
    return [o for o in rest if _key(o) in keys], parts, [o for o in rest if _key(o) not in keys]


def _key(override: str) -> str:
    return override.partition("=")[0]


def main(arguments: Sequence[str] | None = None) -> int:
    def task(asked: list[str]) -> None:
        own, parts, common = _divide(asked)
        cfg = overrides.check(CONFIG, own, multirun=False)
        for part, asked_of_it in parts.items():
            defaults = {str(key): f"{key}={value}" for key, value in cfg[part].items()}
            parts[part] = list((defaults | {_key(override): override for override in asked_of_it}).values())
        study(cfg, _settings(cfg, parts, common), common)

    return run_command(CONFIG, task, arguments)


if __name__ == "__main__":
    sys.exit(main())
