"""Carries a study out: trains, exports and tests all that it asks for, and writes its page."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.command_line.launch import run_job
from src.core import environment
from src.core.atomic import write_atomically
from src.core.identity import digest
from src.core.run_folder import RunFolder, place
from src.data.base import ImageData
from src.data.fingerprint import DataRecord
from src.data.store import count_splits
from src.downstream.analysis import Study, analyse
from src.downstream.asked import compose
from src.downstream.exports import audits_of, cautions_of_exports, compare_with_real, export, facts_of, left_out_of
from src.downstream.generator_scores import score_generators
from src.downstream.jobs import Launcher, run_jobs
from src.downstream.page_content import (
    StudyRuns,
    cautions_of,
    collect,
    marked_everything,
    of_largest_share,
    study_page,
    warnings_of,
)
from src.downstream.plan import Job, StudySettings, classifier_job, generator_job, generator_name, is_run, unet_jobs
from src.downstream.power import Spread, earlier_spread, power_of
from src.downstream.preflight import check_data, check_generator, check_trainings, synthetic_count
from src.downstream.queued import export_in_queue, score_in_queue
from src.downstream.results import to_json
from src.downstream.study_page import write_study
from src.downstream.verdict_log import record
from src.downstream.workload import as_table, workload
from src.training.from_config import build_loggers
from src.training.job import check_same_data, train
from src.training.loggers import STUDY, finish
from src.training.restore import TrainedRun, load_generator

ANSWER, PAGE = "study.json", "study.html"
DECISIVE = (  # settings of conf/study.yaml that decide what is found, beside the recipes of the trainings
    "generators", "generator_per_fraction", "synthetic", "reject_masks", "regimes", "ratios", "fractions", "seeds",
    "score_generators",
)  # fmt: skip
Generators = dict[tuple[str, float], TrainedRun]  # by name and share of the training cases


def train_job(cfg: DictConfig) -> float | None:
    """What a launcher runs."""
    return run_job(train, cfg, {})


def run_study(cfg: DictConfig, settings: StudySettings, launcher: Launcher) -> Path | None:
    """Train, export and compare what ``cfg`` (conf/study.yaml) asks for; return the page, None of a dry run."""
    unet = compose(settings.recipes["unet"])
    data: ImageData = instantiate(unet.data)
    data.prepare()
    print(f"{unet.data.name}: {count_splits(data.splits)}")
    check_data(data, settings)
    check_trainings(_trainings(cfg, settings, data), data, settings)
    synthetic_count(cfg.synthetic, data.split("train"), settings)  # is too late to refuse after hours
    given = _load_given(settings, data)
    if cfg.dry_run:
        print_dry_run(cfg, settings, data)
        return None

    holder = RunFolder(place(cfg.outputs, cfg.name, "outputs").absolute())
    holder.lock()
    try:
        record = DataRecord.of(data)
        if cfg.force:
            holder.set_aside()
        check_same_data(holder, record)
        settings = settings.on(record.fingerprint)
        try:
            record.write(holder.path)
        except OSError:  # a disk that is full or can only be read still has what was found
            if page := show_finished(holder.path, identity_of(cfg, settings, given)):
                return page
            raise
        return _carry_out(cfg, settings, launcher, data, given, holder)
    finally:
        holder.leave()


def _carry_out(
    cfg: DictConfig, settings: StudySettings, launcher: Launcher, data: ImageData, given: Generators, holder: RunFolder
) -> Path:
    """Everything that is written in the study's folder, which ``holder`` holds."""
    folder, unet = place(cfg.outputs, cfg.name, "outputs"), compose(settings.recipes["unet"])
    count = synthetic_count(cfg.synthetic, data.split("train"), settings)

    def run(jobs: Sequence[Job]) -> None:
        run_jobs(jobs, folder, launcher, train_job)

    to_train = {
        (name, fraction): generator_job(settings, name, fraction)
        for name in settings.generators
        if not is_run(name)
        for fraction in settings.generator_fractions
    }
    classifier_jobs = [classifier_job(settings)] if needs_classifier(cfg, data) else []
    run([*to_train.values(), *classifier_jobs])
    holder.saved()
    generators = given | {key: load_generator(folder / job.name) for key, job in to_train.items()}
    if launcher.queues:
        export_in_queue(generators, count, cfg.reject_masks, settings.recipes["unet"], folder, launcher)
    for generator in generators.values():
        generator.module.to(environment.device("cpu" if unet.trainer.accelerator == "cpu" else "auto"))
    synthetic = {
        key: export(generator, key[0], count, data, cfg.reject_masks, folder) for key, generator in generators.items()
    }
    jobs = []
    for stage in unet_jobs(settings, synthetic, folder):
        run([unet.job for unet in stage])
        jobs += stage

    classifier = folder / classifier_jobs[0].name if classifier_jobs else None
    scored = {}
    if cfg.score_generators and launcher.queues:
        shown = of_largest_share(generators)
        scored = score_in_queue(shown, classifier, count, settings.recipes["unet"], folder, launcher)
    elif cfg.score_generators:
        scored = score_generators(of_largest_share(generators), data, classifier, count, unet.paths.cache)
    runs = StudyRuns(folder, data, generators, synthetic, jobs, scored)
    answer, page = _answer(runs, settings, unet.paths.cache, identity_of(cfg, settings, given))
    run_loggers = build_loggers(unet.logger, holder, asked_of(cfg, settings, unet))
    record(answer, page, run_loggers, {name: one.scores for name, one in scored.items()}, left_out_of(synthetic))
    finish(run_loggers, {"state": "done"})
    print(f"\n{answer.verdict}\nreport: {page}")
    return page


