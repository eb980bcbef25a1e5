"""Several devices: here, processes on one CPU."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from tests.conftest import ROOT, SMALL, read_json
from tests.test_train import metrics

COMMAND = [sys.executable, "-m", "src.train", *SMALL, "model=pggan", "images=768", "trainer.precision=64-true"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
IN_SLURM = {"SLURM_JOB_NAME": "job", "SLURM_NTASKS": "1"} | dict.fromkeys(
    ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0"
)


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=tmp_path, env=ENVIRONMENT | IN_SLURM, capture_output=True, text=True
    )


def test_a_sweep_over_devices_has_a_folder_per_job_and_two_ranks_equal_one_process(tmp_path):
    """24 steps of WGAN-GP through fade-ins, in which some blocks are not in use yet.

    As a task of SLURM's, to which the processes do not belong. In float64: in float32 rounding alone sooner or later
    takes a LeakyReLU to its other side in one of the two runs.
    """
    done = run(tmp_path, "-m", "trainer.devices=1,2", "name=sweep")
    assert done.returncode == 0, done.stderr
    jobs = sorted(path for path in (tmp_path / "outputs/sweep").iterdir() if path.is_dir())
    assert len(jobs) == 2
    one, two = (torch.load(job / "checkpoints/last.ckpt", weights_only=True) for job in jobs)
    assert one["images"] == two["images"] == 768
    for name, weight in one["state_dict"].items():
        assert torch.allclose(weight, two["state_dict"][name], atol=1e-5), name


def test_a_search_learns_what_a_job_in_several_processes_reached(tmp_path):
    search = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1", "objective=loss_d")
    done = run(tmp_path, *search, "trainer.devices=2", "images=384", "optim.lr=choice(1e-3)", "name=search")
    assert done.returncode == 0, done.stderr
    (summary,) = (tmp_path / "outputs/search").glob("*/summary.json")
    best = yaml.safe_load((tmp_path / "outputs/search/optimization_results.yaml").read_text())
    assert best["best_value"] == read_json(summary)["final"]["loss_d"]


def test_a_job_in_processes_records_what_was_asked_and_no_more(tmp_path):
    asked = ["trainer.devices=2", "images=64", "model.schedule.resolution=4", "name=a"]
    for force in ([], ["force=true"]):
        done = run(tmp_path, *asked, *force)
        assert done.returncode == 0 and "training pggan" in done.stderr, done.stderr
        assert read_json(tmp_path / "outputs/a/overrides.json") == [*COMMAND[3:], *asked, *force]


def test_a_job_that_fails_in_its_processes_says_why(tmp_path):
    done = run(tmp_path, "trainer.devices=2", "phantoms=8")
    assert done.returncode == 2
    assert done.stderr.count("is larger than the data set") == 1


def test_two_ranks_that_go_on_within_a_row_of_the_metrics_log_what_they_do_in_one_go(tmp_path):
    asked = ("model=dcgan", "trainer.devices=2", "trainer.precision=32-true", "batch_size=16", "every.log=48")
    for name, images in (("whole", 128), ("resumed", 64), ("resumed", 128)):
        done = run(tmp_path, *asked, f"images={images}", f"name={name}")
        assert done.returncode == 0, done.stderr
    whole, resumed = (metrics(tmp_path / "outputs" / name) for name in ("whole", "resumed"))
    assert [row[0] for row in whole] == ["images", "48", "96"] and resumed == whole


def test_a_terminated_job_saves_and_leaves_no_process_behind(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "trainer.devices=2", "images=1_000_000", "every.log=64", "every.sample=1_000_000", "name=a"],
        cwd=tmp_path, env=ENVIRONMENT, start_new_session=True, stderr=subprocess.PIPE, text=True,
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


def test_a_dry_run_on_two_devices_prints_one_table_and_leaves_nothing(tmp_path):
    done = run(tmp_path, "trainer.devices=2", "dry_run=true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("hours on this machine") == 1
    assert not list((tmp_path / "outputs").iterdir())
