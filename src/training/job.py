"""One training, from its configuration to a finished run folder."""

from __future__ import annotations

import json
import logging
import shlex
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console

from src.core import environment, gpus, processes, scheduler
from src.core.errors import Interrupted, Stopped, UserError, one_line
from src.core.objective import objective_of
from src.core.run_folder import FolderTaken, RunFolder
from src.core.signals import Signals
from src.data.base import ImageData
from src.data.excluded import write_left_out
from src.data.fingerprint import DataRecord
from src.data.provenance import FILE, TrainingRecord
from src.data.store import Split, count_classes, count_splits
from src.data.stream import BatchStream
from src.data.training_images import training_record
from src.pictures.similarity import similarities_in
from src.training import loggers as logging_backends
from src.training.adversarial import AdversarialModule
from src.training.callbacks.checkpoints import Checkpoints
from src.training.callbacks.interruption import Interruption
from src.training.callbacks.progress import ProgressReport
from src.training.callbacks.recorder import Recorder
from src.training.callbacks.score_while_training import Scores
from src.training.checkpoint_io import find_damage
from src.training.divergence import DivergenceMonitor
from src.training.dry_run import PhaseEstimate, as_table, estimate
from src.training.from_config import build_callbacks, build_loggers, build_module, load_data
from src.training.module import ClockedModule
from src.training.scoring import Scorer, check_names
from src.training.trainer import build_trainer

log = logging.getLogger(__name__)

AFTER = {"requeued": "Slurm starts it again: ", "cancelled": "cancelled (scancel): "}  # states of a job of Slurm's


def train(cfg: DictConfig, folder: RunFolder) -> float | None:
    """Train what ``cfg`` describes in ``folder``: begin, go on where it stopped, or say that it is done."""
    with Signals() as signals:
        take_gpu(cfg.trainer)
        data, split = load_data(cfg)
        if cfg.dry_run:
            build_scorer(cfg, data, build_module(cfg))
            print_dry_run(cfg, split)
            return None
        settings = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
        record = DataRecord.of(data, split if cfg.training.synthetic else None)
        if not cfg.force:
            folder.check(settings)
            check_same_data(folder, record)
            if folder.is_finished(cfg.images):
                complete_wandb(cfg.logger, folder)
                return report_finished(folder, settings)
        return fit(cfg, settings, folder, data, record, split, signals)


def take_gpu(trainer: DictConfig) -> None:
    """Where several jobs may run at the same time, use the GPU that has the fewest."""
    alone = HydraConfig.get().mode != RunMode.MULTIRUN or processes.count(trainer.devices) > 1
    if not alone and trainer.accelerator in ("auto", "gpu", "cuda"):
        device = gpus.take(trainer.jobs_per_device, gpus.visible())
        if device is not None:
            log.info(f"on GPU {device}")


