"""What a generator learned from: where its images may be used, and among which copies are looked for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.generate import main
from src.release.export import BATCH, Export
from src.release.real_masks import DERIVED, usual_overrides
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
        asked = ["run=outputs/a", "n=4", "out=out", "progress=false", "device=cpu", "copies.share=null", *arguments]
        status = main(asked)
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


@pytest.fixture
def on_vessels(on_files):
    """The same of a run with masks: dots, of which there are many in an image."""
    train, generate = on_files
    Path("scans").rename("images")
    for i in range(40):
        mask = np.zeros((16, 16), np.uint8)
        mask[::4, ::3] = 255
        mask[i % 16] = 0
        Path("masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(f"masks/{i}.png")
    masks = ("data.root=.", "data.images=images", "data.mask_folders={vessel: masks}", "with_masks=true")
    assert train("name=a", *masks).status == 0
    return generate


def test_masks_like_the_real_ones_pass_without_a_word_and_the_record_says_how_they_were_judged(on_vessels, monkeypatch):
    def real(export, start):
        masks = np.stack([np.asarray(Image.open(f"masks/{i % 40}.png")) for i in range(start, start + BATCH)])
        return torch.from_numpy(masks[:, None].repeat(2, 1) / 127.5 - 1).float()

    monkeypatch.setattr(Export, "generate", real)
    usual = usual_overrides().split()
    assert "only 0 of 40 images pass the checks" in on_vessels(*usual, "out=usual")[2]
    status, out, _ = on_vessels()
    assert status == 0 and "masks.parts=24 masks.may_be_empty=[]: taken from 28 real training images" in out
    card = read_json(CARD)
    assert card["rejected"] == {} and card["limits"]["parts"] == 24
    assert card["real_masks"] == {"images": 28, "left_out": 0, "limits_taken_from_them": list(DERIVED)}


def test_limits_that_would_leave_out_the_real_masks_are_said(on_vessels):
    status, out, _ = on_vessels("masks.parts=1", "masks.reject=false")
    assert status == 0 and "of which the checks would leave out 28; what passes is unlike them" in out


def test_without_the_data_the_limits_have_to_be_given(on_vessels):
    Path("images").rename("elsewhere")
    status, _, err = on_vessels()
    assert status == 2 and err.count("\n") == 1 and f"put the data back, or say {usual_overrides()}" in err
    assert on_vessels(*usual_overrides().split(), "masks.reject=false")[0] == 0


def test_copies_are_looked_for_among_the_images_that_were_learned_from_also_after_others_joined_the_data(on_files):
    train, generate = on_files
    train("name=a")
    assert generate("copies.min_distance=1e-9")[0] == 0
    before = read_json(CARD)["copies"]["held_out"]
    for i in range(40, 60):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (16, 16), np.uint8)).save(f"scans/{i}.png")
    status, out, _ = generate("copies.min_distance=1e-9", "force=true")
    after = read_json(CARD)["copies"]["held_out"]
    assert (before["images"], after["images"]) == (12, 32)  # none that was learned from is held out now
    assert (
        status == 0
        and f"of 32 real images of 32 patients held out of training, 1% are nearer than {after['1%']:g}" in out
    )
    assert before["1%"] > 0.3 and after["1%"] > 0.3


def test_copies_are_not_looked_for_where_images_that_were_learned_from_are_gone(on_files):
    train, generate = on_files
    train("name=a")
    for i in range(20):
        Path(f"scans/{i}.png").unlink()
    status, _, err = generate("copies.share=0.05")
    assert status == 2 and "of the 28 images that the generator learned from are not in the data any more" in err
    assert err.splitlines()[-1].endswith("or do not look with copies.share=null")
    assert generate()[0] == 0


def test_an_export_leaves_out_copies_without_being_asked_and_its_record_says_how(on_files, monkeypatch, capfd):
    def copier(export, start):
        """Every second image is a training image, the others are noise."""
        learned = sorted(read_json(Path("outputs/a/training_images.json"))["images"])
        names = {hashlib.sha256(path.read_bytes()).hexdigest()[:16]: path for path in Path("scans").glob("*.png")}
        real = np.stack([np.asarray(Image.open(names[learned[i % 28]])) for i in range(start, start + BATCH)])
        images = torch.from_numpy(real[:, None] / 127.5 - 1).float()
        generator = torch.Generator().manual_seed(start)
        images[1::2] = torch.rand(images[1::2].shape, generator=generator) * 2 - 1
        return images

    train, _ = on_files
    train("name=a")
    monkeypatch.setattr(Export, "generate", copier)
    assert main(["run=outputs/a", "n=12", "out=out", "progress=false", "device=cpu"]) == 0
    out, card = capfd.readouterr().out, read_json(CARD)
    kept = [int(row.split(",")[2]) for row in Path("out/manifest.csv").read_text().splitlines()[1:]]
    assert all(index % 2 for index in kept) and card["rejected"]["copy"] >= 11
    assert card["copies"]["min_distance"] == card["min_distance"] and card["copies"]["originals"] == 28
    assert card["copies"]["why"] == "nearer are at most 0.05 of the images of other patients, as those held out show"
    assert card["copies"]["held_out"]["patients"] == 12
    assert f"copies.share=0.05: images nearer than {card['min_distance']:g} to a training image are left out" in out
    assert "caution: only 12 patients were held out of training" in out


def test_the_record_says_where_nobody_looked_for_copies(on_files):
    train, generate = on_files
    train("name=a")
    assert generate()[0] == 0 and read_json(CARD)["copies"]["filter"] is None


def test_without_held_out_images_the_distance_has_to_be_given(on_files):
    train, generate = on_files
    train("name=a", "data.splits={train: 1.0}")
    status, _, err = generate("copies.share=0.05")
    assert status == 2 and "no real image was held out of training" in err.splitlines()[-1]
    assert generate("copies.min_distance=0.001")[0] == 0


def test_a_run_that_kept_no_record_is_compared_with_its_split_of_today_and_that_is_said(on_files, caplog):
    train, generate = on_files
    train("name=a")
    Path("outputs/a/training_images.json").unlink()
    assert generate("copies.min_distance=1e-9")[0] == 0
    assert caplog.text.count("outputs/a keeps no record of its training images") == 1
    assert "training_images" not in read_json(CARD) and read_json(CARD)["copies"]["held_out"]["images"] == 12


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
