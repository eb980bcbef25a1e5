from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Trainer

from src.core.errors import UserError
from src.training.trainer import REFUSED, check_flags
from tests.conftest import SMALL, read_json

STOCK = "pytorch_lightning.callbacks"


def test_a_flag_that_cannot_hold_or_does_not_exist_is_refused_by_name() -> None:
    for name in [*REFUSED, "no_such_flag"]:
        with pytest.raises(UserError, match=rf"^trainer\.{name} "):
            check_flags({"devices": 1, name: 1})
    check_flags({"devices": 1, "profiler": "simple", "max_time": "00:01:00:00", "detect_anomaly": True})


def test_what_is_refused_are_flags_of_lightnings() -> None:
    assert REFUSED.keys() <= inspect.signature(Trainer.__init__).parameters.keys()


def test_callbacks_and_loggers_of_lightnings_own_work_from_the_command_line(run_tiny: Any) -> None:
    outcome = run_tiny(
        "name=a", "images=512",
        f"+callbacks.lr._target_={STOCK}.LearningRateMonitor",
        f"+callbacks.best._target_={STOCK}.ModelCheckpoint", "+callbacks.best.monitor=loss_g",
        "+callbacks.best.every_n_train_steps=4",
        "+logger.table._target_=pytorch_lightning.loggers.CSVLogger", "+logger.table.save_dir=lightning",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    (table,) = Path("lightning").rglob("metrics.csv")
    assert "loss_g" in table.read_text()
    assert list(Path("lightning").rglob("epoch=*.ckpt"))  # which Lightning puts beside the first logger's files


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("+callbacks.a._target_=torch.nn.ReLU", "callbacks.a is no callback of Lightning's but a ReLU"),
        ("+logger.a._target_=torch.nn.ReLU", "logger.a is no logger of Lightning's but a ReLU"),
        (f"+callbacks.a._target_={STOCK}.LearningRateMonitor", "has no logger"),
        ("+trainer.gradient_clip_val=1", "trainer.gradient_clip_val cannot be set: the networks are optimized by hand"),
    ],
)
def test_what_does_not_fit_is_one_line(run_tiny: Any, asked: str, message: str) -> None:
    outcome = run_tiny("name=a", "images=64", asked)
    assert outcome.status == 2 and message in outcome.error


def test_a_training_that_a_callback_ends_is_not_done(run_tiny: Any) -> None:
    outcome = run_tiny("name=a", "images=1_000_000", "+trainer.max_time=00:00:00:01")
    assert outcome.status == 130
    status = read_json(Path("outputs/a/status.json"))
    assert status["state"] == "interrupted" and status["reason"] == "stopped by a callback, or trainer.max_time"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("model=dcgan", "scores=validation"), "scores=validation is for classifiers, U-Nets and detectors; dcgan has"),
        (
            ("model=unet", "scores=generator", "scores.allow_small=true"),
            "scores=generator is for generators; unet",
        ),
        (("model=unet", "with_masks=true"), "with_masks=true is for generators, and model=unet makes no images"),
        (("model=dcgan", "loss=none"), "loss=none leaves model=dcgan nothing to minimise"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_is_of_another_kind_of_model_is_refused_before_anything_is_trained(
    run_train: Any, asked: tuple[str, ...], message: str, dry_run: bool
) -> None:
    outcome = run_train(*SMALL, *asked, "name=a", "images=64", f"dry_run={str(dry_run).lower()}")
    assert outcome.status == 2 and message in outcome.error and not Path("outputs/a/checkpoints").exists()
