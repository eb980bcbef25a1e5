"""The dataset card and the Croissant file: what they say is what was recorded, and other programs take them."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from src.generate import main
from src.release.formats.base import Format
from src.release.formats.dicom import Dicom
from src.release.formats.imagefolder import ImageFolder
from src.release.formats.jpeg import Jpeg
from src.release.formats.nifti import Nifti
from src.release.formats.npz import Npz
from src.release.formats.png import Png
from src.release.formats.tiff import Tiff
from src.scoring.passport import Passport
from tests.conftest import read_json

FORMATS: dict[str, type[Format]] = {
    each.__name__.lower(): each for each in (Png, Jpeg, Tiff, Dicom, Nifti, Npz, ImageFolder)
}
FOUND = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
LOADERS = [(name, loader) for name, form in FORMATS.items() for loader in form.loaders]
SEVEN = ["Congruence", "Coverage", "Constraint", "Completeness", "Compliance", "Comprehension", "Consistency"]
PASSPORT = Passport(
    100, 50, "phantom", "f" * 64, "test", "classifier", "n" * 64, 40, 0.9, 0.9, 16, 0, 50, 7, False, 128, "x"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Makes ``<format>/`` once, of a run with masks; it has been scored where ``scored`` is made."""
    return tmp_path_factory.mktemp("exported")


@pytest.fixture
def export(exported, run_tiny, monkeypatch, capfd):
    if not (exported / "a").exists():
        handlers = logging.root.handlers[:]
        assert run_tiny("name=a", "images=128", "with_masks=true", f"paths.outputs={exported}").status == 0
        logging.root.handlers[:] = handlers

    def make(name: str, *arguments: str) -> Path:
        asked = [
            f"run={exported}/a",
            "n=4",
            f"format={name}",
            "progress=false",
            "device=cpu",
            "copies.share=null",
            "masks.reject=false",
        ]
        asked += ["class_name=made"] if name == "imagefolder" else []
        out = exported / re.sub(r"\W", "", "".join([name, *arguments]))[:80]
        assert main([*asked, f"out={out}", *arguments]) == 0, capfd.readouterr().err
        return out

    return make


def header_and_text(folder: Path) -> tuple[dict, str]:
    _, header, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(header), text


def test_the_card_has_a_header_for_hubs_and_says_what_made_the_images(export):
    said = ("card.license=CC-BY-4.0", "card.title=Chests", "card.creator=A Hospital", "card.date=2026-11-28")
    header, text = header_and_text(folder := export("png", *said, "card.url=https://example.org/chests"))
    assert header["pretty_name"] == "Chests" and header["license"] == "cc-by-4.0"
    assert header["task_categories"] == ["image-segmentation"] and header["size_categories"] == ["n<1K"]
    assert {"synthetic", "trainedAlgorithmicMedia"} <= set(header["tags"])
    record = read_json(folder / "dataset.json")
    for fact in (
        record["generator"]["weights"][:16],
        record["data_fingerprint"],
        "16×16",
        "lung, lesion",
        "A Hospital",
    ):
        assert fact in text
    assert f"learned from {len(record['training_images'])} real images of phantom" in text
    assert str(folder.parent) not in text


def test_the_scorecard_has_the_seven_criteria_and_not_measured_where_nobody_did(export):
    _, text = header_and_text(export("png"))
    rows = dict(re.findall(r"^\| (\w+) \| [^|]+ \| ([^|]+) \|$", text, re.M))
    assert list(rows)[-7:] == SEVEN
    assert all(rows[name].startswith("not measured") for name in ("Congruence", "Coverage", "Consistency"))
    assert (
        "licence: not stated" in rows["Compliance"] and "copies of training images: not measured" in rows["Compliance"]
    )


def test_the_card_tells_scores_with_their_passport_and_is_brought_up_to_date_by_the_same_command(export, exported):
    folder = export("tiff")
    assert "Passport" not in header_and_text(folder)[1]
    scores = exported / "a/evaluation/last/n-50/scores.json"
    scores.parent.mkdir(parents=True)
    rows = [
        {"name": name, "scores": {"fid": fid, "recall": 0.25}, "intervals": {"fid": [fid - 1, fid + 1]},
         "better_than_real": [], "passport": PASSPORT.as_dict()}
        for name, fid in (("a", 61.5), ("real (test)", 12.25))
    ]  # fmt: skip
    scores.write_text(json.dumps(rows))
    try:
        assert export("tiff") == folder
        _, text = header_and_text(folder)
        assert "FID 61.5 [60.5, 62.5] (unseen real images 12.25)" in text and "Recall 0.25" in text
        assert f"| fingerprint | {PASSPORT.fingerprint} |" in text and "evaluation/last/n-50/scores.json" in text
    finally:
        shutil.rmtree(exported / "a/evaluation")


def test_the_card_says_what_the_filter_against_copies_did(export):
    _, text = header_and_text(export("png", "copies.min_distance=1e-9", "seed=1"))
    assert "0 images nearer than 1e-09 to a training image were left out (of " in text
    assert "does not find every copy" in text


@pytest.mark.parametrize("name", FORMATS)
def test_mlcroissant_validates_the_metadata_and_reads_the_records(export, name, caplog):
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    folder = export(name, "card.license=CC-BY-4.0", "card.date=2026-11-28")
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    rows = list(dataset.records("manifest"))
    assert len(rows) == 4 and rows[0]["manifest/file"].decode().startswith("images/")
    if FORMATS[name].in_croissant:
        pictures = list(dataset.records("images"))
        assert len(pictures) == 4 and all(np.asarray(one["images/pixels"]).shape[:2] == (16, 16) for one in pictures)
        assert len(list(dataset.records("masks/lung"))) == 4


def test_mlcroissant_has_nothing_to_remark_on_a_card_of_which_all_is_said(export, capfd):
    pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    said = ("license=CC-BY-4.0", "date=2026-11-28", "url=https://example.org", "creator=Someone")
    folder = export("png", *(f"card.{one}" for one in said))
    command = [sys.executable, "-m", "mlcroissant.scripts.validate", "--jsonld", str(folder / "croissant.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "Done." in done.stderr, done.stderr
    assert "WARNING" not in done.stderr and "warning" not in done.stderr, done.stderr


@pytest.mark.parametrize(("name", "loader"), LOADERS, ids=[f"{name}-{loader.title}" for name, loader in LOADERS])
def test_the_loader_that_a_card_prints_loads_the_images(export, name, loader):
    for package in loader.packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    folder = export(name)
    assert loader.code in (folder / "README.md").read_text()
    assert len([line for line in loader.code.splitlines() if line]) <= 4
    script = f"{loader.code}\nassert len(images) == 4, images\nassert images[3] is not None\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, env=FOUND)
    assert done.returncode == 0, done.stderr
