"""Several devices: here, processes on one CPU."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from tests.conftest import SMALL, Outcome, read_json
from tests.forked import Command
from tests.test_train import metrics

ASKED = (*SMALL, "model=pggan", "images=384", "trainer.precision=64-true")
SHORT = ("images=64", "model.schedule.resolution=4")
IN_SLURM = {"SLURM_JOB_NAME": "job", "SLURM_NTASKS": "1"} | dict.fromkeys(
    ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0"
)


@pytest.fixture
def run(run_train: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """``src.train`` of a small PGGAN; the processes of several devices are of their own, and no tasks of SLURM's."""
    monkeypatch.setattr("src.core.processes.subprocess", SimpleNamespace(Popen=Command))
    for name, value in IN_SLURM.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Outcome:
        outcome = run_train(*ASKED, *arguments)
        assert outcome.status in (0, 2), outcome.err
        return outcome

    return run


def test_a_sweep_over_devices_has_a_folder_per_job_and_two_ranks_equal_one_process(run):
    """12 steps of WGAN-GP through fade-ins, in which some blocks are not in use yet.

    As a task of SLURM's, to which the processes do not belong. In float64: in float32 rounding alone sooner or later
    takes a LeakyReLU to its other side in one of the two runs.
    """
    outcome = run("-m", "trainer.devices=1,2", "name=sweep")
    assert outcome.status == 0, outcome.err
    jobs = sorted(path for path in Path("outputs/sweep").iterdir() if path.is_dir())
    assert len(jobs) == 2
    one, two = (torch.load(job / "checkpoints/last.ckpt", weights_only=True) for job in jobs)
    assert one["images"] == two["images"] == 384
    for name, weight in one["state_dict"].items():
        assert torch.allclose(weight, two["state_dict"][name], atol=1e-5), name


def test_a_search_learns_what_a_job_in_several_processes_reached(run):
    search = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1", "objective=loss_d")
    outcome = run(*search, *SHORT, "trainer.devices=2", "optim.lr=choice(1e-3)", "name=search")
    assert outcome.status == 0, outcome.err
    (summary,) = Path("outputs/search").glob("*/summary.json")
    best = yaml.safe_load(Path("outputs/search/optimization_results.yaml").read_text())
    assert best["best_value"] == read_json(summary)["final"]["loss_d"]


def test_a_job_in_processes_that_replaces_another_records_what_was_asked_and_no_more(run):
    asked = (*SHORT, "name=a")
    assert run(*asked).status == 0
    asked += ("trainer.devices=2", "force=true")
    outcome = run(*asked)
    assert outcome.status == 0 and "training pggan" in outcome.err, outcome.err
    assert read_json(Path("outputs/a/overrides.json")) == [*ASKED, *asked]


def test_a_job_that_fails_in_its_processes_says_why(run):
    outcome = run("trainer.devices=2", "phantoms=8")
    assert outcome.status == 2
    assert outcome.err.count("is larger than the data set") == 1


def test_two_ranks_that_go_on_within_a_row_of_the_metrics_log_what_they_do_in_one_go(run):
    asked = ("model=dcgan", "trainer.devices=2", "trainer.precision=32-true", "batch_size=16", "every.log=48")
    asked += ("images=128", "every.keep=64")
    assert run(*asked, "name=whole").status == 0
    whole, resumed = Path("outputs/whole"), Path("outputs/resumed")
    shutil.copytree(whole, resumed)
    shutil.copy(whole / "checkpoints/000000064.ckpt", resumed / "checkpoints/last.ckpt")
    (resumed / "status.json").write_text('{"state": "running", "images": 64}')
    outcome = run(*asked, "name=resumed")
    assert outcome.status == 0 and "resuming" in outcome.err, outcome.err
    assert [row[0] for row in metrics(whole)] == ["images", "48", "96"] and metrics(resumed) == metrics(whole)


def test_a_terminated_job_saves_and_leaves_no_process_behind(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "src.train", *ASKED, "trainer.devices=2", "images=1_000_000", "every.log=64", "name=a"],
        cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    run = tmp_path / "outputs/a"
    while process.poll() is None and not (run / "metrics.csv").exists():
        time.sleep(0.05)
    process.terminate()
    try:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        status = read_json(run / "status.json")
        assert status["state"] == "interrupted"
        assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["images"] == status["images"] > 0
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_dry_run_on_two_devices_prints_one_table_and_leaves_nothing(run):
    outcome = run("trainer.devices=2", "dry_run=true")
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("hours on this machine") == 1
    assert not list(Path("outputs").iterdir())
