"""Training on a folder of images: bad files, masks and settings, on the command line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SMALL


@pytest.fixture
def images(tmp_path):
    """A user's folder: 40 good images, one cut short and one empty."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (24, 20), dtype=np.uint8)).save(folder / f"{i:02d}.png")
    (folder / "cut.png").write_bytes((folder / "00.png").read_bytes()[:200])
    (folder / "empty.png").touch()
    return folder


@pytest.mark.parametrize(("bad", "other"), [("cut.png", "empty.png"), ("empty.png", "cut.png")])
def test_a_bad_file_is_named_and_leaves_no_store_behind(run_tiny, images, cache, bad, other):
    (images / other).unlink()
    stores = set(cache.glob("*/*"))
    outcome = run_tiny("data=folder", "data.root=images", "name=a")
    assert outcome.status == 2
    assert f"images/{bad}" in outcome.error and "data.on_error=skip" in outcome.error
    assert set(cache.glob("*/*")) == stores


def test_images_of_any_aspect_are_grown_to(run_train):
    Path("images").mkdir()
    for i in range(40):
        Image.new("L", (30, 20), i).save(f"images/{i}.png")
    asked = (*SMALL, "model=enhanced", "data=folder", "data.root=images", "data.aspect=[20,30]", "resolution=24")
    asked += ("images=96", "batch_size=16", "every.sample=96", "name=a")
    assert "set model.schedule.start_resolution=6" in run_train(*asked).error
    assert run_train(*asked, "model.schedule.start_resolution=6").status == 0
    with Image.open("outputs/a/samples/000000096.png") as grid:
        assert grid.size == (8 * (24 + 2) + 2, 8 * (16 + 2) + 2)


def test_bad_files_can_be_skipped_and_are_counted(run_tiny, images):
    outcome = run_tiny("data=folder", "data.root=images", "data.on_error=skip", "batch_size=16", "images=64", "name=a")
    assert outcome.status == 0, outcome.err
    assert "2 of 42 images left out" in outcome.err and "padded with black" in outcome.err


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((), "data.root is missing"),
        (("data.root=nothing-here",), "nothing-here"),
        (("data.root=empty",), "empty"),
        (("data.root=images", "data.mask_folders={lesion: masks}"), "data.mask_folders.lesion: there is no folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_line_with_its_remedy(run_tiny, images, overrides, said):
    (images.parent / "empty").mkdir()
    outcome = run_tiny("data=folder", *overrides)
    assert outcome.status == 2 and said in outcome.error and "Traceback" not in outcome.err


def test_masks_named_on_the_command_line_are_read_and_a_bad_one_is_one_line(run_tiny):
    for folder in ("data/images", "data/masks"):
        Path(folder).mkdir(parents=True)
    for i in range(8):
        Image.new("L", (20, 20), i).save(f"data/images/{i}.png")
        mask = Image.new("L", (20, 20))
        mask.paste(255, (i, i, i + 6, i + 6))
        mask.save(f"data/masks/{i}.png")
    asked = ("data=folder", "data.root=data", "data.images=images", "data.mask_folders={lesion: masks}", "batch_size=4")
    trained = run_tiny(*asked, "images=16", "name=a")
    assert trained.status == 0
    assert "folder: train 6 images, val 1 images, test 1 images" in trained.err
    assert "lesion" in Path("outputs/a/config.yaml").read_text()
    Image.new("L", (18, 20)).save("data/masks/1.png")
    assert "is of 18x20 pixels, its image images/1.png of 20x20" in run_tiny(*asked).error
    Path("data/masks/1.png").unlink()
    assert "images/1.png has no mask in the folder 'masks'" in run_tiny(*asked).error


def test_a_run_over_other_images_is_refused_with_what_changed_and_the_two_ways_on(run_tiny):
    folder = Path("images")
    folder.mkdir()
    for i in range(12):
        Image.new("L", (16, 16), 10 * i).save(folder / f"{i:02d}.png")
    asked = ("data=folder", "data.root=images", "batch_size=4", "images=16", "samples=4", "name=a")
    assert run_tiny(*asked).status == 0
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    assert "finished already" in run_tiny(*asked).err
    Image.new("L", (16, 16), 255).save(folder / "00.png")
    (folder / "01.png").unlink()
    outcome = run_tiny(*asked, "images=32")
    assert outcome.status == 2 and "outputs/a was made from other data (1 image gone, 1 image changed" in outcome.error
    assert "name=<another>" in outcome.error and "force=true" in outcome.error
    assert run_tiny(*asked, "force=true").status == 0
