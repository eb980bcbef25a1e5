"""The study's own record in W&B and TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.downstream.analysis import Study, analyse
from src.downstream.verdict_log import record
from src.release.left_out import LeftOut
from src.training.loggers import finish, tensorboard_logger, wandb_logger
from tests.downstream.test_analysis import jobs


@pytest.fixture
def study() -> Study:
    return analyse([*jobs("real"), *jobs("mixed", "enhanced", 0.02, ratio=0.5)])


def test_wandb_gets_the_verdict_every_arm_and_the_page(tmp_path, study):
    page = tmp_path / "study.html"
    page.write_text("<p>the page</p>")
    logger = wandb_logger(tmp_path, "study", {}, "offline", "gan-augmentation", "group", "study", [])
    assert logger is not None
    left_out = {"enhanced": LeftOut(90, {"copy": 10})}
    record(study, page, [logger], {"enhanced": {"fid": (30.0, 28.0, 33.0)}}, left_out)
    summary = dict(logger.experiment.summary)
    assert [summary[f"generators/enhanced/fid{end}"] for end in ("", "/low", "/high")] == [30.0, 28.0, 33.0]
    arm = study.arms[2]
    assert [summary[f"dice/mixed 1:2 · enhanced/25%/{end}"] for end in ("low", "high")] == pytest.approx(arm.interval)
    assert summary["verdict"] == study.verdict
    assert summary["dice/mixed 1:2 · enhanced/25%"] == pytest.approx(study.arms[2].mean)
    assert {"dice/real/25%", "dice/real/100%", "dice/mixed 1:2 · enhanced/100%"} < summary.keys()
    finish([logger])
    (kept,) = tmp_path.glob("wandb/offline-run-*/files/media/html/study*.html")
    assert kept.read_text() == page.read_text()
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/table/arms*"))
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/exports*")
    assert json.loads(table.read_text())["data"] == [["enhanced", 90, 10]]


def test_tensorboard_gets_the_verdict_and_every_arm(tmp_path, study):
    logger = tensorboard_logger(tmp_path, "study", {})
    assert logger is not None
    record(study, tmp_path / "study.html", [logger])
    finish([logger])
    events = EventAccumulator(str(next(tmp_path.rglob("events.out.tfevents*")).parent)).Reload()
    assert "dice/real/100%" in events.Tags()["scalars"]
    assert "verdict/text_summary" in events.Tags()["tensors"]


def test_a_logger_that_fails_costs_a_warning_and_no_study(tmp_path, study, caplog, monkeypatch):
    logger = tensorboard_logger(tmp_path, "study", {})
    assert logger is not None
    monkeypatch.setattr(logger, "log_metrics", None)
    record(study, Path("absent.html"), [logger])
    assert "no record of the study" in caplog.text
