"""A study's exports and scores as jobs of a queue, like its trainings: its command may run on a login node.

What such a job is to do is in a file, ``<study>/exports/<job>.json`` or ``scores/<job>.json``; how it ended, as of any
job, in the ``status.json`` of the folder beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from src.command_line.launch import run_job
from src.core import environment
from src.core.atomic import write_atomically
from src.core.identity import digest
from src.core.run_folder import RunFolder
from src.data.base import ImageData
from src.downstream.exports import export
from src.downstream.generator_scores import ScoredGenerator, score_generators
from src.downstream.jobs import Launcher, run_jobs
from src.downstream.plan import Job, Recipe
from src.scoring.passport import Passport
from src.training.restore import TrainedRun, load_generator

ALONE = ("trainer.devices=1", "trainer.num_nodes=1")  # whatever the trainings take
SCORES = "generator_scores.json"


def export_in_queue(
    generators: Mapping[tuple[str, float], TrainedRun],
    count: int,
    reject: bool,
    recipe: Recipe,
    folder: Path,
    launcher: Launcher,
) -> None:
    """Make the exports of a study, each in a job; ``recipe`` says what the data are."""
    asked = [
        {"run": str(run.folder.absolute()), "name": name, "count": count, "reject": reject, "weights": run.digest()}
        for (name, _), run in generators.items()
    ]
    jobs = [_job("exports", str(one["name"]), one, recipe, folder) for one in asked]
    run_jobs(jobs, folder, launcher, export_job)


def score_in_queue(
    generators: Mapping[str, TrainedRun],
    classifier: Path | None,
    count: int,
    recipe: Recipe,
    folder: Path,
    launcher: Launcher,
) -> dict[str, ScoredGenerator]:
    """As ``score_generators``, in a job."""
    asked = {
        "runs": {name: str(run.folder.absolute()) for name, run in generators.items()},
        "weights": [run.digest() for run in generators.values()],
        "classifier": None if classifier is None else str(classifier.absolute()),
        "count": count,
    }
    job = _job("scores", "generators", asked, recipe, folder)
    run_jobs([job], folder, launcher, score_job)
    path = folder / job.name / SCORES
    return {
        name: ScoredGenerator(
            {score: (value, low, high) for score, (value, low, high) in one["scores"].items()},
            Passport.from_dict(one["passport"], str(path)),
            one["better_than_real"],
            {
                title: {score: tuple(ends) for score, ends in floor.items()}
                for title, floor in one.get("floors", {}).items()
            },
        )
        for name, one in json.loads(path.read_text()).items()
    }


def _job(kind: str, name: str, asked: Mapping[str, Any], recipe: Recipe, folder: Path) -> Job:
    place = f"{kind}/{name}-{digest({**asked, 'recipe': recipe.digest})[:8]}"
    spec = (folder / f"{place}.json").absolute()
    spec.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(spec, json.dumps(asked, indent=1))
    return Job(place, (*recipe.overrides, *ALONE, f"+asked='{spec}'"), 0)


def export_job(cfg: DictConfig) -> float | None:
    """What a launcher runs."""
    return run_job(_export, cfg, {})


def score_job(cfg: DictConfig) -> float | None:
    """What a launcher runs."""
    return run_job(_score, cfg, {})


def _export(cfg: DictConfig, folder: RunFolder) -> None:
    data, asked = _begin(cfg)
    run = _generator(cfg, asked["run"])
    export(run, asked["name"], asked["count"], data, asked["reject"], Path(cfg.asked).parents[1])
    folder.write_status("done")


def _score(cfg: DictConfig, folder: RunFolder) -> None:
    data, asked = _begin(cfg)
    generators = {name: _generator(cfg, path) for name, path in asked["runs"].items()}
    classifier = asked["classifier"] and Path(asked["classifier"])
    scored = score_generators(generators, data, classifier, asked["count"], cfg.paths.cache)
    told = {
        name: {
            "scores": dict(one.scores),
            "passport": one.passport.as_dict(),
            "better_than_real": list(one.better_than_real),
            "floors": one.floors,
        }
        for name, one in scored.items()
    }
    write_atomically(folder.path / SCORES, json.dumps(told, indent=1))
    folder.write_status("done")


def _begin(cfg: DictConfig) -> tuple[ImageData, dict[str, Any]]:
    data: ImageData = instantiate(cfg.data)
    data.prepare()
    return data, json.loads(Path(cfg.asked).read_text())


def _generator(cfg: DictConfig, path: str) -> TrainedRun:
    run = load_generator(Path(path))
    run.module.to(environment.device("cpu" if cfg.trainer.accelerator == "cpu" else "auto"))
    return run
