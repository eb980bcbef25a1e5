from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.planted import KINDS, warp
from src.core.errors import UserError
from src.data.store import Split, Store
from src.release.copies import NEAREST, PRICES, SCALES, Calibration, Comparison, Originals

UNSEEN = ("upside down", "rotated by 90°")  # kinds that the search does not look for


def split_of(images: torch.Tensor, dtype=np.uint8, cases: list[str] | None = None) -> Split:
    """A split with these images (N, C, H, W) in [-1, 1]."""
    stored = ((images.double().numpy() + 1) / 2 * np.iinfo(dtype).max).round().astype(dtype)
    return Split(Store(stored, np.zeros(len(stored), int), None, {}), np.arange(len(stored)), cases)


def draw(count: int, seed: int, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    """Scans of one organ: a bright disc on black that all share, and blobs of their own in it, (N, 1, *size)."""
    generator = torch.Generator().manual_seed(seed)
    blobs = torch.zeros(count, 1, *size)
    for side, height in ((4, 1.0), (8, 0.7), (16, 0.5), (32, 0.3)):  # as in real images, larger ones are higher
        blobs += height * F.interpolate(
            torch.rand(count, 1, side, side, generator=generator) - 0.5, size, mode="bicubic"
        )
    blobs = (0.5 + 0.5 * blobs).clamp(0, 1)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in size), indexing="ij")
    return (0.5 + 0.5 * blobs) * (x**2 + y**2 < 0.7) * 1.8 - 0.9


@pytest.fixture(scope="module")
def real() -> torch.Tensor:
    return draw(40, seed=0)


@pytest.fixture(scope="module")
def originals(real) -> Originals:
    return Originals.of(split_of(real), 1)


@pytest.fixture(scope="module")
def threshold(originals) -> float:
    return originals.calibrate(split_of(draw(60, seed=4)), 1).threshold(0.05)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in UNSEEN])
def test_planted_copies_are_nearer_than_19_of_20_images_that_copy_nothing(real, originals, threshold, kind):
    copies = KINDS[kind](real[:20], torch.Generator().manual_seed(1))
    index, distance = originals.nearest(copies)
    least = 0.7 if kind == "a quarter hidden" else 0.95  # black on a black background
    assert (distance < threshold).double().mean() >= least
    assert (index == torch.arange(20)).double().mean() >= least


def test_copies_under_grain_are_nearer_than_19_of_20_images_that_copy_nothing(real, originals, threshold):
    grain = torch.randn(20, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    index, distance = originals.nearest((0.8 * real[:20] + 0.2 * grain).clamp(-1, 1))
    assert (distance < threshold).double().mean() >= 0.95 and torch.equal(index, torch.arange(20))


def outlines(count: int, seed: int, inside: int = 0) -> torch.Tensor:
    """Bodies of a form of their own, of which all else is noise, drawn by ``inside``."""
    small = torch.randn(count, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    body = F.interpolate(small, size=(64, 64), mode="bicubic") > 0
    noise = torch.rand(2, count, 1, 64, 64, generator=torch.Generator().manual_seed(100 + seed + inside))
    return torch.where(body, noise[0], 0.55 * noise[1]) * 1.8 - 0.9


def test_a_copied_outline_around_another_inside_is_found_where_held_out_images_price_the_whole():
    learned, held_out = split_of(outlines(40, seed=0)), split_of(outlines(120, seed=1))
    made = outlines(40, seed=0, inside=7)
    whole = Comparison.between(learned, held_out, 1)
    few = Comparison.between(learned, held_out.take(np.arange(99)), 1)
    assert few.calibration.prices == PRICES and len(whole.calibration.prices) == len(SCALES) > len(PRICES)
    found, without = (
        (one.originals.nearest(made)[1] < one.calibration.threshold(0.05)).double().mean() for one in (whole, few)
    )
    assert without < 0.8 < 0.95 <= found


def test_the_nearest_held_out_images_are_equally_near_at_all_scales(originals):
    held_out = split_of(draw(120, seed=4))
    prices = torch.tensor(originals.calibrate(held_out, 1).prices, dtype=torch.float64)
    at_scales = originals.match(held_out.gather(np.arange(120))["image"]).at_scales * prices
    near = at_scales.quantile(NEAREST, 0)
    assert torch.allclose(near, near[0].expand(len(SCALES)), rtol=0.02)
    assert (at_scales < near).double().mean(0).tolist() == pytest.approx([NEAREST] * len(SCALES), abs=0.01)


def test_copies_of_images_that_are_not_square_are_found_where_they_are_turned():
    wide = draw(12, seed=0, size=(48, 96))
    turned = warp(wide, torch.full((12,), 12.0), torch.ones(12), torch.zeros(12, 2))
    originals = Originals.of(split_of(wide), 1)
    index, distance = originals.nearest(turned)
    assert torch.equal(index, torch.arange(12)) and distance.max() < 0.3
    assert originals.nearest(draw(12, seed=5, size=(48, 96)))[1].min() > distance.max()


def test_the_grid_of_a_match_says_where_its_pixels_lie_in_the_original(real, originals):
    moved = warp(real[:8], torch.full((8,), 8.0), torch.full((8,), 1.1), torch.full((8, 2), 0.05))
    match = originals.match(moved)
    back = F.grid_sample(real[:8], match.grids, align_corners=False)
    there = F.interpolate(moved, size=back.shape[2:], mode="bilinear", antialias=True)
    inside = (match.grids.abs() < 0.8).all(3)[:, None]
    assert ((back - there).abs() * inside).sum() / inside.sum() < 0.1
    assert ((real[:8] - moved).abs()).mean() > 0.2  # before


def test_images_that_share_only_their_organ_are_not_near_each_other(originals):
    assert originals.nearest(draw(40, seed=3))[1].min() > 0.25


def test_the_distance_of_a_copy_is_0(real, originals):
    assert originals.nearest(split_of(real).gather(np.arange(40))["image"])[1].max() < 1e-3


@pytest.mark.parametrize("blank", [torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), -1.0)])
def test_an_image_without_contrast_is_no_copy_and_no_error(blank):
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    originals = Originals.of(split_of(torch.cat([images, blank])), 3)
    assert originals.nearest(blank)[1].item() > 0.9
    assert originals.nearest(images)[0].tolist() == [0, 1, 2, 3]


