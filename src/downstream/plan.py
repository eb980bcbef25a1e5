"""Which trainings a study needs, as overrides of ``python -m src.train``.

A job is named by a hash of what it is asked and of the configuration that completes it, and what it builds on is part
of that: so repeating a study finds what is done, and a change anywhere reaches everything that depends on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from src.downstream.results import MIXED, REAL, REGIMES, SYNTHETIC, SYNTHETIC_THEN_REAL
from src.errors import UserError


@dataclass(frozen=True)
class Job:
    """One training: the name of its folder, and its overrides."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class UnetJob:
    """The training of a U-Net, and what its result stands for."""

    job: Job
    regime: str
    generator: str | None
    ratio: float
    fractions: tuple[float, ...]  # where the result counts: a U-Net without real images counts at all of them
    seed: int


@dataclass(frozen=True)
class StudySettings:
    """``conf/study.yaml``, checked. Raises UserError for values out of their range."""

    generators: tuple[str, ...]
    generator: tuple[str, ...]  # overrides of their trainings
    classifier: tuple[str, ...]  # overrides of its training
    per_fraction: bool
    regimes: tuple[str, ...]
    ratios: tuple[float, ...]
    fractions: tuple[float, ...]
    seeds: int
    unet_images: int
    unet: tuple[str, ...]  # overrides of their trainings, but for the images shown
    recipes: Mapping[str, str] = field(default_factory=dict)  # hash of the configuration of a model's trainings

    def __post_init__(self) -> None:
        if unknown := [regime for regime in self.regimes if regime not in REGIMES]:
            raise UserError(f"regimes: {unknown[0]} is none of {', '.join(REGIMES)}")
        if not self.generators:
            raise UserError("generators is empty: name models, e.g. generators=[pggan,enhanced], or run folders")
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise UserError(f"fractions={list(self.fractions)}: each must be above 0, which leaves no image, up to 1")
        if not all(ratio > 0 for ratio in self.ratios):
            raise UserError(f"ratios={list(self.ratios)}: each must be above 0")
        if self.seeds < 1:
            raise UserError(f"seeds={self.seeds} must be at least 1; 3 or more give intervals worth having")

    @property
    def generator_fractions(self) -> tuple[float, ...]:
        """The shares of the training cases on which generators are trained."""
        return self.fractions if self.per_fraction else (1.0,)

    def generator_fraction(self, fraction: float) -> float:
        """The share on which the generator was trained that a U-Net of ``fraction`` gets its images from."""
        return fraction if self.per_fraction else 1.0


def is_run(generator: str) -> bool:
    """Whether a generator is named by its run folder."""
    return "/" in generator


def generator_name(generator: str) -> str:
    return Path(generator).name if is_run(generator) else generator


def generator_job(settings: StudySettings, common: Sequence[str], model: str, fraction: float) -> Job:
    """The training of ``model`` on a share of the training cases."""
    overrides = [
        *common,
        f"model={model}",
        "with_masks=true",
        f"training.real_fraction={fraction:g}",
        *settings.generator,
    ]
    return _job(settings, model, model if fraction == 1 else f"{model}-{fraction:g}", overrides)


def classifier_job(settings: StudySettings, common: Sequence[str]) -> Job:
    """The training of the classifier that scores generators by."""
    return _job(settings, "classifier", "classifier", [*common, "model=classifier", *settings.classifier])


def unet_jobs(
    settings: StudySettings, common: Sequence[str], synthetic: dict[tuple[str, float], Path], folder: Path
) -> Iterator[list[UnetJob]]:
    """All U-Nets, in stages: the later ones start with the weights of earlier ones.

    Args:
        synthetic: the exported images by generator's name and share of the training cases it was trained on.
        folder: where the jobs' run folders are.
    """
    first, second = [], []
    for seed in range(settings.seeds):
        for fraction in settings.fractions:
            job = _unet(settings, common, "real", seed, fraction, settings.unet_images)
            first.append(UnetJob(job, REAL, None, 0.0, (fraction,), seed))
        for (name, trained_on), images in synthetic.items():
            served = tuple(f for f in settings.fractions if settings.generator_fraction(f) == trained_on)
            tag = name if trained_on == 1 else f"{name}-{trained_on:g}"
            if SYNTHETIC in settings.regimes:
                job = _unet(settings, common, f"synthetic-{tag}", seed, 0, settings.unet_images, images)
                first.append(UnetJob(job, SYNTHETIC, name, 0.0, served, seed))
            if MIXED in settings.regimes:
                for ratio in settings.ratios:
                    for fraction in served:
                        stem = f"mixed-{ratio:g}-{tag}"
                        job = _unet(settings, common, stem, seed, fraction, settings.unet_images, images, ratio)
                        first.append(UnetJob(job, MIXED, name, ratio, (fraction,), seed))
            if SYNTHETIC_THEN_REAL in settings.regimes:
                half = settings.unet_images // 2
                before = _unet(settings, common, f"pretrain-{tag}", seed, 0, half, images)
                first.append(UnetJob(before, "", name, 0.0, (), seed))
                for fraction in served:
                    stem = f"finetune-{tag}"
                    job = _unet(settings, common, stem, seed, fraction, half, initial=folder / before.name)
                    second.append(UnetJob(job, SYNTHETIC_THEN_REAL, name, 0.0, (fraction,), seed))
    yield first
    yield second


def _unet(
    settings: StudySettings,
    common: Sequence[str],
    stem: str,
    seed: int,
    fraction: float,
    images: int,
    synthetic: Path | None = None,
    ratio: float | None = None,
    initial: Path | None = None,
) -> Job:
    overrides = [
        *common,
        "model=unet",
        f"images={images}",
        f"seed={seed}",
        f"training.seed={seed}",
        f"training.real_fraction={fraction:g}",
        *_rarely(images),
        *([f"training.synthetic='{synthetic}'"] if synthetic else []),
        *([f"training.ratio={ratio:g}"] if ratio is not None else []),
        *([f"model.initial='{initial}'"] if initial else []),
        *settings.unet,
    ]
    return _job(settings, "unet", f"{stem}-{fraction:g}-seed{seed}" if fraction else f"{stem}-seed{seed}", overrides)


def _rarely(images: int) -> list[str]:
    """A study reads the end of a U-Net's training alone: what is written on the way should cost little."""
    log, checkpoint = max(1, images // 50), max(1, images // 4)
    return [f"every.log={log}", f"every.score={images}", f"every.checkpoint={checkpoint}", "every.keep=null"]


def _job(settings: StudySettings, model: str, stem: str, overrides: Sequence[str]) -> Job:
    digest = hashlib.sha256("\n".join([settings.recipes.get(model, ""), *overrides]).encode()).hexdigest()[:8]
    return Job(f"{stem}-{digest}", tuple(overrides))
