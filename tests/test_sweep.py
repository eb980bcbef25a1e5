"""Sweeps: every combination, jobs in processes, and a sweeper that searches."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import yaml

from src.core.run_folder import RunFolder
from tests.conftest import TINY, TRAIN, read_json


def test_a_sweep_runs_every_combination_and_one_failure_stops_no_other(run_tiny):
    arguments = ("-m", "model=dcgan,dcgan_transposed", "batch_size=32,1000", "images=128", "name=sweep")
    outcome = run_tiny(*arguments)
    assert outcome.status == 2 and outcome.err.count("Launching 1 jobs") == 4  # the first waits for no other's settings
    jobs = {p.name: read_json(p / "status.json") for p in Path("outputs/sweep").iterdir() if p.is_dir()}
    assert len(jobs) == 4
    for name, status in jobs.items():
        if "batch_size=1000" in name:
            assert status["state"] == "failed" and "batch_size=1000" in status["reason"]
            assert f"failed: outputs/sweep/{name}: batch_size=1000" in outcome.err
        else:
            assert status["state"] == "done"
    page = Path("outputs/sweep/compare.html").read_text()
    assert "dcgan_transposed" in page and "is larger than the data set" in page
    assert Path("outputs/sweep/compare.png").stat().st_size > 10_000

    done = next(p for p in Path("outputs/sweep").iterdir() if p.is_dir() and "batch_size=1000" not in p.name)
    before = (done / "metrics.csv").stat().st_mtime_ns
    assert run_tiny(*arguments).err.count("finished already") == 2
    assert (done / "metrics.csv").stat().st_mtime_ns == before


def test_jobs_in_processes_of_their_own_end_in_the_same_page_and_say_why_they_failed_or_were_not_let_in(tmp_path):
    taken = RunFolder(tmp_path / "outputs/sweep/job0")
    taken.lock()
    sweep = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.subdir=job${hydra.job.num}")
    command = [*TRAIN, *TINY, *sweep, "batch_size=16,32,1000", "images=64", "name=sweep"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("failed: outputs/sweep/") == 2, done.stderr
    assert "failed: outputs/sweep/job0: outputs/sweep/job0 is in use" in done.stderr
    assert "failed: outputs/sweep/job2: batch_size=1000 is larger" in done.stderr
    assert read_json(tmp_path / "outputs/sweep/job1/status.json")["state"] == "done"
    assert (tmp_path / "outputs/sweep/compare.html").exists()
    assert [path.name for path in taken.path.iterdir()] == [".lock"]
    jobs = {path.name for path in (tmp_path / "outputs/sweep").iterdir() if "compare" not in path.name}
    assert jobs == {"job0", "job1", "job2", "multirun.yaml"}
    taken.leave()


def test_optuna_searches_an_interval_by_a_score_and_is_told_of_failed_jobs(run_tiny):
    sweep = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", "images=64")
    search = (*sweep, "hydra.sweeper.direction=maximize", "objective=d_real")
    outcome = run_tiny(*search, "optim.lr=interval(1e-4,1e-3)", "name=search")
    assert outcome.status == 0, outcome.err
    reached = [read_json(path)["final"]["d_real"] for path in Path("outputs/search").glob("*/summary.json")]
    best = yaml.safe_load(Path("outputs/search/optimization_results.yaml").read_text())
    assert len(reached) == 2 and best["best_value"] == max(reached) > min(reached)
    assert 1e-4 < best["best_params"]["optim.lr"] < 1e-3
    assert Path("outputs/search/compare.html").exists()

    # The same trials again, as after Ctrl-C: what is done already still tells what it reached.
    seeded = ("hydra.sweeper.n_trials=1", "hydra.sweeper.sampler.seed=1", "name=twice", "optim.lr=choice(1e-4)")
    for _ in range(2):
        outcome = run_tiny(*search, *seeded)
        assert outcome.status == 0, outcome.err
        assert yaml.safe_load(Path("outputs/twice/optimization_results.yaml").read_text())["best_value"] > 0

    outcome = run_tiny(*search, "batch_size=int(interval(1000,2000))", "name=hopeless")
    assert outcome.status == 2 and "Traceback" not in outcome.err
    assert outcome.err.count("failed: outputs/hopeless/") == 2


def test_a_training_leaves_neither_files_nor_handlers_to_the_next(run_tiny):
    files, handlers = [], []
    for seed in range(3):
        assert run_tiny("name=sweep", "-m", f"seed={seed}", "images=32", "samples=4", "every.keep=null").status == 0
        files.append(len(os.listdir("/dev/fd")))
        handlers.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)])
    assert files[0] == files[1] == files[2]
    assert handlers[2] == handlers[0] == [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]
