"""The main job: train, resume, sweep, and say what is wrong."""

from __future__ import annotations

import csv
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from src.core.run_folder import RunFolder
from tests.conftest import ROOT, SMALL, TINY, TRAIN, read_json
from tests.forked import Command

COMMAND = [*TRAIN, *TINY, "every.log=32", "every.checkpoint=96"]


def metrics(run: Path) -> list[list[str]]:
    """Rows of metrics.csv without the speed, which no two runs share."""
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.reader(file))
    speed = rows[0].index("images_per_s")
    return [row[:speed] + row[speed + 1 :] for row in rows]


def assert_same_state(left: object, right: object, key: str = "") -> None:
    assert type(left) is type(right), key
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), key  # type: ignore[arg-type]
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), key  # type: ignore[attr-defined]
        for name in left:
            assert_same_state(left[name], right[name], f"{key}.{name}")  # type: ignore[index]
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), key  # type: ignore[arg-type]
        for i, (a, b) in enumerate(zip(left, right, strict=True)):  # type: ignore[call-overload]
            assert_same_state(a, b, f"{key}[{i}]")
    else:
        assert left == right, key


def assert_same_run(left: Path, right: Path) -> None:
    """Weights, optimizer moments, curves and pictures are equal to the last bit."""
    a, b = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (left, right))
    for key in ("state_dict", "optimizer_states", "images", "meters"):
        assert_same_state(a[key], b[key], key)
    assert metrics(left) == metrics(right)
    pictures = [sorted(p.name for p in (run / "samples").glob("*.png")) for run in (left, right)]
    assert pictures[0] == pictures[1]
    for name in pictures[0]:
        assert (left / "samples" / name).read_bytes() == (right / "samples" / name).read_bytes()


def test_no_argument_trains_dcgan_on_phantoms_and_leaves_a_full_run_folder(run_train):
    outcome = run_train(*TINY, "every.sample=1024")
    assert outcome.status == 0, outcome.err
    (run,) = (p for p in Path("outputs").iterdir() if p.is_dir())
    settings = (run / "config.yaml").read_text()
    assert "name: dcgan\n" in settings and "name: phantom\n" in settings
    expected = {"config.yaml", "overrides.json", "metrics.csv", "summary.json", "status.json", "losses.png", "run.log"}
    assert expected <= {p.name for p in run.iterdir()}
    assert read_json(run / "status.json")["state"] == "done"
    summary = read_json(run / "summary.json")
    seconds = sum(32 / float(row["images_per_s"]) for row in csv.DictReader((run / "metrics.csv").open()))
    assert summary["seconds"] == pytest.approx(seconds, abs=0.1)
    assert summary["images"] == 1024 and summary["final"]["loss_d"] > 0
    assert 0 < summary["ssim"]["samples"] < 1 and 0 < summary["ssim"]["real"] < 1
    assert summary["environment"]["torch"] == torch.__version__
    grids = sorted((run / "samples").glob("[0-9]*.png"))
    assert grids[0].name == "000000000.png" and grids[-1].name == "000001024.png"
    with Image.open(grids[0]) as grid, Image.open(run / "samples" / "real.png") as real:
        assert grid.size == real.size == (8 * 18 + 2, 8 * 18 + 2)
    assert (run / "checkpoints" / "000000512.ckpt").exists()


def test_training_moves_both_networks_and_the_samples_of_the_same_latents(run_tiny):
    run_tiny("name=a", "images=512", "optim.lr=1e-2", "every.sample=512")
    grids = sorted(Path("outputs/a/samples").glob("[0-9]*.png"))
    first, last = (np.asarray(Image.open(p)).astype(int) for p in (grids[0], grids[-1]))
    assert abs(first - last).mean() > 5
    early, late = (
        torch.load(f"outputs/a/checkpoints/{name}.ckpt", weights_only=True)["state_dict"]
        for name in ("000000128", "000000512")
    )
    for network in ("generator", "discriminator"):
        assert any(not torch.equal(early[k], late[k]) for k in early if k.startswith(network) and "weight" in k)


