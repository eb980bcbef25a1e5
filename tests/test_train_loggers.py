"""What a training logs beside metrics.csv, and that no logger can stop it."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import read_json


def test_wandb_gets_the_run_offline_under_an_id_that_stays(run_tiny):
    run_tiny("name=a", "images=128", "logger=wandb")
    first = (Path("outputs/a/wandb/id.json")).read_text()
    assert list(Path("outputs/a/wandb").glob("offline-run-*/*.wandb"))
    run_tiny("name=a", "images=256", "logger=wandb")
    assert Path("outputs/a/wandb/id.json").read_text() == first


def test_training_goes_on_with_one_warning_where_wandb_fails(run_tiny, monkeypatch):
    def refuse(**_: object) -> None:
        raise OSError("no space for W&B")

    monkeypatch.setattr("wandb.init", refuse)
    outcome = run_tiny("name=a", "images=128", "logger=wandb")
    assert outcome.status == 0 and outcome.err.count("W&B is off for this run (no space for W&B)") == 1
    assert read_json(Path("outputs/a/status.json"))["state"] == "done"


def test_tensorboard_is_selectable(run_tiny):
    assert run_tiny("name=a", "images=128", "logger=tensorboard").status == 0
    assert list(Path("outputs/a").rglob("events.out.tfevents*"))