def fit(
    cfg: DictConfig,
    settings: dict[str, Any],
    folder: RunFolder,
    data: ImageData,
    record: DataRecord,
    split: Split,
    signals: Signals,
) -> float | None:
    """Make everything, which checks every setting, before ``folder`` changes; then train to the end."""
    module = build_module(cfg)
    module.check(split)
    module.configure_optimizers()
    rank, world_size = processes.rank(), processes.world_size(cfg.trainer)
    stream = BatchStream(
        split, module.schedule, cfg.images, cfg.seed, module.clock, rank, world_size, balance=data.balance
    )
    check_intervals(cfg.every, cfg.images)
    monitor = DivergenceMonitor(cfg.divergence_patience if module.gives_probabilities else None)
    scorer, best = build_scorer(cfg, data, module)
    recorder = Recorder(folder, cfg.every.log, cfg.every.sample, monitor)
    callbacks = [
        recorder,
        ProgressReport(cfg.images, cfg.every.log * 5, recorder, cfg.progress),
        *build_callbacks(cfg.callbacks, folder, split),
        *([Scores(folder, scorer, cfg.every.score, best, cfg.scores.lower)] if scorer else []),
        Interruption(signals),
        # The last one: what is saved has been shown.
        Checkpoints(folder.checkpoints, cfg.every.checkpoint, cfg.every.keep, folder.saved),
    ]
    trainer = build_trainer(cfg.trainer, callbacks, folder.path)
    stream.place(trainer.strategy.root_device, cfg.trainer.data_memory, module.steps_at_once)
    module.graph = cfg.trainer.graph

    folder.begin(settings, list(HydraConfig.get().overrides.task), cfg.force)
    resume_from = None if cfg.force else newest_checkpoint(folder)
    if folder.writable:
        record.write(folder.path)
        write_left_out(folder.path, data.left_out)
        if data.scale is not None:
            data.scale.write(folder.path)
    if folder.writable and isinstance(module, AdversarialModule):
        record_training_images(folder, data, cfg.training, resume_from is not None)
    before = int(folder.status().get("images", 0))
    folder.write_status("running")
    about = {
        "parameters": module.parameter_counts(),
        "environment": environment.describe(str(trainer.precision), trainer.strategy.root_device),
        "git": environment.git_state(),
    }
    trainer.loggers = build_loggers(cfg.logger, folder, {**settings, "data_fingerprint": record.fingerprint, **about})
    with accounted(folder, trainer.loggers, signals):
        log.info(f"{'resuming' if resume_from else 'training'} {cfg.model.name} on {cfg.data.name} in {folder.name}")
        log.info(f"{cfg.data.name}: {count_splits(data.splits)}")
        if data.balance:
            log.info(f"{cfg.data.name}: all classes are shown equally often, {count_classes(split, cfg.data.classes)}")
        try:
            trainer.fit(module, stream, ckpt_path=resume_from, weights_only=True)
        except MisconfigurationException as problem:  # of a callback or a logger that does not fit the others
            raise UserError(str(problem)) from problem
        images = module.clock.images
        if images < cfg.images or signals.received:
            by = signals.source or "a callback, or trainer.max_time"
            state = after_signal(folder, signals.received, progress=images > before)
            folder.write_status(state, f"{AFTER.get(state, '')}stopped by {by}", images)
            next_ = "Slurm starts it again" if state == "requeued" else "the same command goes on from there"
            log.info(f"stopped by {by} after {images:,} images, all saved; {next_}")
            raise Interrupted
        module.to(trainer.strategy.root_device)  # the trainer leaves it on the CPU, where scoring would take far longer
        final = {**recorder.latest, **(scorer.final(module, folder.path) if scorer and folder.writable else {})}
        folder.write_summary(
            {
                "model": cfg.model.name,
                "data": cfg.data.name,
                "data_fingerprint": record.fingerprint,
                "date": datetime.now(UTC).date().isoformat(),
                "images": images,
                **({"left_out": len(data.left_out)} if data.left_out else {}),
                "seconds": round(folder.metrics.seconds(), 1),
                "final": final,
                **({"result": scorer.result} if scorer and scorer.result else {}),
                **({"ssim": similarities_in(folder.samples)} if folder.writable and folder.samples.exists() else {}),
                **about,
            }
        )
        folder.write_status("done", images=images)
    say_result(folder)
    log.info(f"done: {folder.name}: look at {'samples/strip.png and ' if folder.samples.exists() else ''}losses.png")
    return objective_of(final, cfg.objective)


def say_result(folder: RunFolder) -> None:
    """What a finished run came to; of a GAN without scores how it gets some."""
    if result := folder.result():
        log.info(f"result: {result}")
    elif folder.samples.exists():
        log.info(f"result: images, not scored: python -m src.evaluate run={shlex.quote(str(folder.name))} scores them")


@contextmanager
def accounted(folder: RunFolder, loggers: Sequence[Logger], signals: Signals) -> Iterator[None]:
    """Within it a run is made; how it ended is in the folder before the loggers are told of it and closed."""
    try:
        yield
    except Stopped:
        state = after_signal(folder, signals.received, progress=False)
        folder.write_status(state, f"stopped by {signals.source} at once")
        raise
    except Exception as problem:
        with suppress(OSError):
            folder.fail(one_line(problem))
        raise
    finally:
        with signals.noted():  # all is written, and W&B's server may keep this waiting, but not long
            logging_backends.finish(loggers, folder.status(), numbers_of(folder))


def after_signal(folder: RunFolder, number: int | None, progress: bool) -> str:
    """How a job ends that is stopped by a signal and saved; Slurm is told to start it again where that is meant.

    ``progress``: whether it has shown images: one that has not in all its time would be started again forever.
    """
    if not folder.writable:  # the first process speaks for all
        return "interrupted"
    if number in (signal.SIGUSR1, signal.SIGUSR2) and not progress:
        return "interrupted"
    return scheduler.outcome_of(number)


def numbers_of(folder: RunFolder) -> dict[str, Any]:
    """What a finished run ended with, as a logger's summary shows it; nothing of another."""
    if folder.status().get("state") != "done":
        return {}
    numbers: dict[str, Any] = {f"final/{name}": value for name, value in folder.final().items()}
    for row in json.loads((folder.path / "scores.json").read_text()) if (folder.path / "scores.json").exists() else ():
        for name, ends in row["intervals"].items():
            numbers |= {f"final/{name}_{end}": value for end, value in zip(("low", "high"), ends, strict=True)}
    return numbers