def test_a_finished_run_is_not_touched_again(run_tiny):
    run_tiny("name=a", "images=128")
    before = {p: p.stat().st_mtime_ns for p in Path("outputs/a").rglob("*") if p.name not in ("run.log", ".lock")}
    outcome = run_tiny("name=a", "images=128")
    assert outcome.status == 0 and "finished already: outputs/a" in outcome.err
    after = {p: p.stat().st_mtime_ns for p in before}
    assert {p for p in before if before[p] != after[p]} <= {
        Path("outputs/a/config.yaml"),
        Path("outputs/a/overrides.json"),
    }


def test_a_run_goes_on_where_the_cache_has_moved(run_tiny, tmp_path):
    run_tiny("name=a", "images=128")
    outcome = run_tiny("name=a", "images=128", f"paths.cache={tmp_path / 'elsewhere'}")
    assert outcome.status == 0 and outcome.err.count("finished already") == 1


def test_a_finished_run_grows_longer_where_more_images_are_asked(run_tiny):
    for name, images in (("a", 64), ("a", 128), ("b", 128)):
        run_tiny(f"name={name}", f"images={images}", "every.log=64")
    a, b = (torch.load(f"outputs/{n}/checkpoints/last.ckpt", weights_only=True) for n in "ab")
    assert_same_state(a["state_dict"], b["state_dict"])


def test_images_in_the_notation_of_floats_are_counted_and_written_as_whole_numbers(run_tiny):
    outcome = run_tiny("name=a", "images=1e2", "batch_size=1e1", "seed=1e0")
    assert outcome.status == 0, outcome.err
    settings = yaml.safe_load(Path("outputs/a/config.yaml").read_text())
    assert [repr(settings[key]) for key in ("images", "batch_size", "seed")] == ["100", "10", "1"]


def test_force_starts_anew(run_tiny):
    run_tiny("name=a", "images=128", "seed=1")
    outcome = run_tiny("name=a", "images=128", "seed=2", "force=true")
    assert outcome.status == 0 and "seed: 2" in Path("outputs/a/config.yaml").read_text()


@pytest.mark.parametrize(
    "asked",
    [
        (*TINY, "trainer.precision=32-true"),
        (*TINY, "trainer.precision=bf16-mixed"),
        (*SMALL, "model=enhanced", "images=768"),
    ],
)
def test_killed_at_a_random_moment_and_resumed_ends_in_the_same_bits(tmp_path, run_train, asked):
    arguments = [*asked, "every.log=32", "every.checkpoint=96", "every.sample=256"]
    assert run_train(*arguments, "name=whole").status == 0
    process = Command([*TRAIN, *arguments, "name=killed"])
    path = tmp_path / "outputs" / "killed" / "metrics.csv"
    while process.poll() is None and not path.exists():
        time.sleep(0.01)
    time.sleep(random.Random().uniform(0, 0.5))
    process.kill()
    process.wait()
    assert run_train(*arguments, "name=killed").status == 0
    assert_same_run(tmp_path / "outputs" / "whole", tmp_path / "outputs" / "killed")


def test_a_growing_run_resumes_in_stabilisation_at_a_boundary_and_in_a_fade_in(run_train):
    """With 480 images, phases of 96: 8 px fade in from 96 and stabilise from 192, 16 px fade in from 288."""
    arguments = [*SMALL, "model=pggan", "images=480", "every.log=32", "every.keep=32", "every.sample=480"]
    assert run_train(*arguments, "name=whole").status == 0
    whole = Path("outputs/whole")
    for images in (224, 288, 320):
        resumed = Path(f"outputs/from_{images}")
        shutil.copytree(whole, resumed)
        shutil.copy(whole / "checkpoints" / f"{images:09d}.ckpt", resumed / "checkpoints" / "last.ckpt")
        (resumed / "status.json").write_text(json.dumps({"state": "running", "images": images}))
        outcome = run_train(*arguments, f"name={resumed.name}")
        assert outcome.status == 0 and "resuming" in outcome.err
        assert_same_run(whole, resumed)


