"""What W&B gets of a run, from a server that serves, hangs, dies or refuses: nothing is lost, and nobody waits long."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import wandb
import yaml

from src.training import wandb_logger
from src.training.wandb_sessions import sessions_of
from tests.conftest import ROOT, SMALL, TINY, TRAIN, read_json
from tests.fake_wandb import HANG, FakeWandb
from tests.forked import Command

ONLINE = ("logger=wandb", "logger.wandb.mode=online", "logger.wandb.system_metrics=false")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWandb]:
    wandb.teardown()
    monkeypatch.setattr(wandb_logger, "_silent_since", {})
    with FakeWandb() as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake
    wandb.teardown()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that fails is given up sooner. Not one that serves: on a busy machine it, too, may take seconds."""
    assert wandb_logger.ANSWER + wandb_logger.FINISH < 30  # what a user waits for; here it need not be so long
    monkeypatch.setattr(wandb_logger, "ANSWER", 1.0)
    monkeypatch.setattr(wandb_logger, "FINISH", 2.0)


def sync(run: str, server: FakeWandb) -> None:
    """Send what was logged offline and has not been sent."""
    sessions = [path for path in sorted(Path(run).glob("wandb/offline-run-*")) if not any(path.glob("*.synced"))]
    command = [sys.executable, "-m", "wandb", "sync", *map(str, sessions)]
    if sessions:
        subprocess.run(command, env={**os.environ, **server.environment}, check=True, capture_output=True)


def shown(run: str) -> list[int]:
    """Images shown at the rows of metrics.csv."""
    return [int(line.split(",")[0]) for line in Path(run, "metrics.csv").read_text().splitlines()[1:]]


def test_a_server_gets_every_row_the_configuration_and_the_final_numbers(run_tiny, server):
    outcome = run_tiny("name=a", "images=256", "every.log=64", *ONLINE)
    assert outcome.status == 0 and "WARNING" not in outcome.err, outcome.err
    got = server.only
    assert [row["images"] for row in got.rows() if "loss_g" in row] == shown("outputs/a") == [64, 128, 192, 256]
    assert got.value("images") == 256 and got.value("parameters")["generator"] > 0
    final = read_json(Path("outputs/a/summary.json"))["final"]
    assert got.summary["final/loss_g"] == pytest.approx(final["loss_g"]) and got.summary["state"] == "done"
    assert got.about["jobType"] == "generator" and "groupName" not in got.about and got.exit_code == 0
    assert any("strip" in name for name in got.files)


