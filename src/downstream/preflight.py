"""What would fail or mislead at the end of a study, found before its first training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict

from src.core import processes
from src.core.errors import UserError, one_line
from src.data.base import ImageData
from src.data.mask_channels import join_masks, require_masks
from src.data.store import Split
from src.data.stream import BatchStream
from src.data.training_images import take_fraction
from src.downstream.plan import StudySettings
from src.downstream.results import MIXED, SYNTHETIC_THEN_REAL
from src.training.from_config import build_module
from src.training.restore import TrainedRun, learned_from
from src.training.trainer import build_trainer

SYNTHETIC = 1_000  # images of each generator, unless more are needed


def _larger(settings: StudySettings, train: Split) -> str:
    """The shares that have a batch of images, as an override."""
    batch_size = settings.recipes["unet"].batch_size
    kept = [share for share in settings.fractions if min(_images_of(share, train, settings)) >= batch_size]
    return f"say fractions='[{','.join(f'{share:g}' for share in kept)}]', or " if kept else ""


def check_data(data: ImageData, settings: StudySettings) -> None:
    """Raise UserError where ``data``, which is prepared, cannot answer what ``settings`` ask."""
    train = data.split("train")
    require_masks(train)
    if train.store.images.dtype == np.uint16 and data.description.channels > 1:
        raise UserError("colour images of 16 bits cannot be exported: convert them to 8 bits, or say data.channels=1")
    cases = set(data.splits["test"].cases_or_files()) if "test" in data.splits else set()
    if len(cases) < 2:
        raise UserError(
            f"the test split has {len(cases)} case{'s' * (len(cases) != 1)}, and an interval needs two: give it more, "
            "e.g. data.splits='{train: 0.6, val: 0.1, test: 0.3}', or check data.group"
        )
    batch_size = settings.recipes["unet"].batch_size
    for fraction in settings.fractions:
        if (least := min(_images_of(fraction, train, settings))) < batch_size:
            raise UserError(
                f"fractions: {fraction:g} of the training cases are {least} images, fewer than unet.batch_size="
                f"{batch_size}: {_larger(settings, train)}lower unet.batch_size"
            )


def check_trainings(trainings: Mapping[str, DictConfig], data: ImageData, settings: StudySettings) -> None:
    """Make what every kind of training needs, and nothing of it: a setting that fits no network is found here.

    Args:
        trainings: configurations by model: the generators', "classifier" and "unet"; they learn what ``data`` is.

    Raises:
        UserError: with the model whose training cannot be.
    """
    if SYNTHETIC_THEN_REAL in settings.regimes and settings.recipes["unet"].images < 2:
        raise UserError("unet.images=1 cannot be halved, as synthetic_then_real does: raise it")
    smallest = take_fraction(data.split("train"), min(settings.generator_fractions), settings.case_seed(0))
    for model, cfg in trainings.items():
        with open_dict(cfg):
            cfg.data.update(data.description.as_config())
        split = join_masks(smallest) if cfg.with_masks else data.split("train")
        try:
            module = build_module(cfg)
            module.check(split)
            world_size = processes.count(cfg.trainer.devices)
            BatchStream(split, module.schedule, cfg.images, cfg.seed, module.clock, 0, world_size, balance=data.balance)
            build_trainer(cfg.trainer, [])
        except (UserError, HydraException) as problem:
            raise UserError(f"{model}: {one_line(problem)}") from problem


def synthetic_count(asked: int | None, train: Split, settings: StudySettings) -> int:
    """How many images each generator exports.

    Raises:
        UserError: ``asked`` is fewer than the largest ratio takes.
    """
    most = max((count for fraction in settings.fractions for count in _images_of(fraction, train, settings)), default=0)
    ratio = max(settings.ratios, default=0.0) if MIXED in settings.regimes else 0.0
    needed = round(ratio * most)
    if asked is None:
        return max(SYNTHETIC, needed)
    if asked < needed:
        raise UserError(
            f"synthetic={asked}: ratios={list(settings.ratios)} take {needed} synthetic images with {most} real ones: "
            "raise synthetic, or lower ratios"
        )
    return asked


def _images_of(fraction: float, train: Split, settings: StudySettings) -> Iterable[int]:
    """Images of a share of the cases, for every seed."""
    return [len(take_fraction(train, fraction, settings.case_seed(seed))) for seed in range(settings.seeds)]


def check_generator(name: str, run: TrainedRun, data: ImageData) -> None:
    """Raise UserError where images of ``run``, trained elsewhere, do not fit ``data`` or know those it holds out."""
    if not run.settings.get("with_masks"):
        raise UserError(f"{name} makes images without masks: train it with with_masks=true")
    description, own = data.description, run.settings["data"]
    for key, wanted in description.as_config().items():
        if key != "classes" and own.get(key, wanted) != wanted:
            raise UserError(f"{name} makes images of {key}={own[key]}, the study has {key}={wanted}: train one for it")
    learned_from(run).check(data, name)