def test_ctrl_c_saves_says_how_to_go_on_and_exits_130(tmp_path, run_train):
    command = [*COMMAND, "images=100_000", "every.keep=null", "name=stopped"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    run = tmp_path / "outputs" / "stopped"
    while process.poll() is None and not (run / "metrics.csv").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command goes on from there" in err and "Traceback" not in err
    status = read_json(run / "status.json")
    assert status["state"] == "interrupted"
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["images"] == status["images"] > 0


@pytest.mark.parametrize(
    ("place", "numbers", "state"),
    [
        ("check_intervals", [signal.SIGINT], None),
        ("build_loggers", [signal.SIGHUP], "interrupted"),
        ("Recorder.record", [signal.SIGHUP], "interrupted"),
        ("Recorder.record", [signal.SIGINT, signal.SIGINT], "interrupted"),
    ],
)
def test_a_signal_at_any_moment_ends_a_run_in_a_line_and_its_status_says_so(
    run_tiny, monkeypatch, place, numbers, state
):
    def told(*_: object, **__: object) -> list:
        for number in numbers:
            os.kill(os.getpid(), number)
        return []

    monkeypatch.setattr(f"src.training.job.{place}", told)
    outcome = run_tiny("name=a", "images=64", "every.log=32", "every.sample=64", "samples=4")
    assert outcome.status == 130 and "Traceback" not in outcome.err
    assert outcome.err.count("stopped") == 1, outcome.err
    status = Path("outputs/a/status.json")
    assert read_json(status)["state"] == state if state else not Path("outputs/a").exists()


def test_ctrl_c_while_modules_are_imported_is_one_line():
    code = "import src; import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)"
    done = subprocess.run([TRAIN[0], "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "stopped: repeat the command\n" and done.returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optim.lrr=1", "optim.lrr is not a setting; did you mean optim.lr?"),
        ("model=dgan", "model=dgan: there is no such model; did you mean dcgan?"),
        ("logger=true", "logger=true: choose one of csv, tensorboard, wandb"),
        ("modle=dcgan", "modle is not a setting; did you mean model?"),
        ("experiment=cifar10_dog_base", "did you mean cifar10_dog_baseline?"),
        (
            "model.generator.upsampling=cubic",
            "model.generator.upsampling=cubic must be nearest or transposed",
        ),
        ("optim.lr=abc", "optim.lr=abc must be a number above 0"),
        ("data.group=^(.*)-IM", "a value with special characters needs quotes of its own"),
        ("force=1", "force=1 must be true or false"),
        ("images=-5", "images=-5 must be a whole number of at least 1"),
        ("batch_size=0", "batch_size=0 must be a whole number of at least 1"),
        ("batch_size=null", "batch_size=null must be a whole number"),
        ("batch_size=1.5", "batch_size=1.5 must be a whole number"),
        ("images=1e400", "images=inf must be a whole number"),
        ("seed=-1", "seed=-1 must be a whole number of at least 0"),
        ("trainer.devices=0", "trainer.devices=0 must be a whole number of at least 1"),
        ("trainer.devices=-1", "trainer.devices=-1 must be a whole number of at least 1"),
        ("trainer.threads=-1", "trainer.threads=-1 must be a whole number of at least 1"),
        ("samples=0", "samples=0 must be a whole number of at least 1"),
        ("phantoms=0", "phantoms=0 must be a whole number of at least 1"),
        ("model.discriminator.dropout=1.0", "dropout=1.0 must be a number of at least 0 and below 1"),
        ("optim.lr=1e-4,2e-4", "add -m to run every combination"),
        ("optim.lr=-0.1", "optim.lr=-0.1 must be a number above 0"),
        ("data.resolution=48", "data.resolution=48 is not a power of two of at least 16"),
        ("batch_size=129", "batch_size=129 is larger than the data set: its training split has 128 images"),
        ("loss=wgan_gp", "set model.discriminator.norm=instance or none"),
        ("loss=logistic_r1", "set model.discriminator.norm=instance or none"),
        ("every.log=2_000", "every.log would leave metrics.csv empty: set it to images=1024 or less"),
        ("every.log=null", "every.log=null must be a whole number of at least 1"),
        ("every.sample=0", "every.sample=0 must be a whole number of at least 1"),
        ("model.latent.distribution=cauchy", "model.latent.distribution=cauchy must be uniform or normal"),
    ],
)
def test_a_wrong_setting_is_one_line_with_its_remedy(run_tiny, override, said):
    outcome = run_tiny(override)
    assert outcome.status == 2
    assert said in outcome.error and "Traceback" not in outcome.err
    assert not list(Path(".").rglob("*.ckpt"))


