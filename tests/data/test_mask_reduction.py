from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from src.data import mask_reduction
from src.data.decode import fit_frame
from src.data.mask_reduction import resize_mask, thin

EIGHT = np.ones((3, 3))


def reduce(mask: np.ndarray, side: int) -> np.ndarray:
    """``mask`` (H, W) at ``side`` pixels a side."""
    return resize_mask(mask.astype(np.uint8), (side, side), (0, 0, mask.shape[1], mask.shape[0]))


def parts(mask: np.ndarray) -> int:
    return ndimage.label(mask, EIGHT)[1]


def vessels(side: int, seed: int) -> np.ndarray:
    """Six lines, one pixel wide, that wander from the centre to the border."""
    rng, mask = np.random.default_rng(seed), np.zeros((side, side), np.uint8)
    for _ in range(6):
        angles = rng.uniform(0, 2 * np.pi) + rng.normal(0, 3 / side**0.5, 2 * side).cumsum() / side**0.5
        x, y = (side / 2 + np.cumsum(step(angles) / 2) for step in (np.cos, np.sin))
        inside = np.logical_and.accumulate((x >= 0) & (x < side) & (y >= 0) & (y < side))
        mask[y[inside].astype(int), x[inside].astype(int)] = 1
    return mask


def blobs(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random((96, 96)), rng.uniform(0.5, 3))
    return (smooth > rng.uniform(0.45, 0.6)).astype(np.uint8)


@pytest.mark.parametrize("side", [96, 64, 50])
def test_a_vessel_of_one_pixel_at_512_is_whole_at_64(side):
    for seed in range(3):
        mask = vessels(512, seed)
        assert parts(mask) == parts(small := reduce(mask, side)) == 1
        assert 0.9 < small.any(0).mean() / mask.any(0).mean() < 1.1  # as far as before
        assert small.sum() < 1.5 * mask.sum() * side / 512  # one pixel wide


@pytest.mark.parametrize("side", [32, 30, 20])
def test_every_part_leaves_a_mark_that_is_not_torn(side):
    for seed in range(20):
        mask = blobs(seed)
        labels, count = ndimage.label(mask, EIGHT)
        small, where = reduce(mask, side), (2 * np.arange(96) + 1) * side // 192
        for label in range(1, count + 1):
            touched = np.zeros_like(small)
            y, x = np.nonzero(labels == label)
            touched[where[y], where[x]] = 1
            assert parts(touched & small) == 1


@pytest.mark.parametrize("side", [96, 64, 48, 24])
def test_the_area_of_a_compact_mask_stays(side):
    y, x = np.mgrid[:192, :192]
    discs = [np.hypot(y - 90 - i, x - 100 + 2 * i) < 30 + 3 * i for i in range(10)]
    squares = [(abs(y - 90 - i) < 40) & (abs(x - 80) < 30 + i) for i in range(10)]
    for masks in (discs, squares):
        ratios = [reduce(mask, side).mean() / mask.mean() for mask in masks]
        assert np.mean(ratios) == pytest.approx(1, abs=0.02)


def test_a_pixel_is_inside_where_the_mask_covers_most_of_it_or_half_and_its_centre():
    mask = np.zeros((20, 20), np.uint8)
    mask[2:13, 3:14] = 1  # covers half of the pixels of its left and lower border
    expected = np.zeros((10, 10), np.uint8)
    expected[1:6, 1:7] = 1
    np.testing.assert_array_equal(reduce(mask, 10), expected)


def test_a_mask_of_the_same_size_or_a_larger_one_repeats_its_pixels():
    mask = blobs(0)
    np.testing.assert_array_equal(reduce(mask, 96), mask)
    np.testing.assert_array_equal(reduce(mask, 192), mask.repeat(2, 0).repeat(2, 1))


def test_what_lies_outside_of_a_crop_leaves_nothing():
    mask = np.zeros((40, 80), np.uint8)
    mask[:, 10] = mask[20, 10:50] = 1
    cropped = fit_frame(mask, (10, 10), "crop", resize_mask)
    expected = np.zeros((10, 10), np.uint8)
    expected[5, :8] = 1
    np.testing.assert_array_equal(cropped, expected)


def test_thinning_keeps_parts_and_holes_and_leaves_lines():
    for seed in range(20):
        mask = blobs(seed)
        line = thin(mask, 96)
        holes = [ndimage.label(np.pad(1 - one, 1, constant_values=1))[1] for one in (mask, line)]
        assert parts(line) == parts(mask) and holes[0] == holes[1]
        assert not (line & ~mask).any()
    assert thin(np.ones((9, 21), np.uint8), 99).sum() <= 21


def test_a_mask_of_a_large_scan_is_looked_at_on_few_pixels(monkeypatch):
    seen = []
    monkeypatch.setattr(mask_reduction, "thin", lambda mask, steps: seen.append(mask.size) or thin(mask, steps))
    mask = np.zeros((3000, 3000), np.uint8)
    mask[1000] = 1
    assert reduce(mask, 64).sum() == 64 and max(seen) < (8 * 64) ** 2
