"""A sweep in Slurm's queue that is disturbed at random moments: it is done by repeats of the same command, to the bit.

``CLUSTER_EVENTS=50 make cluster-test`` disturbs it more often.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

EVENTS = int(os.environ.get("CLUSTER_EVENTS", 6))
JOBS, IMAGES = (8, 4_096) if EVENTS >= 50 else (4, 2_048)


@pytest.mark.slurm
def test_disturbed_at_random_moments_every_job_ends_done_and_in_the_weights_of_an_undisturbed_sweep(
    login, cluster, run_tiny
):
    seeds = ",".join(map(str, range(JOBS)))
    asked = (
        "-m",
        f"seed={seeds}",
        f"images={IMAGES}",
        "every.log=32",
        "every.checkpoint=64",
        "every.keep=null",
        "name=sweep",
    )
    chance, happened = random.Random(), []
    driver = login.start(*asked)
    end = time.monotonic() + 300 * EVENTS
    while len(happened) < EVENTS and time.monotonic() < end:
        if chance.random() < 0.7:  # else while one starts, which on a busy machine takes longer than it trains
            _wait_for_training(login, driver)
        time.sleep(chance.uniform(0, 4))
        if driver.poll() is not None:
            status, err = login.finish(driver)
            if status == 0:
                break  # all done, before everything has happened
            driver = login.start(*asked)
        if running := [job for job, state in cluster.jobs() if state == "RUNNING"]:
            happened.append(
                _disturb(chance.choice(["TERM", "USR2", "KILL", "scancel"]), chance.choice(running), cluster)
            )
    for _ in range(10):
        status, err = login.finish(driver, 600)
        if status == 0:
            break
        assert "failed: outputs/sweep/" in err
        driver = login.start(*asked)
    states = login.states("sweep")
    assert status == 0 and len(happened) == EVENTS, (happened, err)
    assert len(states) == JOBS and {state["state"] for state in states.values()} == {"done"}, happened
    assert run_tiny(*asked, "name=undisturbed").status == 0  # in this process
    outputs = login.folder / "outputs"
    for name in states:
        ends = [outputs / sweep / name / "checkpoints/last.ckpt" for sweep in ("sweep", "undisturbed")]
        one, other = (torch.load(path, weights_only=True)["state_dict"] for path in ends)
        assert all(torch.equal(value, other[key]) for key, value in one.items()), (name, happened)


def _wait_for_training(login, driver) -> None:
    def one_trains() -> bool:
        return any(state["state"] == "running" for state in login.states("sweep").values())

    login.wait_until(lambda: driver.poll() is not None or one_trains(), "a run that trains", 300)


def _disturb(what: str, job: str, cluster) -> str:
    if what == "scancel":
        cluster.output("scancel", job)
    elif what == "KILL":  # of its process alone, as the kernel does where memory is short
        number = re.search(r"JobId=(\d+)", cluster.output("scontrol", "show", "job", "-o", job))
        listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout
        for pid in re.findall(r"^ *(\d+) \S*python\S* -u -m submitit.core._submit ", listed, re.M):
            with contextlib.suppress(OSError):  # it has ended
                own = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                mine = {f"SLURM_CONF={cluster.settings}".encode(), f"SLURM_JOB_ID={number and number[1]}".encode()}
                if mine <= set(own):
                    os.kill(int(pid), signal.SIGKILL)
    else:
        cluster.output("scancel", f"--signal={what}", job)
    return f"{what} {job}"
