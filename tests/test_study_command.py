"""The headline command, from the command line to its page."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from src.study import main

TINY = (
    "name=tiny", "budget=smoke", "phantoms=48", "data.sizes.val=8", "data.sizes.test=12", "logger=csv",
    "trainer.threads=1", "progress=false", "generators=[pggan]", "generator.images=256", "generator.width=8",
    "fractions=[1.0]", "seeds=1", "regimes=[synthetic_then_real,mixed]", "synthetic=48", "reject_masks=false",
    "unet.images=64", "unet.model.network.width=2", "unet.model.network.depth=3", "classifier.images=64",
    "classifier.width=4", "classifier.batch_size=32",
)  # fmt: skip


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


def test_a_study_ends_in_a_page_and_goes_on_from_what_is_done(study):
    status, out, err = study(*TINY)
    assert status == 0, err[-2000:]
    folder = Path("outputs/tiny")
    assert "report: " in out and (folder / "study.html").exists()
    answer = json.loads((folder / "study.json").read_text())
    assert answer["verdict"] in out and len(answer["arms"]) == 3
    score_claims = [claim["state"] for claim in answer["claims"] if "Score" in claim["claimed"]]
    assert score_claims == ["not tested", "not tested"]  # enhanced did not take part
    results = (folder / "results.json").read_text()

    finished = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/summary.json")}
    assert len(finished) == 1 + 4 + 1
    lost = next(path.parent for path in finished if path.parent.name.startswith("finetune"))
    shutil.rmtree(lost)  # as if it had been killed
    status, _, err = study(*TINY)
    assert status == 0, err[-2000:]
    assert (folder / "results.json").read_text() == results
    again = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/summary.json")}
    assert {path for path in finished if finished[path] != again[path]} == {lost / "summary.json"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data.masks=[]"], "with_masks=true needs data with masks: data=phantom, sunnybrook or cvc_clinicdb"),
        (["generators=[outputs/none]"], "outputs/none is neither a run folder nor a checkpoint"),
        (["fractions=[0]"], "each must be above 0, which leaves no image"),
        (["seed_count=3"], "seed_count is not a setting"),
        (["unet.imagse=3"], "imagse is not a setting; did you mean images?"),
    ],
)
def test_a_wrong_setting_is_one_line_before_anything_is_trained(study, arguments, said):
    status, _, err = study("name=wrong", "logger=csv", *arguments)
    assert status == 2 and said in err and "Traceback" not in err
    assert not list(Path(".").rglob("*.ckpt"))