@pytest.mark.parametrize("loss", ["wgan_gp", "logistic_r1"])
def test_a_penalty_in_float16_is_refused_before_training(run_tiny, loss):
    outcome = run_tiny(f"loss={loss}", "model.discriminator.norm=none", "trainer.precision=16-mixed")
    assert outcome.status == 2
    assert "trainer.precision=16-mixed has too small a range" in outcome.error


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_a_dcgan_trains_under_a_gradient_penalty_without_batch_norm(run_tiny, norm):
    outcome = run_tiny("loss=wgan_gp", f"model.discriminator.norm={norm}", "images=64")
    assert outcome.status == 0, outcome.err


def test_a_typo_leaves_nothing_behind(run_tiny):
    run_tiny("-m", "optim.lrr=1,2")
    assert not Path("outputs").exists()


def test_a_folder_of_other_settings_is_refused_and_left_alone(run_tiny):
    run_tiny("name=a", "images=128")
    before = {p: p.read_bytes() for p in Path("outputs/a").rglob("*") if p.is_file() and p.name != "run.log"}
    outcome = run_tiny("name=a", "images=128", "optim.lr=1e-4")
    assert outcome.status == 2
    assert "outputs/a holds a run with other settings (optim.lr was 0.0002, now 0.0001)" in outcome.error
    assert "force=true" in outcome.error
    assert {p: p.read_bytes() for p in before} == before


def test_a_run_goes_on_whatever_a_setting_says_from_which_others_alone_are_computed(run_tiny):
    """As of a DCGAN, which does not grow, or of a run from before there was that setting."""
    run_tiny("name=a", "images=64")
    outcome = run_tiny("name=a", "images=128", "growing.lr=1e-4")
    assert outcome.status == 0 and "resuming" in outcome.err, outcome.err
    run_tiny("name=b", "images=64", "optim.lr=${growing.lr}")
    outcome = run_tiny("name=b", "images=128", "optim.lr=${growing.lr}", "growing.lr=1e-4")
    assert outcome.status == 2 and "other settings (optim.lr was" in outcome.error


def test_a_finished_run_keeps_its_record_and_says_how_to_score_it(run_tiny):
    run_tiny("name=a", "images=64")
    before = {p: p.read_bytes() for p in Path("outputs/a").rglob("*") if p.is_file() and p.name != "run.log"}
    outcome = run_tiny("name=a", "images=64", "every.log=32", "scores=generator")
    assert outcome.status == 0 and "finished already" in outcome.err
    assert "python -m src.evaluate run=outputs/a" in outcome.err
    outcome = run_tiny("name=a", "images=64", "objective=fid")
    assert outcome.status == 2 and "outputs/a is finished, and objective=fid is no number of this run" in outcome.error
    assert {p: p.read_bytes() for p in before} == before


def test_a_checkpoint_of_another_architecture_is_refused_naming_the_weight(run_tiny):
    run_tiny("name=a", "images=64")
    run_tiny("name=b", "images=64", "model.generator.upsampling=transposed")
    shutil.copy("outputs/b/checkpoints/last.ckpt", "outputs/a/checkpoints/last.ckpt")
    outcome = run_tiny("name=a", "images=128")
    assert outcome.status == 2
    assert "is of another architecture: generator." in outcome.error and "there and" in outcome.error