def test_without_a_key_a_run_is_logged_offline_and_nobody_is_asked(run_tiny, server, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    outcome = run_tiny("name=a", "images=64", *ONLINE)
    assert outcome.status == 0 and outcome.err.count("W&B has no key") == 1, outcome.err
    assert not server.runs and list(Path("outputs/a/wandb").glob("offline-run-*"))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", [HANG, 500, "die"])
def test_a_server_that_fails_during_a_run_keeps_its_end_for_seconds_and_loses_nothing(
    run_tiny, server, monkeypatch, fault
):
    log_metrics, end, waited = wandb_logger.WandbRecord.log_metrics, wandb_logger.WandbRecord.end, []

    def break_down(logger, metrics, step=None):
        if metrics.get("images") == 128 and logger.mode == "online":
            server.die() if fault == "die" else server.fail(fault)
        log_metrics(logger, metrics, step)

    def timed(logger, *arguments):
        assert read_json(Path("outputs/a/status.json"))["state"] == "done" and Path("outputs/a/summary.json").exists()
        start = time.monotonic()
        end(logger, *arguments)
        waited.append(time.monotonic() - start)

    monkeypatch.setattr(wandb_logger.WandbRecord, "log_metrics", break_down)
    monkeypatch.setattr(wandb_logger.WandbRecord, "end", timed)
    outcome = run_tiny("name=a", "images=256", "every.log=64", *ONLINE)
    assert outcome.status == 0 and outcome.err.count("W&B did not take everything") == 1, outcome.err
    assert len(waited) == 1 and waited[0] < 15

    with FakeWandb() if fault == "die" else server as later:
        later.runs |= server.runs
        later.fail(None)
        sync("outputs/a", later)
        got = later.only
        assert [row["images"] for row in got.rows() if "loss_g" in row] == shown("outputs/a")
        assert got.value("images") == 256 and got.summary["state"] == "done" and got.exit_code == 0


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", [HANG, 500, 401, "die"])
def test_a_server_that_cannot_be_reached_is_asked_once_in_a_sweep_whose_runs_are_offline(
    run_tiny, server, monkeypatch, fault
):
    server.die() if fault == "die" else server.fail(fault)
    post, waits = requests.post, []

    def ask(*arguments, timeout, **options):
        waits.append(timeout)
        return post(*arguments, timeout=timeout, **options)

    monkeypatch.setattr(requests, "post", ask)
    outcome = run_tiny("name=sweep", "-m", "seed=0,1", "images=64", *ONLINE)
    assert outcome.status == 0 and outcome.err.count("W&B cannot be reached") == 2, outcome.err
    assert waits == [wandb_logger.ANSWER]
    assert len(list(Path("outputs/sweep").glob("*/wandb/offline-run-*/*.wandb"))) == 2


@pytest.mark.usefixtures("impatient")
def test_where_wandb_itself_fails_to_begin_online_the_run_is_logged_offline(run_tiny, server, monkeypatch):
    """As of a server that answers, and then does not."""
    monkeypatch.setattr(wandb_logger, "_problem_of_server", lambda: None)
    monkeypatch.setattr(wandb_logger, "INIT", 3.0)
    server.fail(HANG)
    outcome = run_tiny("name=a", "images=64", *ONLINE)
    assert outcome.status == 0 and outcome.err.count("this run is logged offline") == 1, outcome.err
    assert "W&B is off" not in outcome.err
    server.fail(None)
    sync("outputs/a", server)
    assert server.only.column("loss_g")


def test_a_run_that_was_offline_and_resumed_is_sent_row_by_row_in_order(run_tiny, server):
    for images in (128, 256, 384):
        run_tiny("name=a", f"images={images}", "every.log=64", "every.sample=128", "logger=wandb")
    sync("outputs/a", server)
    got = server.only
    assert [row["images"] for row in got.rows() if "loss_g" in row] == shown("outputs/a")
    assert [row["images"] for row in got.rows() if "samples" in row] == [0, 128, 256, 384]
    assert got.column("_step") == list(range(len(got.lines)))
    assert got.value("images") == 384 and got.summary["images"] == 384


@pytest.mark.parametrize("images", [192, 256])
def test_rows_that_the_server_has_and_a_kill_kept_from_the_disk_are_sent_once(run_tiny, server, images):
    run_tiny("name=a", "images=192", "every.log=64", *ONLINE)
    (session,) = sessions_of(Path("outputs/a"))
    (record,) = session.folder.glob("*.wandb")
    while any(row["images"] == 128 for row in session.rows()):  # the last two rows, and that of the pictures
        os.truncate(record, record.stat().st_size - 16)
    Path("outputs/a/wandb/closed").unlink()
    assert run_tiny("name=a", f"images={images}", "every.log=64", *ONLINE).status == 0
    rows = server.only.rows()
    assert [row["images"] for row in rows if "loss_g" in row] == shown("outputs/a")
    assert [row["images"] for row in rows if "losses" in row] == sorted({192, images})


def test_what_was_synced_while_it_was_written_is_sent_whole_by_the_next_sync(run_tiny, server, monkeypatch):
    log_metrics = wandb_logger.WandbRecord.log_metrics

    def synced(logger, metrics, step=None):
        log_metrics(logger, metrics, step)
        if metrics.get("images") in (128, 320):
            time.sleep(2 * wandb_logger.FLUSH)
            sync("outputs/a", server)
            mark = max(Path("outputs/a").glob("wandb/offline*/*.synced"))
            if metrics["images"] == 320:  # as if the end of the session were written after the mark was looked at
                os.utime(mark, (time.time() + 60,) * 2)

    monkeypatch.setattr(wandb_logger.WandbRecord, "log_metrics", synced)
    for images in (256, 384):
        run_tiny("name=a", f"images={images}", "every.log=64", "logger=wandb")
        sync("outputs/a", server)
        got = server.only
        assert [row["images"] for row in got.rows() if "loss_g" in row] == shown("outputs/a")
        assert got.summary["state"] == "done" and got.exit_code == 0


def test_what_was_offline_is_sent_before_a_run_goes_on_online_and_rows_that_are_shown_again_are_left_out(
    run_tiny, server, monkeypatch
):
    run_tiny("name=a", "images=128", "every.log=64", "every.checkpoint=128", "logger=wandb")
    longer = ("name=a", "images=384", "every.log=64", "every.checkpoint=128", *ONLINE)
    log_metrics = wandb_logger.WandbRecord.log_metrics

    def crash(logger, metrics, step=None):
        log_metrics(logger, metrics, step)
        if metrics.get("images") == 192:
            raise RuntimeError("a crash after the checkpoint")

    with monkeypatch.context() as patched:
        patched.setattr(wandb_logger.WandbRecord, "log_metrics", crash)
        assert run_tiny(*longer).status == 2
    got = server.only
    assert [row["images"] for row in got.rows() if "loss_g" in row] == [64, 128, 192]
    assert got.exit_code == 1 and got.summary["state"] == "failed" and "a crash" in got.summary["reason"]
    assert run_tiny(*longer).status == 0
    assert [row["images"] for row in got.rows() if "loss_g" in row] == shown("outputs/a")
    assert got.exit_code == 0 and got.summary["state"] == "done"


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_killed_at_a_random_moment_and_repeated_a_run_has_sent_every_row_once(run_tiny, server, mode):
    """Killed twice, and finished; a run of seconds, of which W&B's server gets the rows at the end of a visit alone."""
    mine = ("name=a", "images=640", "every.log=32", "every.checkpoint=96", "every.sample=640", *ONLINE)
    asked = (*TINY, *mine, f"logger.wandb.mode={mode}")
    for _ in range(2):
        process = Command([*TRAIN, *asked], env=dict(os.environ))
        rows, seen = Path("outputs/a/metrics.csv"), Path("outputs/a/wandb")
        before = len(list(seen.glob("*run-*")))
        while process.poll() is None and not (rows.exists() and len(list(seen.glob("*run-*"))) > before):
            time.sleep(0.01)
        time.sleep(random.uniform(0, 1.5))
        process.kill()
        process.wait()
    assert run_tiny(*mine, f"logger.wandb.mode={mode}").status == 0
    sync("outputs/a", server)  # online too: a visit that found the server busy was offline
    got = server.only
    assert [row["images"] for row in got.rows() if "loss_g" in row] == shown("outputs/a")
    assert got.value("images") == 640 and got.summary["state"] == "done" and got.exit_code == 0


def test_killed_while_it_told_wandb_of_its_end_a_finished_run_is_sent_whole_when_it_is_repeated(run_tiny, server):
    mine = ("name=a", "images=256", "every.log=64", *ONLINE)
    server.fail_when(lambda record: True, HANG)  # from the first request that tells of rows
    process = Command([*TRAIN, *TINY, *mine], env=dict(os.environ))
    status = Path("outputs/a/status.json")
    while process.poll() is None and not (status.exists() and read_json(status)["state"] == "done"):
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.fail(None)
    sessions = []
    for _ in range(2):  # the second has nothing to add
        outcome = run_tiny(*mine)
        assert outcome.status == 0 and "finished already" in outcome.err, outcome.err
        got = server.only
        assert [row["images"] for row in got.rows() if "loss_g" in row] == shown("outputs/a")
        assert got.value("parameters")["generator"] > 0 and got.summary["state"] == "done" and got.exit_code == 0
        sessions.append(sorted(Path("outputs/a/wandb").glob("run-*")))
    assert sessions[0] == sessions[1]


def test_a_run_of_wandbs_agent_keeps_the_id_that_the_agent_waits_for(run_tiny, server, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "given123")
    assert run_tiny("name=a", "images=64", *ONLINE).status == 0
    assert server.only.name == "given123" and server.only.about["sweep"] == "sweep1"
    assert read_json(Path("outputs/a/wandb/id.json")) == "given123"


def test_the_sweep_file_for_wandbs_agent_names_settings_that_there_are(run_train):
    sweep = yaml.safe_load((ROOT / "sweep.yaml").read_text())
    asked = [f"{key}={setting.get('values', [setting.get('min')])[0]}" for key, setting in sweep["parameters"].items()]
    said = [part for part in sweep["command"] if "=" in part]
    outcome = run_train(*SMALL, "logger=wandb", *asked, *said, "dry_run=true")
    assert outcome.status == 0, outcome.err
