"""The launcher for Slurm's queue, where no Slurm is."""

from __future__ import annotations

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from src.command_line import slurm_launcher
from src.command_line.slurm_launcher import Planned
from src.core import scheduler
from src.core.run_folder import RunFolder


def test_two_drivers_that_begin_at_the_same_moment_queue_each_job_once(monkeypatch, tmp_path):
    numbers, submitted = itertools.count(1), []

    def submit(launcher, jobs, sweep):
        (sweep / slurm_launcher.LOGS).mkdir(exist_ok=True)  # as submitit does
        time.sleep(0.2)
        submitted.extend(job.folder.path.name for job in jobs)
        return [str(next(numbers)) for _ in jobs]

    monkeypatch.setattr(slurm_launcher, "_submit", submit)
    monkeypatch.setattr(scheduler, "jobs", lambda ids: {i: scheduler.Job(i, "PENDING") for i in ids})
    monkeypatch.setattr(scheduler, "name_job", lambda *_: None)
    settings = cast(Any, SimpleNamespace(force=False, images=64))

    def drive(_: int) -> list[str]:
        planned = [Planned((), settings, RunFolder(tmp_path / name), 0) for name in ("a", "b")]
        return list(slurm_launcher._queue(cast(Any, None), planned, tmp_path).values())

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(drive, range(2))
    assert first == second and submitted == ["a", "b"]


@pytest.mark.parametrize(
    ("asked", "finished"),
    [(["seed=1"], True), (["seed=1", "detach=true", "every.log=64", "+logger.x=1"], True), (["seed=2"], False)],
)
def test_a_run_that_is_done_is_not_queued_again_whatever_changes_nothing_of_it(tmp_path, asked, finished):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_status("done", images=64)
    run.write_summary({"final": {}})
    (run.path / "overrides.json").write_text(json.dumps(["seed=1", "detach=true"]))
    said = SimpleNamespace(overrides=SimpleNamespace(task=asked))
    settings = cast(Any, SimpleNamespace(force=False, images=64, hydra=said, logger={"wandb": {}}))
    assert Planned((), settings, run, 0).is_finished is finished
    (run.path / "wandb").mkdir()  # of a visit that was killed while it told W&B of its end
    assert not Planned((), settings, run, 0).is_finished
    settings.logger = {}
    assert Planned((), settings, run, 0).is_finished is finished
