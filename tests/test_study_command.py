"""The headline command, from the command line to its page."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.data.fingerprint import DataRecord
from src.generate import main as generate
from src.study import main
from tests.forked import Command

TINY = (
    "budget=smoke", "phantoms=48", "data.sizes.val=8", "data.sizes.test=12", "logger=csv",
    "trainer.threads=1", "progress=false", "generators=[pggan]", "generator.images=256", "generator.width=8",
    "fractions=[1.0]", "seeds=1", "regimes=[synthetic_then_real,mixed]", "synthetic=48", "reject_masks=false",
    "unet.images=64", "unet.model.network.width=2", "unet.model.network.depth=3", "classifier.images=64",
    "classifier.width=4", "classifier.batch_size=32", "every.sample=256",
)  # fmt: skip


def finished(folder: Path) -> dict[Path, int]:
    """When each of the trainings ended."""
    done = [path for path in folder.glob("*/*/summary.json") if '"done"' in path.with_name("status.json").read_text()]
    return {path: path.stat().st_mtime_ns for path in done}


def numbers(folder: Path) -> list[dict]:
    """Every result but where it lies."""
    results = json.loads((folder / "results.json").read_text())
    return [{key: value for key, value in result.items() if key not in ("run", "command")} for result in results]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[str, Path]:
    """What a study printed, and its folder."""
    place, handlers = tmp_path_factory.mktemp("unbroken"), logging.root.handlers[:]
    with contextlib.chdir(place), contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*TINY, "name=tiny"]) == 0
    logging.root.handlers[:] = handlers
    return out.getvalue(), place / "outputs" / "tiny"


@pytest.fixture
def study(tmp_path, monkeypatch, capfd):
    """``src.study`` with these arguments in an empty folder; returns (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    handlers = logging.root.handlers[:]

    def run(*arguments):
        status = main(arguments)
        out, err = capfd.readouterr()
        return status, out, err

    yield run
    logging.root.handlers[:] = handlers


def test_a_study_ends_in_a_page(unbroken):
    out, folder = unbroken
    assert "report: " in out and (folder / "study.html").exists()
    answer = json.loads((folder / "study.json").read_text())
    assert answer["verdict"] in out and len(answer["arms"]) == 4
    score_claims = [claim["state"] for claim in answer["claims"] if "Score" in claim["claimed"]]
    assert score_claims == ["not tested", "not tested"]  # enhanced did not take part
    assert len(finished(folder)) == 1 + 5 + 1  # generator, U-Nets, classifier


def test_a_study_of_a_generator_that_there_is_trains_none_and_names_the_data_as_it_is_told(study, unbroken):
    generator = next((unbroken[1] / "generators").iterdir())
    asked = (
        *TINY,
        f"generators=[{generator}]",
        "data.name=mine",
        "regimes=[mixed]",
        "seeds=1",
        "score_generators=false",
    )
    status, _, err = study(*asked, "name=given")
    assert status == 0, err
    folder = Path("outputs/given")
    assert not (folder / "generators").exists()
    page = (folder / "study.html").read_text()
    assert "mine, 16 px" in page and "phantom, 16 px" not in page


def test_a_study_says_what_its_exports_left_out_and_measures_copies_as_an_export_does(unbroken, capfd):
    _, folder = unbroken
    answer, page = json.loads((folder / "study.json").read_text()), (folder / "study.html").read_text()
    assert answer["exports"] == {"pggan": {"kept": 48, "left_out": {}}} and "0 of 48 images made" in page
    (generator,) = (folder / "generators").iterdir()
    asked = ("n=1", "copies.min_distance=0.01", "masks.reject=false", "progress=false", "device=cpu")
    assert generate([f"run={generator}", f"out={folder / 'shared'}", *asked]) == 0
    said = next(line for line in capfd.readouterr().out.splitlines() if "held out of training, 1% are nearer" in line)
    assert said in page
    card = json.loads((folder / "shared" / "dataset.json").read_text())
    assert answer["held_out_distances"] == {"pggan": card["copies"]["held_out"]}


def test_a_dry_run_says_hours_and_what_can_be_found_and_leaves_nothing(study):
    status, out, err = study(
        *TINY, "name=planned", "seeds=3", "fractions=[0.5,1.0]", "dry_run=true", "spread.seeds=0.1"
    )
    assert status == 0, err[-2000:]
    rows = {words[1]: words[3::2] for line in out.splitlines() if len(words := line.split()) == 9}
    # 256 images a generator; of the U-Nets: real and not augmented, mixed, pre-trained (half) and fine-tuned (half)
    assert rows["pggan"][:2] == ["1", "256"] and rows["U-Nets"][:2] == ["27", f"{64 * (12 + 6) + 32 * (3 + 6):,}"]
    assert "3 seeds and 12 test cases find, with 80% power" in out and "stated spread: 0.100 between seeds" in out
    assert "seeds are worth more" in out
    assert not Path("outputs").exists()


def test_a_killed_study_repeats_nothing_that_is_done_and_ends_in_the_numbers_of_an_unbroken_one(study, unbroken):
    folder = Path("outputs/killed")
    process = Command([sys.executable, "-m", "src.study", *TINY, "name=killed"])
    while len(finished(folder)) < 3:  # a generator and two U-Nets: in the middle of the third
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    before = finished(folder)
    assert 3 <= len(before) < 7

    status, _, err = study(*TINY, "name=killed")
    assert status == 0, err[-2000:]
    assert before.items() <= finished(folder).items()
    assert numbers(folder) == numbers(unbroken[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data.masks=[]"], "with_masks=true needs data with masks: data=phantom, sunnybrook or cvc_clinicdb"),
        (["generators=[outputs/none]"], "outputs/none is neither a run folder nor a checkpoint"),
        (["fractions=[0]"], "fractions=[0] must be a list, [value, …], each a number above 0 and at most 1"),
        (["seed_count=3"], "seed_count is not a setting"),
        (["generators=[outputs/none]", "generator.imagse=3"], ".imagse is not a setting; did you mean "),
        (["unet.imagse=3"], ".imagse is not a setting; did you mean "),
    ],
)
def test_a_wrong_setting_is_one_line_before_anything_is_trained(study, arguments, said):
    status, _, err = study("name=wrong", "logger=csv", *arguments)
    assert status == 2 and said in err and "Traceback" not in err
    assert not list(Path(".").rglob("*.ckpt"))


def test_a_finished_study_is_shown_where_nothing_can_be_written_and_another_is_one_line(study, unbroken, small_disk):
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    shutil.copytree(unbroken[1], small_disk / "tiny")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    verdict = json.loads((unbroken[1] / "study.json").read_text())["verdict"]
    status, out, err = study(*TINY, "name=tiny", f"outputs={small_disk}")
    assert status == 0, err[-2000:]
    assert "finished already" in out and f"{verdict}\nreport: {small_disk}/tiny/study.html" in out
    for other in ("seeds=2", "name=other", "force=true"):
        status, _, err = study(*TINY, "name=tiny", f"outputs={small_disk}", other)
        assert status == 2 and err.startswith("error: ") and "can only be read" in err and err.count("\n") == 1, err


def test_a_study_over_changed_data_stops(study, unbroken, monkeypatch):
    """Of the same settings: here the drawing of the phantoms is what changed."""
    shutil.copytree(unbroken[1], "outputs/tiny")
    before = finished(Path("outputs/tiny"))
    of = DataRecord.of

    def changed(*arguments):
        record = of(*arguments)
        images = {key: (split, image, f"{mask}!", case) for key, (split, image, mask, case) in record.images.items()}
        return DataRecord(images, record.training)

    monkeypatch.setattr(DataRecord, "of", changed)
    status, _, err = study(*TINY, "name=tiny")
    assert status == 2 and "was made from other data (68 masks changed)" in err and "force=true" in err
    assert finished(Path("outputs/tiny")) == before
