"""Makes what a run needs from its configuration."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from src import environment, processes
from src.clock import Stream, derive_seed
from src.data.base import ImageData
from src.data.joint import join_masks
from src.data.store import Split
from src.errors import UserError
from src.run_folder import RunFolder
from src.training.checkpoint_io import AtomicCheckpointIO
from src.training.memory import keep_freed_memory
from src.training.module import ClockedModule
from src.training.strategy import GradientAveragingStrategy


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

    Raises UserError also where its penalties do not fit its discriminator or the precision.
    """
    torch.set_num_threads(cfg.trainer.threads or torch.get_num_threads())
    keep_freed_memory()
    torch.manual_seed(derive_seed(cfg.seed, Stream.INITIALISATION))
    module = instantiate(cfg.model, optimizer=instantiate(cfg.optim), seed=cfg.seed)
    for penalty in getattr(module, "penalties", []):
        penalty.check(module.discriminator, str(cfg.trainer.precision))
    return module


def build_loggers(cfg: DictConfig, folder: RunFolder, settings: dict[str, Any]) -> list[Logger]:
    """The loggers that can be used here; a process that does not write the run folder has none."""
    if not folder.writable:
        return []
    made = [
        instantiate(logger)(folder=folder.path, name=folder.path.name, settings=settings) for logger in cfg.values()
    ]
    return [logger for logger in made if logger is not None]


def choose_precision(cfg: DictConfig) -> Any:
    """What Lightning is to compute in: ``auto`` is bf16-mixed where the accelerator has it."""
    if cfg.precision != "auto":
        return cfg.precision
    return "bf16-mixed" if environment.has_fast_bfloat16("cuda" if _on_gpu(cfg) else "cpu") else "32-true"


def _on_gpu(cfg: DictConfig) -> bool:
    return cfg.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def build_trainer(cfg: DictConfig, callbacks: list) -> Trainer:
    """A trainer whose one epoch is the whole stream: progress, resume and intervals are on the image clock.

    Its loggers come later, when its run begins.
    """
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    on_gpu = _on_gpu(cfg)
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    precision = choose_precision(cfg)
    try:
        return Trainer(
            accelerator=cfg.accelerator,
            devices=cfg.devices,
            strategy=GradientAveragingStrategy() if processes.count(cfg.devices) > 1 else "auto",
            precision=precision,
            deterministic=cfg.deterministic,
            benchmark=on_gpu and not cfg.deterministic,  # the fastest convolutions, which may be others the next time
            max_epochs=1,
            logger=False,
            callbacks=callbacks,
            # Processes are ours (src.processes), also within a job of SLURM's, whose tasks are no ranks.
            plugins=[AtomicCheckpointIO(), LightningEnvironment()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, TypeError) as problem:
        asked = f"trainer.accelerator={cfg.accelerator}, trainer.devices={cfg.devices}, trainer.precision={precision}"
        raise UserError(f"{asked}: {problem}") from problem
