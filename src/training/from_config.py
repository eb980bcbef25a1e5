"""Makes what a run needs from its configuration."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict
from pytorch_lightning import Callback
from pytorch_lightning.loggers import Logger

from src.core.clock import Stream, derive_seed
from src.core.errors import UserError
from src.core.run_folder import RunFolder
from src.data.base import ImageData
from src.data.mask_channels import join_masks
from src.data.store import Split
from src.training.memory import keep_freed_memory
from src.training.module import ClockedModule


def load_data(cfg: DictConfig) -> tuple[ImageData, Split]:
    """The data, prepared, and what of them is trained on; ``cfg.data`` then says what a model has to know of them."""
    data: ImageData = instantiate(cfg.data)
    data.prepare()
    with open_dict(cfg):
        cfg.data.update(data.description.as_config())
    split = instantiate(cfg.training)(data)
    return data, join_masks(split) if cfg.with_masks else split


def build_module(cfg: DictConfig) -> ClockedModule:
    """The module of ``model=``, with weights that depend on the seed alone.

    Raises UserError also where its penalties do not fit its discriminator or the precision, or where it is given a
    choice that is of another kind of model.
    """
    makes_images = "generator" in cfg.model
    if makes_images and "loss" not in cfg.model:
        raise UserError(f"loss=none leaves model={cfg.model.name} nothing to minimise: choose bce, hinge, wgan_gp, …")
    if cfg.with_masks and not makes_images:
        raise UserError(f"with_masks=true is for generators, and model={cfg.model.name} makes no images: leave it out")
    torch.set_num_threads(cfg.trainer.threads or torch.get_num_threads())
    keep_freed_memory()
    torch.manual_seed(derive_seed(cfg.seed, Stream.INITIALISATION))
    module = instantiate(cfg.model, optimizer=instantiate(cfg.optim), seed=cfg.seed)
    for penalty in getattr(module, "penalties", []):
        penalty.check(module.discriminator, str(cfg.trainer.precision))
    return module


def build_loggers(cfg: DictConfig, folder: RunFolder, settings: dict[str, Any]) -> list[Logger]:
    """The loggers that can be used here, Lightning's own too; a process that does not write the run folder has none."""
    if not folder.writable:
        return []
    made = []
    for name, logger in instantiate(cfg).items():
        if isinstance(logger, partial):
            logger = logger(folder=folder.path, name=folder.path.name, settings=settings)
        if not isinstance(logger, Logger | None):
            raise UserError(f"logger.{name} is no logger of Lightning's but a {type(logger).__name__}")
        made.append(logger)
    return [logger for logger in made if logger is not None]


def build_callbacks(cfg: DictConfig, folder: RunFolder, split: Split) -> list[Callback]:
    """Those of ``callbacks``: of this repository, which are told where they write and what is trained on, and others.

    Raises UserError where one is neither.
    """
    made = []
    for name, callback in instantiate(cfg).items():
        if isinstance(callback, partial):
            callback = callback(folder=folder.samples, split=split)
        if not isinstance(callback, Callback | None):
            raise UserError(f"callbacks.{name} is no callback of Lightning's but a {type(callback).__name__}")
        made.append(callback)
    return [callback for callback in made if callback is not None]
