"""The mark in the pixels: found after what images go through, not found where there is none, and not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from benchmarks import watermark as bench
from src.core.errors import UserError
from src.detect_mark import main
from src.generate import main as generate
from src.release import watermark
from src.release.formats.dicom import Dicom
from src.release.formats.nifti import Nifti
from src.release.formats.npz import Npz
from src.release.formats.png import Png
from src.release.label import Label
from src.release.marked_files import image_files
from src.release.watermark import SMALLEST, TILE, look_for, mark, threshold
from tests.conftest import read_json

LABEL = Label("a", 0)


def texture(seed: int, shape: tuple[int, int] = (SMALLEST, SMALLEST)) -> np.ndarray:
    """Noise with the spectrum of images, 1/f, in uint8."""
    rng = np.random.default_rng(seed)
    layers = [ndimage.gaussian_filter(rng.standard_normal(shape), blur, mode="wrap") for blur in (1, 2, 4, 8, 16)]
    image = sum(layer / layer.std() * 2**power for power, layer in enumerate(layers))
    return np.clip(image / np.std(image) * 40 + 120, 0, 255).astype(np.uint8)


def marked(pixels: np.ndarray) -> np.ndarray:
    top = np.iinfo(pixels.dtype).max
    return np.rint(mark(pixels, top)).astype(pixels.dtype)


@pytest.mark.parametrize("attack", bench.ATTACKS)
@pytest.mark.parametrize("shape", [(256, 256), (192, 256)])
def test_a_marked_image_is_found_after(attack, shape):
    assert all(look_for(bench.ATTACKS[attack](marked(texture(seed, shape)))).is_marked for seed in range(4))


@pytest.mark.parametrize("attack", ["as it is", "JPEG 75", "half the size", "5% cropped"])
def test_the_smallest_image_that_is_marked_is_found_after(attack):
    assert all(look_for(bench.ATTACKS[attack](marked(texture(seed)))).is_marked for seed in range(8))


def test_the_mark_is_not_seen():
    for seed in range(4):
        assert bench.psnr(texture(seed), marked(texture(seed))) >= 40.5


def test_unmarked_images_stay_below_the_threshold():
    scores = [look_for(texture(seed)).score for seed in range(60)]
    scores += [look_for(np.full((SMALLEST, SMALLEST), grey, np.uint8)).score for grey in (0, 128, 255)]
    stripes = np.tile(np.array([0, 0, 0, 255, 255, 255], np.uint8), (SMALLEST, 22))[:, :SMALLEST]
    assert max(*scores, look_for(stripes).score) < threshold() - 0.5


def test_the_score_of_one_place_is_no_wider_than_the_normal_distribution_that_the_threshold_rests_on(monkeypatch):
    """Over tiles drawn anew, for one image: what holds for any image."""
    image, best = texture(0).astype(np.float32), []
    for seed in range(300):
        phases = np.exp(2j * np.pi * np.random.default_rng(seed).random(watermark._inside().shape))
        drawn = np.where(watermark._inside(), phases, 0)
        monkeypatch.setattr(watermark, "_phases", lambda drawn=drawn: drawn)
        best.append(watermark._score(image))
    # The highest of 4,096 places: by Bonferroni at most 10% exceed the level of 0.1 / 4,096 each.
    level = np.sqrt(2 * np.log(TILE**2 / 0.1))
    count = sum(score > level for score in best)
    assert count <= stats.binom.ppf(0.999, len(best), 0.1) and max(best) > 3


def test_16_bits_and_colour_are_marked_alike():
    deep = texture(1).astype(np.uint16) * 257
    assert look_for(marked(deep)).score == pytest.approx(look_for(marked(texture(1))).score, abs=0.5)
    colour = np.stack([texture(2), texture(3), texture(4)], axis=2)
    assert look_for(np.moveaxis(marked(np.moveaxis(colour, 2, 0)), 0, 2)).is_marked


def test_a_mark_of_today_is_found_tomorrow():
    """The tile is part of what files are: it must not change with a version of NumPy or of ours."""
    tile = watermark._tile()
    assert tile[:2, :3].round(4).tolist() == [[0.537, 0.9335, 1.3159], [0.4375, -0.2805, -0.5171]]


@pytest.fixture
def looked_for(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = main(arguments)
        return status, *capfd.readouterr()

    return run


def test_the_command_names_the_images_that_bear_the_mark(looked_for, tmp_path):
    for name, form in {"a": Png(), "b": Dicom(), "c": Nifti(), "d": Npz()}.items():
        form.save(marked(texture(5)), tmp_path / f"{name}{form.suffix}", LABEL)
    Png().save(texture(6), tmp_path / "real.png", LABEL)
    Image.fromarray(marked(texture(5))).convert("RGBA").save(tmp_path / "e.webp", lossless=True)
    status, out, _ = looked_for("images=.", "out=marks.csv")
    assert status == 0 and "5 of 6 images bear the mark" in out
    assert "real.png: no mark found" in out and "b.dcm: marked as synthetic (score" in out
    table = (tmp_path / "marks.csv").read_text().splitlines()
    assert len(table) == 7 and table[0] == "file,marked,score,scale" and table[-1].startswith("real.png,false,")
    assert "1 of 1 images" in looked_for("images=a.png")[1]


def test_what_cannot_be_looked_at_is_one_line(looked_for, tmp_path):
    for asked, said in ((["images=none"], "images=none does not exist"), ([], "images is missing")):
        status, _, err = looked_for(*asked)
        assert status == 2 and said in err and err.count("\n") == 1
    (tmp_path / "bad.npz").write_bytes(b"PK")
    assert "cannot read bad.npz" in looked_for("images=bad.npz")[2]
    np.savez(tmp_path / "real.npz", pixels=np.zeros((128, 128)))
    assert "its values are float64" in looked_for("images=real.npz")[2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        image_files(tmp_path / "empty")


def test_an_export_is_marked_and_says_so(run_tiny, capfd):
    assert run_tiny("name=a", "images=64", "resolution=128", "batch_size=16").status == 0
    asked = ["run=outputs/a", "n=2", "progress=false", "device=cpu", "copies.share=null"]
    assert generate([*asked, "out=plain"]) == 0
    assert generate([*asked, "out=marked", "watermark=true"]) == 0
    assert generate([*asked, "out=small", "watermark=true", "size=64"]) == 2
    assert "watermark=true needs images of at least 128 pixels a side, these have 64" in capfd.readouterr().err
    for name, expected in (("plain", False), ("marked", True)):
        pictures = [np.asarray(Image.open(file)) for file in sorted(Path(name, "images").iterdir())]
        assert [look_for(pixels).is_marked for pixels in pictures] == [expected] * 2
    record = read_json(Path("marked/dataset.json"))
    assert record["watermark"] and record["watermark_found"] == {"images": 2, "found": 2}
    assert "a watermark in the pixels" in Path("marked/README.md").read_text()