def test_a_run_that_saved_nothing_is_replaced(run_tiny):
    assert run_tiny("name=a", "images=128", "batch_size=1000").status == 2
    assert run_tiny("name=a", "images=128").status == 0


def test_a_full_disk_at_a_checkpoint_leaves_the_last_good_one(run_tiny):
    run_tiny("name=a", "images=128")
    checkpoint = Path("outputs/a/checkpoints/last.ckpt")
    good = checkpoint.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        outcome = run_tiny("name=a", "images=256")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert outcome.status == 2
    assert "could not be written" in outcome.error and "make room on the disk" in outcome.error
    assert checkpoint.read_bytes() == good
    assert not list(checkpoint.parent.glob(".*"))
    assert run_tiny("name=a", "images=256").status == 0


def test_cifar_absent_and_offline_names_the_folder_and_the_remedy(run_tiny, monkeypatch):
    def offline(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    outcome = run_tiny("data=cifar10", "data.root=nowhere")
    assert outcome.status == 2
    assert "data.root=nowhere" in outcome.error and "connect to the internet" in outcome.error


def test_a_dry_run_prints_every_phase_with_its_hours_and_leaves_nothing(run_train):
    outcome = run_train(*SMALL, "model=enhanced", "dry_run=true")
    assert outcome.status == 0, outcome.err
    rows = [line for line in outcome.out.splitlines() if " px " in line]
    assert [row.split("│")[1:3] for row in rows] == [
        [f"{size:>8} px ", f" {kind:>9} "]
        for size, kind in [(4, "stabilise"), (8, "fade in"), (8, "stabilise"), (16, "fade in"), (16, "stabilise")]
    ]
    first, fading, stable, *_ = (int(row.split("│")[6].replace(",", "")) for row in rows)
    assert 0 < first < stable < fading  # which trains the layers to and from images of two resolutions
    assert "1,024 images" in outcome.out and "hours on this machine" in outcome.out
    assert not list(Path("outputs").iterdir())


def contents(run: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name not in (".lock", "run.log")}


def test_a_second_process_is_refused_in_one_line_and_deletes_nothing(run_tiny):
    """As of two that start at once: the first holds the folder, and has written nothing yet."""
    owner = RunFolder(Path("outputs/a"))
    owner.lock()
    outcome = run_tiny("name=a", "images=128")
    assert outcome.status == 2 and "outputs/a is in use by another process" in outcome.error
    assert [path.name for path in Path("outputs/a").iterdir()] == [".lock"]
    owner.leave()


def test_force_deletes_nothing_in_a_dry_run_or_where_a_setting_is_wrong(run_tiny):
    run_tiny("name=a", "images=64")
    before = contents(Path("outputs/a"))
    for asked in ("dry_run=true", "optim.lr=-1", "data=folder"):
        outcome = run_tiny("name=a", "images=64", "force=true", asked)
        assert outcome.status == (0 if asked == "dry_run=true" else 2)
        assert contents(Path("outputs/a")) == before, asked


def test_force_touches_no_folder_that_is_not_of_a_run(run_tiny):
    Path("outputs/scans").mkdir(parents=True)
    Image.new("L", (8, 8)).save("outputs/scans/mine.png")
    outcome = run_tiny("name=scans", "images=64", "force=true")
    assert outcome.status == 2 and "outputs/scans holds mine.png, and is no run folder" in outcome.error
    assert [path.name for path in Path("outputs/scans").iterdir()] == ["mine.png"]


@pytest.mark.parametrize("asked", ["name=.", "name=..", "name=/tmp/a", "name=a/../../b", "paths.outputs=''"])
def test_no_run_leaves_the_folder_of_all_runs(run_tiny, asked):
    outcome = run_tiny(asked, "force=true", *(["-m"] if asked == "name=.." else []))
    assert outcome.status == 2 and ("is no folder inside" in outcome.error or "must be a folder" in outcome.error)
    assert not list(Path(".").iterdir())
