"""The trainer of Lightning, with the flags that fit a training on the image clock."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from src.core import environment, processes
from src.core.errors import UserError
from src.training.checkpoint_io import AtomicCheckpointIO
from src.training.strategy import GradientAveragingStrategy

OWN = ("threads", "graph", "data_memory", "jobs_per_device")  # settings of a training that are no flags of the trainer

CLOCK = "the image clock rules how long is trained: set images, and model.schedule"
BY_HAND = "the networks are optimized by hand, once a step"
EVERY = "the image clock rules when: set every.log, every.score and every.checkpoint"
SPLITS = "what is scored is chosen by data.sizes and scores"
REFUSED = {  # flags of Lightning's that cannot hold here, and why
    **dict.fromkeys(("max_epochs", "min_epochs", "max_steps", "min_steps", "fast_dev_run"), CLOCK),
    **dict.fromkeys(("limit_train_batches", "overfit_batches", "reload_dataloaders_every_n_epochs"), CLOCK),
    **dict.fromkeys(("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"), BY_HAND),
    **dict.fromkeys(("val_check_interval", "check_val_every_n_epoch", "log_every_n_steps"), EVERY),
    **dict.fromkeys(("limit_val_batches", "limit_test_batches", "limit_predict_batches"), SPLITS),
    "num_sanity_val_steps": SPLITS,
    "logger": "choose it with logger=",
    "callbacks": "add them with +callbacks.<name>._target_=",
    "enable_checkpointing": "a run always keeps its state: set every.checkpoint and every.keep",
    "enable_progress_bar": "set progress",
    "enable_model_summary": "summary.json counts the parameters",
    "use_distributed_sampler": "the stream of images is divided among the processes already",
    "strategy": "gradients are averaged by src.training.strategy, since a growing network has unused parameters",
    "sync_batchnorm": "batch statistics are those of a process's own share",
    "plugins": "checkpoints are written whole and verified by a plugin of this repository",
    "default_root_dir": "it is the run folder",
    "barebones": "nothing would be written",
    "enable_autolog_hparams": "config.yaml and the loggers have all settings",
    "model_registry": "checkpoints stay in the run folder",
}


def on_gpu(accelerator: str) -> bool:
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def choose_precision(precision: str, accelerator: str) -> Any:
    """What Lightning is to compute in: ``auto`` is bf16-mixed where the accelerator has it."""
    if precision != "auto":
        return precision
    device = "cuda" if on_gpu(accelerator) else "cpu"
    return "bf16-mixed" if environment.has_fast_bfloat16(device) else "32-true"


def check_flags(flags: Mapping[str, Any]) -> None:
    """Raise UserError for one that Lightning's trainer does not have, or that cannot hold here."""
    for name in flags:
        if name in REFUSED:
            raise UserError(f"trainer.{name} cannot be set: {REFUSED[name]}")
        if name not in inspect.signature(Trainer.__init__).parameters:
            raise UserError(f"trainer.{name} is no flag of Lightning's Trainer, nor a setting of a training")


def build_trainer(settings: Mapping[str, Any], callbacks: Sequence[Callback], root: Path | None = None) -> Trainer:
    """A trainer whose one epoch is the whole stream: progress, resume and intervals are on the image clock.

    Its loggers come later, when its run begins.

    Args:
        settings: of ``conf/trainer``; what is not in ``OWN`` is a flag of Lightning's.
        root: where callbacks of Lightning's own put their files.

    Raises:
        UserError: a flag that cannot hold, or values that do not go together here.
    """
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    flags = {name: value for name, value in settings.items() if name not in OWN}
    check_flags(flags)
    flags["precision"] = choose_precision(settings["precision"], settings["accelerator"])
    # The fastest convolutions, which may be others the next time.
    flags.setdefault("benchmark", on_gpu(settings["accelerator"]) and not settings["deterministic"])
    several = processes.world_size(settings) > 1
    try:
        trainer = Trainer(
            **flags,
            strategy=GradientAveragingStrategy() if several else "auto",
            max_epochs=1,
            logger=False,
            callbacks=list(callbacks),
            # Processes are ours (src.core.processes), also within a job of SLURM's, whose tasks are no ranks.
            plugins=[AtomicCheckpointIO(), LightningEnvironment()],
            default_root_dir=root,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, TypeError) as problem:
        asked = ", ".join(f"trainer.{name}={value}" for name, value in flags.items() if value is not None)
        raise UserError(f"{asked}: {problem}") from problem
    trainer._signal_connector.register_signal_handlers = _leave_signals  # type: ignore[method-assign]
    return trainer


def _leave_signals() -> None:
    """The trainer's handler of SIGTERM would talk to the other processes from within; src.core.signals has ours."""