def asked_of(cfg: DictConfig, settings: StudySettings, unet: DictConfig) -> dict[str, Any]:
    """What the loggers are told that was asked: the study's own settings, and how each kind of training was done."""
    study = OmegaConf.to_container(OmegaConf.masked_copy(cfg, list(DECISIVE)), resolve=True)
    trainings: dict[str, Any] = {kind: OmegaConf.to_container(compose(r)) for kind, r in settings.recipes.items()}
    told = {kind: {key: value for key, value in one.items() if key != "hydra"} for kind, one in trainings.items()}
    data = {"name": unet.data.name}
    return {"job": STUDY, "paths": {"outputs": cfg.outputs}, "data": data, "study": study, "trainings": told}


def identity_of(cfg: DictConfig, settings: StudySettings, given: Generators) -> str:
    """A digest of all that decides what a study finds."""
    recipes = {kind: recipe.digest for kind, recipe in settings.recipes.items()}
    weights = [run.digest() for run in given.values()]
    asked = OmegaConf.to_container(OmegaConf.masked_copy(cfg, list(DECISIVE)), resolve=True)
    return digest({"asked": asked, "recipes": recipes, "given": weights})


def show_finished(folder: Path, identity: str) -> Path | None:
    """Say what the study in ``folder`` found and return its page; None where it is another one, or unfinished."""
    page = folder / PAGE
    try:
        answer = json.loads((folder / ANSWER).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(answer, dict) or answer.get("identity") != identity or not page.exists():
        return None
    print(f"finished already: {folder}, where nothing can be written\n\n{answer['verdict']}\nreport: {page}")
    return page


def print_dry_run(cfg: DictConfig, settings: StudySettings, data: ImageData) -> None:
    """What would be trained, how long that takes, and which effect it could find."""
    Console().print(as_table(workload(settings, classifier=needs_classifier(cfg, data))))
    measured = earlier_spread(place(cfg.outputs, cfg.name, "outputs") / ANSWER)
    cases = len(set(data.split("test").cases_or_files()))
    spread, source = (measured, "measured") if measured else (Spread(**cfg.spread), "stated")
    print(power_of(spread, source, settings.arms, settings.seeds, cases).text())


def needs_classifier(cfg: DictConfig, data: ImageData) -> bool:
    return cfg.score_generators and len(data.description.classes) > 1


def _trainings(cfg: DictConfig, settings: StudySettings, data: ImageData) -> dict[str, DictConfig]:
    """The configurations of all kinds of training that the study needs, by model."""
    models = [name for name in settings.generators if not is_run(name)]
    kinds = [*models, *(["classifier"] if needs_classifier(cfg, data) else []), "unet"]
    return {kind: compose(settings.recipes[kind]) for kind in kinds}


def _answer(runs: StudyRuns, settings: StudySettings, cache: str, identity: str) -> tuple[Study, Path]:
    """What the runs say, and its page; both are also written to the study's folder."""
    results = collect(runs.jobs, runs.folder)
    write_atomically(runs.folder / "results.json", to_json(results))
    scores = {name: one.scores for name, one in runs.scored.items()}
    models = {name: run.module.name for (name, _), run in runs.generators.items()}
    everything = marked_everything(runs.data.split("test"))
    generators = of_largest_share(runs.generators)
    left_out, compared = left_out_of(runs.synthetic), compare_with_real(generators, runs.data)
    audits = audits_of(compared, generators, of_largest_share(runs.synthetic), runs.data, cache)
    cautions = [*cautions_of(runs.data), *cautions_of_exports(left_out)]
    answer = analyse(results, scores, models, everything, cautions)
    command = shlex.join(["python", "-m", "src.study", *sys.argv[1:]])
    content = study_page(answer, runs, left_out, compared, audits, settings.same_cases, cache, command)
    page = write_study(content, runs.folder)
    warnings = list(warnings_of(settings.same_cases, runs.scored))
    stated = {**asdict(answer), "warnings": warnings, **facts_of(left_out, compared, audits), "identity": identity}
    write_atomically(runs.folder / ANSWER, json.dumps(stated, indent=1))  # the last: with it the study is finished
    return answer, page


def _load_given(settings: StudySettings, data: ImageData) -> Generators:
    """The generators that were trained before."""
    given = {}
    for path in filter(is_run, settings.generators):
        run = load_generator(Path(path))
        check_generator(path, run, data)
        given[generator_name(path), 1.0] = run
    return given
