"""Damaged files of a run: what can be had again is, and the rest is named with the way out."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from src.core.atomic import atomic_write
from src.core.errors import UserError
from src.training import restore
from src.training.checkpoint_io import AtomicCheckpointIO, find_damage, read_checkpoint
from src.training.restore import load_run
from tests.conftest import ROOT, read_json
from tests.test_train import assert_same_run

ASKED = ("name=a", "images=96", "every.log=32", "every.checkpoint=32", "every.keep=32", "every.sample=32", "samples=4")


@pytest.fixture
def run(tmp_path_factory, run_tiny):
    """``src.train`` on a finished run in ``outputs/a``."""
    kept = tmp_path_factory.getbasetemp() / "finished"
    if not kept.exists():
        assert run_tiny(*ASKED).status == 0
        shutil.copytree("outputs/a", kept)
    else:
        shutil.copytree(kept, "outputs/a")
    return lambda *arguments: run_tiny(*ASKED, *arguments)


def flip_a_bit(path: Path, where: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 16
    path.write_bytes(content)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.randn(20_000)}, "images": 64}, path)
    return path


def test_a_flipped_bit_anywhere_in_the_weights_is_found(checkpoint):
    """Beyond a byte of padding or of a date nothing may be accepted with other values than were saved."""
    good, stored = checkpoint.read_bytes(), read_checkpoint(checkpoint)
    assert find_damage(checkpoint) is None
    rng, found = random.Random(0), 0
    for _ in range(50):
        checkpoint.write_bytes(good)
        flip_a_bit(checkpoint, rng.random())
        if find_damage(checkpoint) is None:
            assert torch.equal(read_checkpoint(checkpoint)["state_dict"]["w"], stored["state_dict"]["w"])
            continue
        found += 1
        with pytest.raises(UserError, match=r"last.ckpt cannot be read .*restore it"):
            read_checkpoint(checkpoint)
    assert found > 40


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_checkpoint_that_was_cut_is_named(checkpoint, share):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    checkpoint.with_name("000000032.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"last.ckpt cannot be read \((empty|cut short).*another one.*: 000000032.ckpt"):
        read_checkpoint(checkpoint)


def test_a_damaged_last_state_costs_what_was_shown_since_the_one_before(run):
    """The status and the metrics are damaged too; the same command ends in the bits that were there."""
    shutil.copytree("outputs/a", "outputs/whole")
    flip_a_bit(Path("outputs/a/checkpoints/last.ckpt"), 0.5)
    Path("outputs/a/checkpoints/000000096.ckpt").write_bytes(b"")
    Path("outputs/a/status.json").write_bytes(b"")
    outcome = run()
    assert outcome.status == 0, outcome.err
    assert "last.ckpt is damaged (checksum" in outcome.err and "going on from 000000064.ckpt" in outcome.err
    assert_same_run(Path("outputs/whole"), Path("outputs/a"))


@pytest.mark.parametrize("name", ["status.json", "summary.json"])
def test_a_damaged_word_of_a_finished_run_is_written_anew(run, name):
    shutil.copytree("outputs/a", "outputs/whole")
    Path("outputs/a", name).write_bytes(b"{")
    outcome = run()
    assert outcome.status == 0, outcome.err
    assert f"outputs/a/{name} is damaged" in outcome.err
    assert read_json(Path("outputs/a/status.json"))["state"] == "done"
    assert read_json(Path("outputs/a/summary.json"))["final"] == read_json(Path("outputs/whole/summary.json"))["final"]
    assert_same_run(Path("outputs/whole"), Path("outputs/a"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("config.yaml", "config.yaml is damaged (it lacks the settings of a run): restore it"),
        ("training_images.json", "training_images.json is damaged: restore it, or delete it"),
        ("checkpoints/*.ckpt", "last.ckpt is damaged (empty), and there is no earlier one"),
    ],
)
def test_what_cannot_be_had_again_is_named_with_the_ways_out(run, name, said):
    for path in Path("outputs/a").glob(name):
        path.write_bytes(b"")
    outcome = run("images=128")
    assert outcome.status == 2 and said in outcome.error and "bug?" not in outcome.err


def test_a_run_in_training_is_read_once(run, monkeypatch):
    """Between two readings the training puts another state in the place of the first."""
    last = Path("outputs/a/checkpoints/last.ckpt")
    earlier = torch.load("outputs/a/checkpoints/000000032.ckpt", weights_only=True)
    shutil.copy("outputs/a/checkpoints/000000032.ckpt", last)

    def replaced(path: Path) -> dict:
        content = read_checkpoint(path)
        shutil.copy("outputs/a/checkpoints/000000096.ckpt", last.with_name("new"))
        last.with_name("new").rename(last)
        return content

    monkeypatch.setattr(restore, "read_checkpoint", replaced)
    loaded = load_run(Path("outputs/a"))
    assert loaded.module.clock.images == earlier["images"] == 32
    for key, value in loaded.module.state_dict().items():
        assert torch.equal(value, earlier["state_dict"][key]), key


def test_checkpoints_are_archives_with_checksums(checkpoint):
    with zipfile.ZipFile(checkpoint) as archive:
        assert all(entry.CRC for entry in archive.infolist() if entry.file_size > 8)


def test_two_processes_that_write_one_file_leave_it_whole(tmp_path):
    path = tmp_path / "scores.json"
    other = "import sys; from pathlib import Path; from src.core.atomic import write_atomically as write"
    with atomic_write(path) as file:
        file.write(b"our beginning, ")
        command = [sys.executable, "-c", f"{other}; write(Path(sys.argv[1]), 'theirs')", str(path)]
        subprocess.run(command, check=True, cwd=ROOT)
        assert path.read_text() == "theirs"
        file.write(b"our end")
    assert path.read_text() == "our beginning, our end" and list(tmp_path.iterdir()) == [path]
