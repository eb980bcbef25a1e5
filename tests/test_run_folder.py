"""Who owns a run folder, what replaces a run, and what becomes of damaged files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.core import aside
from src.core.errors import UserError
from src.core.run_folder import FolderTaken, RunFolder, check_name, place

SETTINGS = {"seed": 0, "images": 8, "model": {"schedule": {"total": 8}}}
TAKER = """
import sys, time
from pathlib import Path
from src.core.run_folder import FolderTaken, RunFolder
folder = RunFolder(Path("run"))
while time.time() < float(sys.argv[1]):
    pass
try:
    folder.lock()
except FolderTaken:
    folder.leave()
    sys.exit(3)
with open("owned", "a") as file:
    file.write("begin\\n")
time.sleep(1)
with open("owned", "a") as file:
    file.write("end\\n")
folder.begin({"images": 1}, [], force=False)
folder.leave()
"""


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.fixture
def finished(tmp_path) -> Path:
    """A run folder that holds everything that matters."""
    run = tmp_path / "run"
    folder = RunFolder(run)
    folder.lock()
    folder.begin(SETTINGS, ["images=8"], force=False)
    (run / "checkpoints").mkdir()
    (run / "checkpoints/last.ckpt").write_bytes(b"weights")
    folder.write_summary({"final": {"loss": 1.0}})
    folder.write_status("done", images=8)
    folder.leave()
    return run


def test_of_many_that_start_at_once_one_owns_the_folder_and_none_deletes_it(tmp_path):
    start = str(time.time() + 2)
    processes = [subprocess.Popen([sys.executable, "-c", TAKER, start], cwd=tmp_path) for _ in range(8)]
    statuses = sorted(process.wait(60) for process in processes)
    assert statuses == [0, *[3] * 7]
    assert (tmp_path / "owned").read_text() == "begin\nend\n"
    assert (tmp_path / "run/config.yaml").exists()


def test_who_is_refused_deletes_nothing(tmp_path):
    owner, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    owner.lock()
    with pytest.raises(FolderTaken, match="in use by another process"):
        other.lock()
    other.leave(keep_log=False)
    assert (tmp_path / "run/.lock").exists()
    owner.begin(SETTINGS, [], force=False)


def test_who_waited_at_a_folder_that_its_owner_deleted_makes_it_anew(tmp_path):
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.lock()
    stale = os.open(tmp_path / "run/.lock", os.O_RDWR)
    first.leave(keep_log=False)
    assert not (tmp_path / "run").exists()
    second.lock()
    assert not os.path.samestat(os.fstat(stale), (tmp_path / "run/.lock").stat())
    with pytest.raises(FolderTaken):
        first.lock()
    os.close(stale)


@pytest.mark.parametrize("saves", [False, True])
def test_what_force_replaces_comes_back_unless_its_successor_saved_something(finished, saves):
    before = tree(finished)
    folder = RunFolder(finished)
    folder.lock()
    folder.begin({**SETTINGS, "seed": 1}, [], force=True)
    folder.write_status("running")
    (finished / "samples").mkdir()
    assert not folder.last_checkpoint.exists()
    if saves:
        folder.checkpoints.mkdir()
        folder.last_checkpoint.write_bytes(b"other")
        folder.saved()
        assert not aside.is_pending(finished)
    folder.leave()
    if saves:
        assert folder.settings()["seed"] == 1 and folder.last_checkpoint.read_bytes() == b"other"
        assert not (finished / "summary.json").exists()
    else:
        assert tree(finished) == before and not (finished / "samples").exists()


@pytest.mark.parametrize("at", range(1, 16))
def test_a_kill_at_any_step_of_a_replacement_loses_nothing(finished, monkeypatch, at):
    """Every renaming and deletion counts as a step; the next process that owns the folder tidies up."""
    before = tree(finished)
    steps = 0

    class Killed(BaseException):
        pass

    def counted(original):
        def call(*arguments, **options):
            nonlocal steps
            steps += 1
            if steps == at:
                raise Killed
            return original(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for owner, name in ((Path, "rename"), (Path, "unlink"), (Path, "rmdir"), (shutil, "rmtree")):
            patched.setattr(owner, name, counted(getattr(owner, name)))
        try:
            aside.set_aside(finished, (".lock", "run.log"))
            (finished / "config.yaml").write_text("new")
            aside.settle(finished, (".lock", "run.log"), has_successor=False)
        except Killed:
            pass
    folder = RunFolder(finished)
    folder.lock()
    folder.leave()
    assert tree(finished) == before


def test_force_refuses_what_is_no_run_folder(tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "scan.png").write_bytes(b"pixels")
    (scans / "config.yaml").write_text("a: 1")
    with pytest.raises(FolderTaken, match=r"holds config.yaml, and is no run folder"):
        RunFolder(scans).lock()
    assert {path.name for path in scans.iterdir()} == {"scan.png", "config.yaml"}


@pytest.mark.parametrize("name", [".", "..", "a/../..", "a/../b", "/absolute", "./"])
def test_a_name_stays_inside_the_folder_of_all_runs(name):
    with pytest.raises(UserError, match="is no folder inside"):
        check_name(name)


@pytest.mark.parametrize("outputs", ["", None])
def test_the_folder_of_all_runs_has_a_name(outputs):
    with pytest.raises(UserError, match="outputs is empty"):
        place(outputs, "a", "outputs")


def test_a_run_that_lost_its_last_checkpoint_keeps_its_settings(finished):
    (finished / "checkpoints/last.ckpt").unlink()
    with pytest.raises(FolderTaken, match="seed was 0, now 1"):
        RunFolder(finished).check({**SETTINGS, "seed": 1})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"state": "done"}'])
def test_a_damaged_status_counts_as_absent_and_is_replaced(finished, content):
    (finished / "status.json").write_bytes(content)
    folder = RunFolder(finished)
    assert folder.status() == {} and not folder.is_finished(8)
    folder.write_status("running", images=4)
    assert json.loads((finished / "status.json").read_text())["images"] == 4


@pytest.mark.parametrize(
    "content", [b"", b"a: [", b"- 1", b"\xff\xfe", b"model: {}", b"seed: 0\nimages: 8\nmodel: dcgan"]
)
def test_damaged_settings_are_named_with_the_ways_out(finished, content):
    (finished / "config.yaml").write_bytes(content)
    with pytest.raises(FolderTaken, match=r"config.yaml is damaged.* name=<another>.* force=true"):
        RunFolder(finished).check(SETTINGS)


def test_a_failed_visit_leaves_the_word_of_a_run_that_it_did_not_go_on_with(finished):
    folder = RunFolder(finished)
    folder.lock()
    folder.fail("data.root is missing")
    assert folder.status()["state"] == "done"
    folder.begin(SETTINGS, [], force=False)
    folder.fail("data.root is missing")
    assert folder.status()["state"] == "failed"
    folder.leave()


def test_what_a_killed_process_was_writing_is_cleaned_up(finished):
    partial = finished / "checkpoints/.last.ckpt.partial"
    partial.write_bytes(b"half")
    folder = RunFolder(finished)
    folder.lock()
    assert not partial.exists()
    folder.leave()