def check_same_data(folder: RunFolder, now: DataRecord) -> None:
    """Raise FolderTaken where what was trained in ``folder`` learned from other data."""
    if not (folder.writable and folder.has_trained()):
        return
    before = DataRecord.read(folder.path)
    if before is not None and (what := before.difference(now)):
        raise FolderTaken(
            f"{folder.name} was made from other data ({what}): put them back, choose another folder with "
            "name=<another>, or start anew with force=true"
        )


def newest_checkpoint(folder: RunFolder) -> Path | None:
    """The last state that was saved whole; None where there is none, as of a run that begins.

    Raises:
        FolderTaken: there are only damaged ones.
    """
    last = [folder.last_checkpoint] if folder.last_checkpoint.exists() else []
    kept = sorted(folder.checkpoints.glob("[0-9]*.ckpt"), reverse=True)
    damaged: list[str] = []
    for path in [*last, *kept]:
        if (problem := find_damage(path)) is None:
            if damaged or (kept and not last):
                log.warning(f"{damaged[0] if damaged else 'last.ckpt is gone'}: going on from {path.name}")
            return path
        damaged.append(f"{path.name} is damaged ({problem})")
    if damaged:
        raise FolderTaken(
            f"{folder.name}/checkpoints/{damaged[0]}, and there is no earlier one: restore it, or start anew with "
            "force=true"
        )
    return None


def complete_wandb(loggers: DictConfig, folder: RunFolder) -> None:
    """Give W&B what it lacks of the finished run in ``folder``, whose process was killed while it did that."""
    if not ("wandb" in loggers and folder.held and folder.lacks_wandb_end):
        return
    summary = folder.summary()
    about = ("data_fingerprint", "parameters", "environment", "git")
    settings = folder.settings() | {key: summary[key] for key in about if key in summary}
    made = build_loggers(OmegaConf.masked_copy(loggers, "wandb"), folder, settings)
    logging_backends.catch_up(made, float("inf"))
    logging_backends.finish(made, folder.status(), numbers_of(folder))


def report_finished(folder: RunFolder, settings: Mapping[str, Any]) -> float:
    """Say that there is nothing to do; returns the objective of the run in ``folder``, whose files stay as they are.

    Raises:
        FolderTaken: the run does not have the number that is asked for.
    """
    say_result(folder)
    log.info(f"finished already: {folder.name} (force=true trains it anew)")
    if settings["scores"] != folder.settings()["scores"]:
        log.info(f"it is not scored anew: python -m src.evaluate run={folder.name} does that")
    try:
        return objective_of(folder.final(), settings["objective"])
    except UserError as problem:
        raise FolderTaken(f"{folder.name} is finished, and {problem}; force=true trains it anew") from None


def record_training_images(folder: RunFolder, data: ImageData, training: DictConfig, resumes: bool) -> None:
    """Write down what the generator of this run learns from; one that ``resumes`` also learned from what it saw before.

    Nothing is written where that is not known: of a checkpoint without a record, of synthetic images without one.
    """
    record = training_record(data, training.real_fraction, training.synthetic, training.seed)
    if resumes:
        before = TrainingRecord.read(folder.path)
        record = None if record is None or before is None else record | before
    if record is None:
        (folder.path / FILE).unlink(missing_ok=True)
    else:
        record.write(folder.path)


def check_intervals(every: Mapping[str, int | None], images: int) -> None:
    """Raise UserError where an interval has no image, or is so long that a run of ``images`` would record nothing."""
    for name, interval in every.items():
        if interval is not None and interval < 1:
            raise UserError(f"every.{name}={interval} must be at least 1 (image)")
    if every["log"] is None or every["log"] > images:
        raise UserError(f"every.log would leave metrics.csv empty: set it to images={images} or less")


def build_scorer(cfg: DictConfig, data: ImageData, module: ClockedModule) -> tuple[Scorer | None, str | None]:
    """What the model is scored by, if anything, and the score of its best checkpoint; raises where they do not fit."""
    scorer = instantiate(cfg.scores.scorer)(data=data) if cfg.scores.scorer else None
    best = (scorer and scorer.best) if cfg.scores.best == "auto" else cfg.scores.best
    check_names(best, cfg.objective, module, scorer)
    return scorer, best


def estimate_run(cfg: DictConfig, split: Split) -> list[PhaseEstimate]:
    """Of every phase of the training of ``cfg``."""

    def make_trainer(callbacks: list[Callback]) -> Trainer:
        return build_trainer(cfg.trainer, callbacks)

    module = build_module(cfg)
    module.check(split)
    module.graph = cfg.trainer.graph
    share = cfg.trainer.data_memory
    return list(estimate(module, split, make_trainer, share, processes.rank(), processes.world_size(cfg.trainer)))


def print_dry_run(cfg: DictConfig, split: Split) -> None:
    table = as_table(estimate_run(cfg, split))
    if processes.rank() == 0:
        Console().print(table)
