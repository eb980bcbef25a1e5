"""The identification command: which set an image is of, how far that holds, and one line for what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from src.identify import main
from tests.conftest import Outcome, read_json

SIDE, COUNT = 32, 24


def draw(kind: str, seed: int) -> np.ndarray:
    """Bars upright, a disc, or noise: sets that differ in structure, whose images differ in place and brightness."""
    rng = np.random.default_rng([seed, len(kind)])
    y, x = np.mgrid[:SIDE, :SIDE]
    if kind == "bars":
        pixels = 128 + 90 * np.sin(x * 0.8 + rng.uniform(0, 0.6))
    elif kind == "discs":
        pixels = 40 + 160 * (np.hypot(y - 16 - rng.uniform(-2, 2), x - 16) < 9 + rng.uniform(-1, 1))
    else:
        pixels = rng.uniform(0, 255, (SIDE, SIDE))
    return (pixels + rng.normal(0, 6, (SIDE, SIDE))).clip(0, 255).astype(np.uint8)


def make(folder: Path, kind: str, seeds: Any, name: Callable[[int], str] = lambda seed: f"{seed:03}.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        Image.fromarray(draw(kind, seed)).save(folder / name(seed))
    return folder


@pytest.fixture
def identify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Callable[..., Outcome]:
    monkeypatch.chdir(tmp_path)
    for kind in ("bars", "discs", "noise"):
        make(tmp_path / kind, kind, range(COUNT))

    def run(*arguments: str) -> Outcome:
        status = main(["resolution=32", "threads=1", "out=found", *arguments])
        GlobalHydra.instance().clear()
        return Outcome(status, *capfd.readouterr())

    return run


def found() -> dict[str, Any]:
    return read_json(Path("found/identify.json"))


def test_every_image_is_named_with_its_similarities_in_a_table_json_and_a_picture(identify) -> None:
    make(Path("asked"), "bars", range(100, 103))
    make(Path("asked"), "noise", range(200, 202), lambda seed: f"n{seed}.png")
    outcome = identify("images=asked", "among=[bars,discs,noise]", "unknown=0")
    assert outcome.status == 0, outcome.err
    content = found()
    assert {each["file"]: each["named"] for each in content["images"]} == {
        "100.png": "bars", "101.png": "bars", "102.png": "bars", "n200.png": "noise", "n201.png": "noise"
    }  # fmt: skip
    assert content["counts"] == {"bars": 3, "noise": 2}
    first = content["images"][0]
    assert first["best"]["bars"] >= first["mean"]["bars"] > first["mean"]["discs"] and first["margin"] > 0
    assert Path("bars", first["nearest"]["bars"]).is_file()
    assert content["held_out"]["of"] == 3 * (COUNT - 17) and content["held_out"]["accuracy"] == 1
    assert np.array(content["confusion"]).tolist() == np.diag([7, 7, 7]).tolist()
    assert set(content["measures"]) == {"ssim", "mse", "psnr", "correlation", "histogram"}
    assert "21 of 21 held-out images are named rightly" in outcome.out and "5 images: 3 bars, 2 noise" in outcome.out
    with Image.open("found/identify.png") as picture:
        assert picture.width > 800


def test_neither_the_names_nor_the_order_of_files_change_a_score(identify) -> None:
    """Each set's images under names in another order: the same are drawn, and compared to the same."""
    make(Path("asked"), "discs", range(100, 104))
    identify("images=asked", "among=[bars,discs,noise]")
    before = found()
    for kind in ("bars", "discs", "noise"):
        shutil.rmtree(kind)
        make(Path(kind), kind, range(COUNT), lambda seed: f"x{(7 * seed + 5) % COUNT}.png")
    shutil.rmtree("asked")
    make(Path("asked"), "discs", range(100, 104), lambda seed: f"{999 - seed}.png")
    identify("images=asked", "among=[bars,discs,noise]")
    after = found()
    for key in ("sets", "held_out", "confusion", "measures", "counts"):
        assert before[key] == after[key], key
    for one, other in zip(before["images"], after["images"][::-1], strict=True):
        assert {k: v for k, v in one.items() if k not in ("file", "nearest")} == {
            k: v for k, v in other.items() if k not in ("file", "nearest")
        }


def test_an_image_of_no_set_is_unknown_and_how_often_that_is_seen_is_told(identify) -> None:
    make(Path("asked"), "noise", range(300, 304))
    outcome = identify("images=asked", "among=[bars,discs]")
    assert found()["counts"] == {"unknown": 4} and "unknown" in outcome.out
    assert "7 held-out images tell little of where it ends: of its images 1 in 8 may be" in " ".join(
        outcome.out.split()
    )
    identify("images=asked", "among=[bars,discs,noise]")
    assert found()["sets"]["noise"]["unknown_where_not_among"] == 7


