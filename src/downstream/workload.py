"""How many trainings a study needs, and how long they take on this machine: a few steps of each kind tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rich.table import Table

from src.downstream.asked import CLASSIFIER, UNET, compose
from src.downstream.plan import Recipe, StudySettings, generator_name, is_run, unet_jobs
from src.training.from_config import load_data
from src.training.job import estimate_run


@dataclass(frozen=True)
class Work:
    """The trainings of one kind."""

    kind: str
    trainings: int
    images: int  # shown, in all of them
    seconds: float  # for all of them, one after the other


def workload(settings: StudySettings, classifier: bool) -> list[Work]:
    """What a study that has nothing yet would train; scoring and exports come on top.

    Args:
        classifier: whether the generators are scored by one.
    """
    found = []
    shares = len(settings.generator_fractions)
    for model in settings.generators:
        if not is_run(model):
            found.append(_work(model, settings.recipes[model], [settings.recipes[model].images] * shares))
    if classifier:
        found.append(_work(CLASSIFIER, settings.recipes[CLASSIFIER], [settings.recipes[CLASSIFIER].images]))
    exports = {
        (generator_name(name), share): Path(f"{generator_name(name)}-{share:g}")
        for name in settings.generators
        for share in settings.generator_fractions
    }
    jobs = {unet.job.name: unet.job for stage in unet_jobs(settings, exports, Path()) for unet in stage}
    found.append(_work("U-Nets", settings.recipes[UNET], [job.images for job in jobs.values()]))
    return found


def _work(kind: str, recipe: Recipe, images: Sequence[int]) -> Work:
    cfg = compose(recipe)
    _, split = load_data(cfg)
    seconds = sum(phase.seconds for phase in estimate_run(cfg, split))  # of recipe.images
    return Work(kind, len(images), sum(images), seconds * sum(images) / recipe.images)


def as_table(works: Sequence[Work]) -> Table:
    table = Table(title="trainings")
    for name in ("kind", "trainings", "images", "hours"):
        table.add_column(name, justify="right")
    for work in works:
        table.add_row(work.kind, f"{work.trainings:,}", f"{work.images:,}", _hours(work.seconds))
    total = sum(work.seconds for work in works)
    table.caption = f"{_hours(total)} hours on this machine, one after the other; what is done already is skipped"
    return table


def _hours(seconds: float) -> str:
    """As 0:06:12."""
    return str(timedelta(seconds=round(seconds)))
