"""The evaluation command: a table between floor and ceiling, files beside it, and one line for what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from src import generate as export_command
from src.core.pixels import to_bytes
from src.evaluate import main
from src.scoring.image_features import generated_batches
from src.scoring.report import short
from src.training.restore import load_data, load_generator
from src.training.wandb_sessions import sessions_of
from tests.conftest import SMALL, TINY, Outcome

DATA = ("phantoms=128", "resolution=16")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def runs(shelf: Path, run_train: Callable[..., Outcome]) -> Path:
    """A folder with the runs ``clf`` and ``gan``, trained once."""
    if not (shelf / "gan").exists():
        for arguments in ((*SMALL, "model=classifier", "width=4", "name=clf"), (*TINY, "scores=none", "name=gan")):
            outcome = run_train(*arguments, "images=512", "data.sizes.val=40", f"paths.outputs={shelf}")
            assert outcome.status == 0, outcome.err
    return shelf


@pytest.fixture
def evaluate(runs: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def run(*arguments: str) -> Outcome:
        status = main(["logger=csv", *arguments, "threads=1"])
        GlobalHydra.instance().clear()
        return Outcome(status, *capfd.readouterr())

    return run


@pytest.fixture
def generate(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def run(*arguments: str) -> Outcome:
        status = export_command.main([*arguments, "threads=1"])
        GlobalHydra.instance().clear()
        return Outcome(status, *capfd.readouterr())

    return run


def read(path: Path) -> dict[str, list[dict]]:
    """Entries of a scores.json by name, the most images first."""
    entries: dict[str, list[dict]] = {}
    for entry in json.loads(path.read_text()):
        entries.setdefault(entry["name"], []).append(entry)
    return entries


def folder_of(outcome: Outcome) -> Path:
    """Where an evaluation says that its files are."""
    return Path(outcome.out.rpartition("done: ")[2].partition(": scores.json")[0])


def export(run: Path, folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    images = torch.cat(list(generated_batches(load_generator(run).module, count, 0, 1, 64)))
    for index, image in enumerate(to_bytes(images)):
        Image.fromarray(image[0].numpy()).save(folder / f"{index:04d}.png")


def test_a_gan_stands_between_unseen_real_images_and_noise(runs, evaluate):
    outcome = evaluate(f"run={runs}/gan", f"classifier={runs}/clf", "n=100")
    assert outcome.status == 0, outcome.err
    folder = folder_of(outcome)
    rows = {name: entries[0] for name, entries in read(folder / "scores.json").items()}
    assert list(rows) == ["gan", "real (test)", "noise"]
    assert rows["real (test)"]["scores"]["fid"] < rows["gan"]["scores"]["fid"]
    assert rows["real (test)"]["scores"]["fid"] < rows["noise"]["scores"]["fid"]
    for score in ("precision", "recall", "coverage"):
        assert rows["real (test)"]["scores"][score] > rows["noise"]["scores"][score]
    for row in rows.values():
        assert {row["passport"][key] for key in ("n_real", "n_fake")} == {128, 100}
        assert set(row["intervals"]) == {*row["intervals"], "fid", "kid", "am_score"}
    assert rows["gan"]["passport"]["images_shown"] == 512 and rows["noise"]["passport"]["images_shown"] is None
    with Image.open(folder / "scores.png") as picture:
        assert picture.width == 2200
    for word in ("AM Score ↓", "FID ↓", "Recall ↑", "gan", "real (test)", "noise", "test accuracy", "100 images"):
        assert word in outcome.out


def test_same_command_same_scores_and_another_seed_others(runs, evaluate, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        arguments = (f"classifier={runs}/clf", "n=64", f"seed={seed}", "intervals=false", f"out={tmp_path / name}")
        assert evaluate(f"run={runs}/gan", *arguments).status == 0
    a, b, c = ((tmp_path / name / "scores.json").read_text() for name in "abc")
    assert a == b != c


def test_where_unseen_images_are_fewer_all_are_scored_again_with_as_many(runs, evaluate, tmp_path):
    data = ("data=phantom", "data.sizes.test=40", "data.sizes.val=40", *DATA)
    arguments = (f"run={runs}/gan", f"classifier={runs}/clf", *data, "n=100", f"out={tmp_path}", "intervals=false")
    outcome = evaluate(*arguments)
    assert outcome.status == 0, outcome.err
    rows = read(tmp_path / "scores.json")
    counts = {name: [entry["passport"]["n_fake"] for entry in entries] for name, entries in rows.items()}
    assert counts == {"gan": [100, 40], "real (test)": [40], "noise": [40, 100]}
    assert "100 images against" in outcome.out and "40 images against" in outcome.out


def test_a_kid_subset_shrinks_beside_fewer_unseen_images_and_a_line_says_so(runs, evaluate, tmp_path):
    data = ("data=phantom", "data.sizes.test=40", "data.sizes.val=40", *DATA)
    arguments = (f"run={runs}/gan", f"classifier={runs}/clf", *data, "n=100", f"out={tmp_path}", "intervals=false")
    outcome = evaluate(*arguments, "kid_subset=50")
    assert outcome.status == 0, outcome.err
    assert "kid_subset=50 is more than the 40 unseen images: in their table it is 40" in outcome.out
    entries = json.loads((tmp_path / "scores.json").read_text())
    assert [entry["passport"]["kid_subset"] for entry in entries] == [50, 40, 40, 40, 50]
    assert "unseen images" not in evaluate(*arguments, "kid_subset=40").out


def test_a_folder_of_a_runs_images_has_the_scores_of_the_run(runs, evaluate, tmp_path):
    export(runs / "gan", tmp_path / "made", 64)
    common = (f"classifier={runs}/clf", "n=64", "intervals=false")
    outcome = evaluate(f"run={tmp_path}/made", "data=phantom", "data.sizes.val=40", *DATA, *common)
    assert outcome.status == 0, outcome.err
    assert folder_of(outcome).parent == Path("outputs/evaluate")
    evaluate(f"run={runs}/gan", *common, f"out={tmp_path / 'run'}")
    (folder,) = read(folder_of(outcome) / "scores.json")["made"]
    (run,) = read(tmp_path / "run" / "scores.json")["gan"]
    assert folder["scores"]["fid"] == pytest.approx(run["scores"]["fid"], rel=1e-3)
    assert folder["scores"]["am_score"] == pytest.approx(run["scores"]["am_score"], rel=1e-3)
    assert folder["passport"]["ema"] is None


def test_earlier_scores_join_the_table_and_unlike_ones_are_refused_by_name_before_anything_is_scored(
    runs, evaluate, tmp_path, monkeypatch
):
    common = (f"run={runs}/gan", f"classifier={runs}/clf", "intervals=false")
    assert evaluate(*common, "n=64", f"out={tmp_path / 'a'}").status == 0
    assert evaluate(*common, "n=64", f"against=[{tmp_path}/a]", f"out={tmp_path / 'b'}").out.count("gan") >= 2
    monkeypatch.setattr("src.scoring.rows.score_beside", lambda *_: pytest.fail("scored"))
    for change, field in (("n=48", "n_fake"), ("seed=1", "seed"), ("classifier=null", "features")):
        arguments = [
            a for a in (*common, "n=64", "allow_small=true") if a.partition("=")[0] != change.partition("=")[0]
        ]
        outcome = evaluate(*arguments, change, f"against=[{tmp_path}/a]", f"out={tmp_path / 'c'}")
        assert outcome.status == 2 and f"cannot be compared: {field} is" in outcome.error
    assert not (tmp_path / "c").exists()


def test_scores_are_written_before_a_difference_that_only_scoring_shows_is_refused(runs, evaluate, tmp_path):
    common = (f"run={runs}/gan", f"classifier={runs}/clf", "intervals=false", "n=64")
    evaluate(*common, f"out={tmp_path / 'a'}")
    entries = json.loads((tmp_path / "a" / "scores.json").read_text())
    for entry in entries:
        entry["passport"]["accuracy"] = 0.123  # of other test images
    (tmp_path / "a" / "scores.json").write_text(json.dumps(entries))
    outcome = evaluate(*common, f"against={tmp_path}/a", f"out={tmp_path / 'b'}")
    assert outcome.status == 2 and "cannot be compared: accuracy is" in outcome.error
    assert set(read(tmp_path / "b" / "scores.json")) == {"gan", "real (test)", "noise"}


def test_another_evaluation_of_a_run_leaves_the_first_where_it_is(runs, evaluate):
    common = (f"run={runs}/gan", "allow_small=true", "intervals=false")
    asked = [(), ("n=64",), ("n=64", "seed=1"), ("n=64", f"classifier={runs}/clf"), ("n=64", "data=phantom", *DATA)]
    folders = [folder_of(evaluate(*common, "n=48", *settings)) for settings in asked]
    assert len(set(folders)) == len(asked) and all((folder / "scores.json").exists() for folder in folders)
    assert {folder.parent for folder in folders} == {runs / "gan" / "evaluation" / "last"}
    again = evaluate(*common, "n=48", "threads=1", "batch_size=7", f"against=[{folders[0]}]")  # needs no quotes
    assert folder_of(again) == folders[0], again.err


def test_folders_of_one_name_have_scores_of_their_own(runs, evaluate):
    common = ("data=phantom", *DATA, "n=20", "allow_small=true", "intervals=false")
    outcomes = []
    for name in ("a", "b"):
        export(runs / "gan", Path(name) / "images", 20)
        outcomes.append(evaluate(f"run={name}/images", *common))
    one, other = (folder_of(outcome) for outcome in outcomes)
    assert one != other and set(read(other / "scores.json")) == {"b/images", "real (test)", "noise"}


def test_the_command_of_the_readme_leaves_out_fid_where_images_are_too_few_for_it_and_says_so(runs, evaluate):
    outcome = evaluate(f"run={runs}/gan", "n=600", "intervals=false")  # 128 training images, 512 features
    assert outcome.status == 0, outcome.err
    assert "FID is left out: of 512 features it needs more than 512 images a side, there are 128 real" in outcome.out
    assert "FID ↓" not in outcome.out and "KID ↓" in outcome.out
    rows = read(folder_of(outcome) / "scores.json")
    assert all("fid" not in entry["scores"] for entries in rows.values() for entry in entries)


def test_a_generator_with_weights_that_are_not_numbers_is_no_black_image_but_an_error(
    runs, evaluate, generate, tmp_path
):
    shutil.copytree(runs / "gan", tmp_path / "broken")
    file = tmp_path / "broken" / "checkpoints" / "last.ckpt"
    stored = torch.load(file, weights_only=True)
    for value in stored["state_dict"].values():
        if value.is_floating_point():
            value.fill_(float("nan"))
    torch.save(stored, file)
    for outcome in (evaluate(f"run={tmp_path}/broken", "n=64"), generate(f"run={tmp_path}/broken", "n=4")):
        assert outcome.status == 2 and f"{tmp_path}/broken/checkpoints/last.ckpt" in outcome.error
        assert "is not finite, its training diverged: take an earlier one" in outcome.error


def test_scores_better_than_those_of_unseen_real_images_are_marked(runs, evaluate, tmp_path):
    """Copies of the training images, which no space can tell from them."""
    data = load_data(load_generator(runs / "gan"))
    data.prepare()
    (tmp_path / "copies").mkdir()
    for index, image in enumerate(data.split("train").gather(np.arange(128))["image"]):
        Image.fromarray(image[0].numpy()).save(tmp_path / "copies" / f"{index}.png")
    outcome = evaluate(
        f"run={tmp_path}/copies", "data=phantom", "data.sizes.val=40", *DATA, "n=128", "allow_small=true",
        f"out={tmp_path}/out",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    rows = {name: entries[0] for name, entries in read(tmp_path / "out" / "scores.json").items()}
    assert "fid" in rows["copies"]["better_than_real"]
    assert rows["noise"]["better_than_real"] == rows["real (test)"]["better_than_real"] == []
    assert f"{rows['copies']['scores']['fid']:.4g}*" in outcome.out
    assert "this space does not see the difference" in " ".join(outcome.out.split())


def test_without_a_classifier_there_are_no_class_scores(runs, evaluate, tmp_path):
    outcome = evaluate(f"run={runs}/gan", "n=64", "allow_small=true", "intervals=false", f"out={tmp_path}")
    assert "random features" in outcome.out and "AM Score" not in outcome.out and "FID" in outcome.out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "run is missing"),
        (["run=nowhere"], "run=nowhere does not exist"),
        (["run=RUNS/clf"], "is a classifier, which makes no images"),
        (["run=RUNS"], "holds several runs: name one of them"),
        (["run=RUNS/gan/checkpoints"], "is neither a run (no config.yaml) nor a folder of images"),
        (["run=RUNS/gan/samples"], "data is missing"),
        (["run=RUNS/gan", "classifier=RUNS/gan"], "is a dcgan, not a classifier"),
        (["run=RUNS/gan", "classifier=RUNS/clf", "n=64", "kid_subset=65"], "kid_subset=65 does not fit"),
        (["run=RUNS/gan", "classifier=RUNS/clf", "data=phantom", "data.channels=3", *DATA], "channels 1, not 3"),
        (["run=RUNS/gan", "data=phantom", "data.channels=3", *DATA, "n=64", "allow_small=true"], "leave data= out"),
        (["run=RUNS/gan/samples", "data=phantom", *DATA, "allow_small=true"], "fewer than n=2000"),
        (["run=RUNS/gan", "against=[nowhere]", "n=64", "allow_small=true"], "there is no nowhere"),
        (["run=RUNS/gan", "against=nowhere"], "there is no nowhere"),
        (["run=RUNS/gan", "clasifier=x"], "did you mean classifier?"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(runs, evaluate, asked, said, tmp_path):
    outcome = evaluate(*(argument.replace("RUNS", str(runs)) for argument in asked), "out=here")
    assert outcome.status == 2 and said in outcome.error
    assert not Path("here").exists()


def test_a_run_is_not_scored_against_data_that_have_changed_unless_they_are_named(runs, evaluate, tmp_path):
    run = tmp_path / "gan"
    shutil.copytree(runs / "gan", run, ignore=shutil.ignore_patterns("evaluation"))
    record = json.loads((run / "data.json").read_text())
    first, second, *_ = record["images"]
    del record["images"][first]
    record["images"][second][1] = "0123456789abcdef"
    (run / "data.json").write_text(json.dumps(record))
    outcome = evaluate(f"run={run}", "n=64", "intervals=false")
    assert outcome.status == 2 and "was made from other data than are there now" in outcome.error
    assert "(1 image added, 1 image changed)" in outcome.error and "data=folder" in outcome.error
    assert not (run / "evaluation").exists()
    outcome = evaluate(f"run={run}", "n=64", "intervals=false", "data=phantom", "data.sizes.val=40", *DATA)
    assert outcome.status == 0, outcome.err


def test_a_run_on_a_disk_that_can_only_be_read_is_scored_elsewhere(runs, evaluate, small_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    shutil.copytree(runs / "gan", small_disk / "gan", ignore=shutil.ignore_patterns("evaluation"))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    outcome = evaluate(f"run={small_disk}/gan", "n=64", "intervals=false")
    assert outcome.status == 2 and "can only be read" in outcome.error and "out=<folder>" in outcome.error
    assert evaluate(f"run={small_disk}/gan", "n=64", "intervals=false", f"out={tmp_path}").status == 0


def test_a_run_without_checkpoint_says_so(runs, evaluate, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.yaml").write_text((runs / "gan" / "config.yaml").read_text())
    assert "has no checkpoint" in evaluate(f"run={tmp_path}/empty").error


def test_ctrl_c_is_one_line_that_promises_no_more_than_is_true(runs, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "src.evaluate", f"run={runs}/gan", f"classifier={runs}/clf", "n=5000", "threads=1"],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which tests in the background ignore
    )
    while process.poll() is None and not list(tmp_path.glob("cache/*/scores/*.pt")):
        time.sleep(0.01)  # until it is in the midst of scoring: the real images are measured
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == "stopped: the same command starts anew\n"


def test_help_is_the_commented_configuration(evaluate):
    outcome = evaluate("--help")
    assert outcome.status == 0 and "kid_subset: null #" in outcome.out


def test_a_long_name_is_shortened_to_what_tells_runs_apart():
    name = "budget=laptop,experiment=cifar10_dog_factorial,images=50000,seed=1-"
    one, other = short(f"{name}a26baba0"), short(f"{name}5431a1ea")
    assert one == "budget=la…1-a26baba0" != other and len(other) == 20
    assert short("real (test)") == "real (test)"


def test_wandb_gets_every_number_of_an_evaluation_in_a_record_of_its_own(evaluate, runs):
    outcome = evaluate(f"run={runs}/gan", f"classifier={runs}/clf", "n=64", "logger=wandb", f"out={runs}/scored")
    assert outcome.status == 0 and "W&B" not in outcome.err, outcome.err
    (session,) = sessions_of(runs / "scored")
    summary, config = session.summary(), session.config()
    row, *others = json.loads((runs / "scored/scores.json").read_text())
    assert {"am_score", "mode_score"} <= row["scores"].keys()
    for name, value in row["scores"].items():
        assert summary[name] == pytest.approx(value)
    low, high = row["intervals"]["mode_score"]
    assert (summary["mode_score/low"], summary["mode_score/high"]) == pytest.approx((low, high))
    assert any(name.startswith("noise") for name in summary) and len(others) > 1
    assert config["model"]["name"] == "dcgan" and session.run().job_type == "evaluate"