def test_neighbours_do_not_depend_on_the_chunk(real, originals, monkeypatch):
    whole = originals.nearest_of(split_of(draw(20, seed=1)), 1)
    monkeypatch.setattr("src.release.copies.CHUNK", 3)
    parts = Originals.of(split_of(real), 1).nearest_of(split_of(draw(20, seed=1)), 1)
    assert torch.equal(whole[0], parts[0]) and torch.allclose(whole[1], parts[1], atol=1e-4)


def test_pairs_come_nearest_first(real, originals):
    noise = 0.05 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    generated = torch.cat([draw(8, seed=2), (real[[7]] * 0.5 + 0.3 + noise).clamp(-1, 1)])
    pairs = originals.closest_pairs(split_of(generated), 1, 3)
    assert pairs[0][:2] == (8, 7) and pairs[0][2] < 0.15 < 0.2 < pairs[1][2] <= pairs[2][2]


def test_stored_pixels_are_as_near_as_the_images_they_hold(real):
    originals = Originals.of(split_of(real, np.uint16), 1)
    held, made = originals.nearest_of(split_of(draw(9, seed=1), np.uint16), 1)[1], originals.nearest(draw(9, seed=1))[1]
    assert torch.allclose(held, made, atol=0.02)


def test_other_patients_lose_no_more_than_the_share_that_sets_the_threshold():
    rejected = []
    for seed in range(40):  # ten images of a patient, who has a distance of his own
        generator = torch.Generator().manual_seed(seed)
        own, other = (
            0.5
            + 0.05
            * (torch.randn(40, generator=generator).repeat_interleave(10) + torch.randn(400, generator=generator))
            for _ in range(2)
        )
        patients = tuple(f"p{i // 10}" for i in range(400))
        rejected.append((other < Calibration(own.double(), patients, 0).threshold(0.05)).float().mean())
    plain = 0.05
    assert 0.015 < torch.stack(rejected).mean() < plain


def test_the_facts_of_a_calibration_are_those_of_the_held_out_images(originals):
    cases = [f"p{i // 2}" for i in range(60)]
    facts = originals.calibrate(split_of(draw(60, seed=4), cases=cases), 1).facts()
    assert (facts["images"], facts["patients"]) == (60, 30) and facts["1%"] <= facts["5%"] <= facts["50%"]
    calibration = originals.calibrate(split_of(draw(60, seed=4), cases=cases), 1)
    assert f"60 real images of 30 patients held out of training, 1% are nearer than {facts['1%']:g}" in (
        calibration.describe()
    )


def test_few_patients_are_a_caution(originals):
    few, many = (
        Calibration(torch.rand(120, dtype=torch.float64), tuple(f"p{i % count}" for i in range(120)), 0)
        for count in (49, 50)
    )
    assert "only 49 patients were held out" in str(few.caution()) and many.caution() is None


def test_without_real_images_held_out_there_is_no_threshold_and_one_line_says_so(real, originals):
    calibration = originals.calibrate(split_of(real).take(np.arange(0)), 1)
    assert calibration.facts() == {"images": 0, "patients": 0, "duplicates": 0} and calibration.caution() is None
    assert calibration.describe().startswith("no real image was held out")
    with pytest.raises(UserError, match=r"copies.min_distance=….*copies.share=null"):
        calibration.threshold(0.05)


def test_held_out_images_that_are_a_training_image_again_do_not_count(real, originals):
    held_out = draw(50, seed=4)
    noise = torch.randn(5, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    again = torch.cat(
        [real[:5], (real[5:10] + 0.004 * noise).clamp(-1, 1), real[10:12].flip(3)]
    )  # saved anew, mirrored
    clean, spoilt = (originals.calibrate(split_of(images), 1) for images in (held_out, torch.cat([held_out, again])))
    assert spoilt.facts() == {**clean.facts(), "duplicates": 12} and clean.facts()["1%"] > 0.2
    assert spoilt.describe().endswith("; 12 more are a training image again, and do not count")


def test_no_real_image_is_one_line(real):
    with pytest.raises(UserError, match="no real images"):
        Originals.of(split_of(real).take(np.arange(0)), 1)
