from __future__ import annotations

import numpy as np
import pytest

from src.core.errors import UserError
from src.data.store import Split, Store
from src.release.masks import MaskLimits, Shape, find_faults
from src.release.real_masks import RealMasks, limits_of


def split_of(*masks: np.ndarray) -> Split:
    """Masks (K, H, W) of an image each."""
    stored = np.stack(masks).astype(np.uint8)
    return Split(
        Store(np.zeros((len(stored), 1, 1, 1), np.uint8), np.zeros(len(stored)), stored, {}), np.arange(len(stored))
    )


def shapes(masks: np.ndarray) -> list[list[Shape]]:
    return [[Shape.of(mask) for mask in image] for image in masks]


def square(side: int) -> np.ndarray:
    mask = np.zeros((32, 32), bool)
    mask[4 : 4 + side, 4 : 4 + side] = True
    return mask


def nuclei(count: int, seed: int) -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    for place in np.random.default_rng(seed).permutation(100)[:count]:
        top, left = 6 * (place // 10), 6 * (place % 10)
        mask[top : top + 3, left : left + 3] = True
    return mask


def vessels(seed: int) -> np.ndarray:
    """Lines one pixel wide, in pieces that do not touch."""
    rng, mask = np.random.default_rng(seed), np.zeros((64, 64), bool)
    for row in range(2, 62, 4):
        start = rng.integers(0, 30)
        mask[row, start : start + 20] = True
    return mask


@pytest.mark.parametrize("draw", [lambda i: nuclei(20 + i % 20, i), vessels])
def test_limits_taken_from_real_masks_let_them_pass_and_still_refuse_noise(draw):
    real = np.stack([draw(i) for i in range(50)])[:, None]
    assert None not in find_faults(real, ["lung"], MaskLimits())  # of lungs
    assert not any(find_faults(real, ["lung"], limits_of(shapes(real), ["lung"])))
    noise = np.random.default_rng(0).random((1, 1, 64, 64)) < 0.1
    assert find_faults(noise, ["lung"], limits_of(shapes(real), ["lung"])) == ["lung: speckle"]


def test_limits_taken_from_masks_of_a_few_parts_are_the_usual_ones():
    assert limits_of(shapes(np.stack([square(16)] * 5)[:, None]), ["lesion"]) == MaskLimits()
    assert limits_of(shapes(np.zeros((3, 1, 8, 8), bool)), ["lesion"]) == MaskLimits(may_be_empty=("lesion",))


def test_a_mask_that_a_real_image_lacks_may_be_empty():
    pair, lone = np.stack([square(16), square(4)]), np.stack([square(16), square(0)])
    assert RealMasks.of(split_of(pair, lone), ["lung", "lesion"], (32, 32)).limits.may_be_empty == ("lesion",)
    assert RealMasks.of(split_of(pair, pair), ["lung", "lesion"], (32, 32)).limits.may_be_empty == ()


def test_limits_are_of_masks_as_small_as_the_export():
    thin = np.zeros((1, 32, 32), bool)
    thin[0, 16, 16] = True
    whole, small = (RealMasks.of(split_of(thin), ["vessel"], (side, side)) for side in (32, 8))
    assert whole.limits.smallest == 1 / 32**2 and small.limits.smallest == MaskLimits().smallest


def test_limits_that_are_given_count_and_what_they_leave_out_of_the_real_images_is_said():
    split = split_of(*(nuclei(30, i)[None] for i in range(20)))
    free, strict = (RealMasks.of(split, ["nuclei"], (64, 64), given) for given in ({}, {"parts": 2}))
    assert not free.unlike and free.left_out == 0
    assert "masks.parts=30 masks.may_be_empty=[]: taken from 20 real training images" in free.describe()
    assert strict.unlike and strict.derived == ("smallest", "largest", "may_be_empty")
    assert "would leave out 20; what passes is unlike them" in strict.describe()


def test_data_with_other_masks_than_the_generators_are_refused():
    with pytest.raises(
        UserError, match=r"1 kinds of masks, the generator makes lung, lesion: give masks.smallest=0.001"
    ):
        RealMasks.of(split_of(square(4)[None]), ["lung", "lesion"], (32, 32))
