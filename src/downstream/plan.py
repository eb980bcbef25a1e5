"""Which trainings a study needs, as overrides of ``python -m src.train``.

A job is named by a hash of what decides its training: its configuration, its data, and what it builds on. So
repeating a study finds what is done, wherever it lies by now, and a change reaches everything that depends on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from src.core.errors import UserError
from src.downstream.results import MIXED, REAL, REGIMES, SYNTHETIC, SYNTHETIC_THEN_REAL, UNAUGMENTED, WITH_SYNTHETIC


@dataclass(frozen=True)
class Job:
    """One training: its folder below that of the study, and its overrides."""

    name: str
    overrides: tuple[str, ...]
    images: int  # shown


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
class Recipe:
    """How all trainings of one model are done."""

    overrides: tuple[str, ...]
    images: int  # shown, in a training that goes in one
    batch_size: int
    digest: str  # of the configuration that the overrides compose


@dataclass(frozen=True)
class StudySettings:
    """``conf/study.yaml``, checked. Raises UserError for values out of their range."""

    generators: tuple[str, ...]
    per_fraction: bool
    regimes: tuple[str, ...]
    ratios: tuple[float, ...]
    fractions: tuple[float, ...]
    seeds: int
    recipes: Mapping[str, Recipe]  # by model: the generators', "classifier" and "unet"

    @property
    def same_cases(self) -> bool:
        """Whether generators learned from the training cases that the U-Net beside them gets, and from no others."""
        return self.per_fraction or min(self.fractions) == 1

    def __post_init__(self) -> None:
        if unknown := [regime for regime in self.regimes if regime not in REGIMES]:
            raise UserError(f"regimes: {unknown[0]} is none of {', '.join(REGIMES)}")
        if not self.generators:
            raise UserError("generators is empty: name models, e.g. generators=[pggan,enhanced], or run folders")
        names = [generator_name(generator) for generator in self.generators]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"generators: two are named {twice[0]}: give the folder of one another name")
        if self.per_fraction and (runs := [generator for generator in self.generators if is_run(generator)]):
            raise UserError(f"generator_per_fraction=true trains one for every share, and {runs[0]} is trained already")
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise UserError(f"fractions={list(self.fractions)}: each must be above 0, which leaves no image, up to 1")
        if not all(ratio > 0 for ratio in self.ratios):
            raise UserError(f"ratios={list(self.ratios)}: each must be above 0")
        if self.seeds < 1:
            raise UserError(f"seeds={self.seeds} must be at least 1; a verdict needs 2, and 5 tell more")

    def on(self, data: str) -> StudySettings:
        """The same study of data with this fingerprint, which every name of a job then depends on."""
        recipes = {
            kind: replace(recipe, digest=hashlib.sha256(f"{recipe.digest} {data}".encode()).hexdigest())
            for kind, recipe in self.recipes.items()
        }
        return replace(self, recipes=recipes)

    @property
    def generator_fractions(self) -> tuple[float, ...]:
        """The shares of the training cases on which generators are trained."""
        return self.fractions if self.per_fraction else (1.0,)

    @property
    def arms(self) -> int:
        """With synthetic images, at one share of the real ones."""
        ways = sum(len(self.ratios) if regime == MIXED else 1 for regime in self.regimes if regime in WITH_SYNTHETIC)
        return ways * len(self.generators)

    def generator_fraction(self, fraction: float) -> float:
        """The share on which the generator was trained that a U-Net of ``fraction`` gets its images from."""
        return fraction if self.per_fraction else 1.0

    def case_seed(self, seed: int) -> int:
        """What the cases of a share are drawn with: for every U-Net anew, unless they are those of a generator."""
        return 0 if self.per_fraction else seed


def is_run(generator: str) -> bool:
    """Whether a generator is named by its run folder."""
    return "/" in generator


def generator_name(generator: str) -> str:
    return Path(generator).name if is_run(generator) else generator


def generator_job(settings: StudySettings, model: str, fraction: float) -> Job:
    """The training of ``model`` on a share of the training cases."""
    tag = model if fraction == 1 else f"{model}-{fraction:g}"
    return _job(f"generators/{tag}", settings.recipes[model], None, [f"training.real_fraction={fraction:g}"])


def classifier_job(settings: StudySettings) -> Job:
    """The training of the classifier that scores generators by."""
    return _job("classifier/classifier", settings.recipes["classifier"], None, [])


def unet_jobs(
    settings: StudySettings, synthetic: Mapping[tuple[str, float], Path], folder: Path
) -> Iterator[list[UnetJob]]:
    """All U-Nets, in stages: the later ones start with the weights of earlier ones.

    Args:
        synthetic: folders of exported images, named by what is in them, by generator's name and share of the training
            cases it was trained on.
        folder: that of the study.
    """
    whole = settings.recipes["unet"].images
    first, second = [], []
    for seed in range(settings.seeds):
        for fraction in settings.fractions:
            for regime in (REAL, UNAUGMENTED):
                job = _unet(settings, regime, seed, fraction, whole, augmented=regime == REAL)
                first.append(UnetJob(job, regime, None, 0.0, (fraction,), seed))
        for (name, trained_on), images in synthetic.items():
            served = tuple(f for f in settings.fractions if settings.generator_fraction(f) == trained_on)
            tag = name if trained_on == 1 else f"{name}-{trained_on:g}"
            if SYNTHETIC in settings.regimes:
                job = _unet(settings, f"synthetic-{tag}", seed, 0, whole, images)
                first.append(UnetJob(job, SYNTHETIC, name, 0.0, served, seed))
            if MIXED in settings.regimes:
                for ratio in settings.ratios:
                    for fraction in served:
                        job = _unet(settings, f"mixed-{ratio:g}-{tag}", seed, fraction, whole, images, ratio)
                        first.append(UnetJob(job, MIXED, name, ratio, (fraction,), seed))
            if SYNTHETIC_THEN_REAL in settings.regimes:
                half = whole // 2
                before = _unet(settings, f"pretrain-{tag}", seed, 0, half, images)
                first.append(UnetJob(before, "", name, 0.0, (), seed))
                for fraction in served:
                    job = _unet(settings, f"finetune-{tag}", seed, fraction, half, initial=folder / before.name)
                    second.append(UnetJob(job, SYNTHETIC_THEN_REAL, name, 0.0, (fraction,), seed))
    yield first
    yield second


def _unet(
    settings: StudySettings,
    stem: str,
    seed: int,
    fraction: float,
    images: int,
    synthetic: Path | None = None,
    ratio: float | None = None,
    initial: Path | None = None,
    augmented: bool = True,
) -> Job:
    decisive = [
        f"images={images}",
        f"seed={seed}",
        f"training.seed={settings.case_seed(seed)}",
        f"training.real_fraction={fraction:g}",
        *([f"training.ratio={ratio:g}"] if ratio is not None else []),
        *([] if augmented else ["model.augmentation=null"]),
    ]
    sources = {key: path for key, path in (("training.synthetic", synthetic), ("model.initial", initial)) if path}
    stem = f"unets/{stem}-{fraction:g}-seed{seed}" if fraction else f"unets/{stem}-seed{seed}"
    return _job(stem, settings.recipes["unet"], images, decisive, sources, _rarely(images))


def _rarely(images: int) -> list[str]:
    """A study reads the end of a U-Net's training alone: what is written on the way should cost little."""
    log, checkpoint = max(1, images // 50), max(1, images // 4)
    return [f"every.log={log}", f"every.score={images}", f"every.checkpoint={checkpoint}", "every.keep=null"]


def _job(
    stem: str,
    recipe: Recipe,
    images: int | None,
    decisive: Sequence[str],
    sources: Mapping[str, Path] | None = None,
    defaults: Sequence[str] = (),
) -> Job:
    """A job of ``recipe``.

    Args:
        images: shown; None: as the recipe says.
        decisive: overrides that decide what is trained.
        sources: settings that are folders; their names stand for their content, wherever they lie.
        defaults: overrides that decide nothing, unless the recipe has others.
    """
    sources = sources or {}
    decides = [recipe.digest, *decisive, *(f"{key}={path.name}" for key, path in sources.items())]
    digest = hashlib.sha256("\n".join(decides).encode()).hexdigest()[:8]
    places = [f"{key}='{path}'" for key, path in sources.items()]
    return Job(f"{stem}-{digest}", (*defaults, *recipe.overrides, *decisive, *places), images or recipe.images)
