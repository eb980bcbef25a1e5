"""Sweeps in Slurm's queue: preempted, cut off, cancelled, refused, started twice – and no exit 0 without the runs."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.cluster.slurm import Cluster

SUBDIR = "hydra.sweep.subdir=job${hydra.job.num}"
LONG = ("images=200_000", "every.log=64", "every.checkpoint=100_000", SUBDIR)


@pytest.mark.slurm(quick=True)
def test_what_slurm_refuses_is_one_line_and_leaves_no_job(login, cluster):
    for asked, said in (
        ("hydra.launcher.partition=nope", "Invalid partition name"),
        ("hydra.launcher.mem_gb=4000", "Memory specification can not be satisfied"),
        ("hydra.launcher.tasks_per_node=2", "tasks_per_node=2 starts 2 processes of a job, and trainer.devices=1"),
    ):
        status, err = login.run("-m", "seed=1", "images=64", "name=sweep", asked)
        assert status == 2 and said in err and err.strip().count("\n") == 0, err
    assert not cluster.jobs()


@pytest.mark.slurm(quick=True)
def test_a_sweep_with_a_failing_job_ends_in_its_page_and_a_repeat_queues_what_is_not_done(login):
    sweep = ("-m", "batch_size=32,1000", "images=64", "name=sweep", SUBDIR)
    for queued in (2, 1):
        status, err = login.run(*sweep)
        assert status == 2 and err.count("queued: outputs/sweep/") == queued, err
        assert "failed: outputs/sweep/job1: batch_size=1000 is larger than the data set" in err
        states = {name: state["state"] for name, state in login.states("sweep").items()}
        assert states == {"job0": "done", "job1": "failed"}
        assert "is larger than the data set" in (login.folder / "outputs/sweep/compare.html").read_text()
    assert "finished already: outputs/sweep/job0" in err


@pytest.mark.slurm(quick=True)
def test_a_job_that_does_not_wait_for_its_turn_alone_is_a_line_that_says_why(login, cluster):
    driver = login.start("-m", "seed=1,2", "images=64", "name=sweep", "+hydra.launcher.additional_parameters.hold=true")
    held = cluster.wait_for("PENDING", 2)
    time.sleep(2)  # in which the driver looks several times
    cluster.output("scancel", *held)
    status, err = login.finish(driver)
    assert status == 2 and err.count("waits, since Slurm says JobHeldUser") == 1, err


@pytest.mark.slurm
def test_cancelled_jobs_are_a_line_each_and_the_page_has_the_rest(login, cluster):
    sweep = ("-m", "seed=1,2,3", "name=sweep", *LONG)
    driver = login.start(*sweep)
    login.wait_for_training("sweep", 2)
    (waiting,) = cluster.wait_for("PENDING")
    first, second = sorted(cluster.wait_for("RUNNING", 2))
    cluster.output("scancel", first)
    login.wait_until(lambda: login.states("sweep")["job0"]["state"] != "running", "the first one's end")
    cluster.output("scancel", waiting, second, first.partition("_")[0])
    status, err = login.finish(driver)
    assert status == 2 and len(re.findall("failed: outputs/sweep/job.: .*cancelled", err)) == 3, err
    assert {state["state"] for state in login.states("sweep").values()} == {"cancelled"}
    assert (login.folder / "outputs/sweep/compare.html").exists()
    saved = torch.load(login.folder / "outputs/sweep/job0/checkpoints/last.ckpt", weights_only=True)
    assert saved["images"] == login.states("sweep")["job0"]["images"] > 0


@pytest.mark.slurm
def test_a_job_that_another_takes_the_place_of_is_saved_queued_again_and_ends_in_the_same_weights(login, cluster):
    asked = ("seed=1", "images=2_048", "every.log=32", "every.checkpoint=100_000", SUBDIR)
    driver = login.start("-m", *asked, "name=sweep")
    login.wait_for_training("sweep", 1)
    high = login.folder / "high.sh"
    high.write_text("#!/bin/bash\nsleep 2\n")
    cluster.output("sbatch", "--partition=high", "--ntasks=2", f"--output={login.folder}/high.out", str(high))
    login.wait_until(lambda: login.states("sweep")["job0"]["state"] == "requeued", "the job to be queued again")
    saved = login.states("sweep")["job0"]["images"]
    assert 0 < saved < 2_048
    status, err = login.finish(driver)
    assert status == 0 and login.states("sweep")["job0"]["state"] == "done", err
    assert login.run("-m", *asked, "name=undisturbed")[0] == 0
    assert_same_weights(login.folder / "outputs/sweep/job0", login.folder / "outputs/undisturbed/job0")


@pytest.mark.slurm
def test_at_its_time_limit_a_job_is_saved_and_goes_on_until_it_is_done(login, cluster):
    """Slurm looks twice a minute, and signals up to a minute early."""
    limited = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=45")
    driver = login.start("-m", "seed=1", "name=sweep", *LONG, *limited)
    login.wait_for_training("sweep", 1)
    login.wait_until(lambda: login.states("sweep")["job0"]["state"] == "requeued", "the job to be queued again")
    first = login.states("sweep")["job0"]["images"]
    login.wait_for_training("sweep", 1, images=first + 1)
    (job,) = cluster.jobs()
    assert "Restarts=1" in cluster.output("scontrol", "show", "job", "-o", job[0])
    cluster.output("scancel", job[0])
    assert login.finish(driver)[0] == 2


@pytest.mark.slurm
def test_two_tasks_are_the_two_ranks_of_one_training(login):
    asked = ("-m", "seed=1", "images=256", SUBDIR, "trainer.devices=2", "trainer.accelerator=cpu")
    status, err = login.run(*asked, "name=tasks", "hydra.launcher.tasks_per_node=2")
    assert status == 0 and login.states("tasks")["job0"]["state"] == "done", err
    status, err = login.run(*asked, "name=ours", "hydra.launcher.cpus_per_task=2")
    assert status == 0, err
    assert_same_weights(login.folder / "outputs/tasks/job0", login.folder / "outputs/ours/job0")


@pytest.mark.slurm
def test_the_same_sweep_started_twice_waits_for_the_same_jobs_and_a_driver_may_leave(login, cluster):
    sweep = ("-m", "seed=1,2", "images=3_000", "name=sweep", "every.log=64", SUBDIR)
    status, err = login.run(*sweep, "detach=true")
    assert status == 0 and "2 jobs are queued" in err and not (login.folder / "outputs/sweep/compare.html").exists()
    drivers = [login.start(*sweep) for _ in range(2)]
    for driver in drivers:
        status, err = login.finish(driver)
        assert status == 0, err
        assert {state["state"] for state in login.states("sweep").values()} == {"done"}  # at the end of the first too
        assert "queued: " not in err.replace("in the queue already", "")
    assert (login.folder / "outputs/sweep/compare.html").exists()
    names = (login.folder / "outputs/sweep/.slurm/jobs.json").read_text()
    assert names.count("_0") == 1 and names.count("_1") == 1


@pytest.mark.slurm
def test_ctrl_c_of_the_driver_names_the_jobs_that_go_on(login, cluster):
    driver = login.start("-m", "seed=1,2,3", "name=sweep", *LONG)
    login.wait_for_training("sweep", 1)
    os.killpg(driver.pid, signal.SIGINT)
    status, err = login.finish(driver)
    (job,) = {number.partition("_")[0] for number, _ in cluster.jobs()}
    assert status == 130 and f"scancel {job}" in err and "repeat the command" in err, err
    cluster.output("scancel", job)
    login.wait_until(lambda: not cluster.jobs(), "the jobs' end")


@pytest.mark.slurm(quick=True)
def test_without_sbatch_or_submitit_a_line_says_what_is_missing(login, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    login.cluster = _Elsewhere(login.cluster, {"PATH": str(empty)})
    status, err = login.run("-m", "seed=1", "images=64", "name=sweep")
    assert status == 2 and "there is no sbatch here" in err and err.strip().count("\n") == 0, err
    (empty / "submitit.py").write_text("raise ModuleNotFoundError('submitit')")
    login.cluster = _Elsewhere(login.cluster, {"PYTHONPATH": f"{empty}:{os.environ['PYTHONPATH']}"})
    status, err = login.run("-m", "seed=1", "images=64", "name=sweep")
    assert status == 2 and ".[cluster]" in err and err.strip().count("\n") == 0, err


class _Elsewhere:
    def __init__(self, cluster: Cluster, environment: dict[str, str]) -> None:
        self.environment = {**cluster.environment, **environment}


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = (torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (one, other))
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.allclose(value.float(), b[name].float(), atol=1e-6), name
