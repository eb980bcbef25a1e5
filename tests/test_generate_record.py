"""What a generator learned from: where its images may be used, and among which copies are looked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.generate import main
from tests.conftest import read_json

CARD = Path("out/dataset.json")


@pytest.fixture
def on_files(run_tiny, capfd):
    """``src.train`` of a tiny DCGAN on 40 files, and ``src.generate`` of its run (name=a)."""
    Path("scans").mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).save(f"scans/{i}.png")

    def train(*arguments):
        return run_tiny("data=folder", "data.root=scans", "resolution=16", "batch_size=16", "images=64", *arguments)

    def generate(*arguments):
        status = main(["run=outputs/a", "n=4", "out=out", "progress=false", "device=cpu", *arguments])
        return status, *capfd.readouterr()

    return train, generate


def test_synthetic_images_are_no_training_images_for_a_split_that_tests_what_their_generator_learned_from(on_files):
    train, generate = on_files
    assert train("name=a", "data.seed=1").status == 0 and generate()[0] == 0
    synthetic = ("training.synthetic=out", "data.seed=0")
    assert "the generator of training.synthetic=out learned from" in train("name=b", *synthetic).error
    assert train("name=c", "training.synthetic=out", "data.seed=1").status == 0
    records = [json.loads(Path("outputs", name, "training_images.json").read_text()) for name in "ac"]
    assert records[0] == records[1]


def test_copies_are_looked_for_among_the_images_that_were_learned_from_also_after_others_joined_the_data(on_files):
    train, generate = on_files
    train("name=a")
    assert generate("copies.min_distance=1e-9")[0] == 0
    before = read_json(CARD)["held_out_distances"]
    for i in range(40, 60):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (16, 16), np.uint8)).save(f"scans/{i}.png")
    status, out, _ = generate("copies.min_distance=1e-9", "force=true")
    after = read_json(CARD)["held_out_distances"]
    assert (before["images"], after["images"]) == (12, 32)  # none that was learned from is held out now
    assert status == 0 and f"of 32 real images held out of training, 1% are nearer than {after['1%']:g}" in out
    assert before["1%"] > 0.3 and after["1%"] > 0.3


def test_copies_are_not_looked_for_where_images_that_were_learned_from_are_gone(on_files):
    train, generate = on_files
    train("name=a")
    for i in range(20):
        Path(f"scans/{i}.png").unlink()
    status, _, err = generate("copies.min_distance=0.2")
    assert status == 2 and "of the 28 images that the generator learned from are not in the data any more" in err
    assert generate()[0] == 0


def test_a_run_that_kept_no_record_is_compared_with_its_split_of_today_and_that_is_said(on_files):
    train, generate = on_files
    train("name=a")
    Path("outputs/a/training_images.json").unlink()
    status, _, err = generate("copies.min_distance=1e-9")
    assert status == 0 and err.count("outputs/a keeps no record of its training images") == 1
    assert "training_images" not in read_json(CARD) and read_json(CARD)["held_out_distances"]["images"] == 12


def test_a_run_without_a_record_of_its_data_that_goes_on_with_other_files_has_learned_from_both(on_files):
    train, _ = on_files
    train("name=a")
    path = Path("outputs/a/training_images.json")
    before = set(json.loads(path.read_text())["images"])
    rng = np.random.default_rng(1)
    for file in Path("scans").iterdir():
        Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).save(file)
    assert "40 images changed" in train("name=a", "images=128").error
    Path("outputs/a/data.json").unlink()
    assert train("name=a", "images=128").status == 0
    assert before < (both := set(json.loads(path.read_text())["images"])) and len(both) == 56
    path.unlink()
    assert train("name=a", "images=192").status == 0 and not path.exists()