def test_a_single_file_is_enough_and_a_copy_of_a_reference_is_of_its_set(identify) -> None:
    identify("among=[bars,discs,noise]", "references=5")
    assert found()["images"] == [] and found()["sets"]["bars"]["references"] == 5
    copies = 0
    for file in sorted(Path("noise").iterdir())[:6]:
        outcome = identify(f"images={file}", "among=[bars,discs,noise]", "references=5")
        (each,) = found()["images"]
        assert each["named"] == "noise" or not each["copy"]
        assert (each["best"]["noise"] > 0.999) == each["copy"]
        copies += each["copy"]
    assert f"{file.name} is of noise" in outcome.out and copies < 6


def test_of_an_export_the_images_are_asked_about_and_not_their_masks(identify) -> None:
    make(Path("export/images"), "bars", range(100, 102))
    make(Path("export/masks/lung"), "discs", range(100, 102))
    Path("export/dataset.json").write_text("{}")
    assert identify("images=export", "among=[bars,discs]", "unknown=0").status == 0
    assert found()["counts"] == {"bars": 2}


@pytest.mark.parametrize("rule", ["mean", "best", "neighbours"])
@pytest.mark.parametrize("measure", ["mse", "correlation"])
def test_every_measure_and_rule_can_be_the_one_that_names(identify, measure, rule) -> None:
    make(Path("asked"), "discs", range(100, 102))
    outcome = identify("images=asked", "among=[bars,discs]", f"measure={measure}", f"rule={rule}", "held_out=5")
    assert outcome.status == 0 and found()["counts"].get("discs", 0) + found()["counts"].get("unknown", 0) == 2
    assert found()["settings"]["rule"] == rule and found()["images"][0]["nearest_set"] == "discs"


def small(side: int) -> str:
    Path("asked").mkdir()
    Image.fromarray(np.zeros((40, side), np.uint8)).save("asked/tiny.png")
    return "images=asked"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (lambda: ("among=[bars]",), "among=[bars] names one set only: give two or more to tell apart"),
        (lambda: ("among=[bars,nowhere]",), "among names 'nowhere', which is no folder, nor one of conf/data: chest_"),
        (lambda: ("among=[bars,bars]",), "among=[bars, bars] must be a list, [value, …], each text, none of"),
        (lambda: ("among=[bars,chest_ct]", "paths.data=here"), "chest_ct is not in here/chest-ctscan-images/Data: get"),
        (lambda: ("among=[bars,discs]", small(10)), "asked/tiny.png is of 10x40 pixels, smaller than the window of 11"),
        (lambda: ("among=[bars,discs]", "images=gone"), "images=gone does not exist: give an image or a folder"),
        (lambda: ("among=[bars,discs]", "images=few/notes.txt"), "images=few/notes.txt is of no format that is"),
        (lambda: ("among=[bars,discs]", "resolution=8"), "resolution=8 must be a whole number of at least 11"),
        (lambda: ("among=[bars,phantom]", "resolution=33", "paths.cache=c"), None),
        (lambda: ("among=[bars,few]",), "few has 3 images to compare with and 1 to test on: it needs 5 and 1"),
        (lambda: ("measur=mse",), "measur is not a setting; did you mean measure?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_leaves_nothing_behind(identify, arguments, said) -> None:
    (make(Path("few"), "bars", range(4)) / "notes.txt").write_text("none")
    outcome = identify(*arguments())
    if said is None:  # phantoms are drawn at any size
        assert outcome.status == 0, outcome.err
        return
    assert outcome.status == 2 and said in outcome.error and not Path("found").exists()


def test_held_out_images_of_the_four_medical_sets_are_told_apart_by_ssim(identify, datasets) -> None:
    """Means of SSIM alone confuse textures, unlike everything, with smooth images, which are like everything."""
    outcome = identify(f"paths.data={datasets}", "resolution=64", "held_out=40", "references=14")
    assert outcome.status == 0, outcome.err
    content = found()
    assert content["held_out"]["accuracy"] >= 0.95 and content["held_out"]["of"] == 40 + 40 + 6 + 15
    reached = content["measures"]["ssim"]
    assert reached["mean"]["balanced_accuracy"] < 0.8 < 0.95 < reached["profile"]["balanced_accuracy"]
