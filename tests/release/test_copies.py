from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.planted import KINDS, warp
from src.data.store import Split, Store
from src.release.calibration import Calibration
from src.release.copies import Originals

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
def threshold(real, originals) -> float:
    return Calibration.of(originals, split_of(real), split_of(draw(60, seed=4)), 1).threshold(0.05)


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
