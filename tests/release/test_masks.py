from __future__ import annotations

import numpy as np
import pytest
import torch

from src.core.errors import UserError
from src.release.masks import MaskLimits, Shape, binary, find_faults


def rectangle(*corners: int, side: int = 32) -> np.ndarray:
    top, bottom, left, right = corners
    mask = np.zeros((side, side), bool)
    mask[top:bottom, left:right] = True
    return mask


def fault(mask: np.ndarray, **limits) -> str | None:
    return find_faults(mask[None, None], ["lung"], MaskLimits(**limits))[0]


def test_a_spiral_is_one_part():
    mask = np.zeros((15, 15), bool)
    for i in range(0, 15, 2):
        mask[i] = True
        mask[i : i + 2, 14 if i % 4 == 0 else 0] = True
    assert Shape.of(mask).parts == (mask.sum(),) and Shape.of(mask).outside(1) == 0


def test_a_mask_is_rejected_where_it_is_empty_full_or_speckled_and_only_there():
    assert fault(rectangle(8, 20, 8, 20)) is None
    assert fault(rectangle(0, 0, 0, 0)) == "lung: empty"
    assert fault(rectangle(0, 1, 0, 1), smallest=0.002) == "lung: empty"
    assert fault(rectangle(0, 32, 0, 32)) == "lung: full"
    noise = np.random.default_rng(0).random((32, 32)) < 0.3
    assert fault(noise) == "lung: speckle"
    assert fault(rectangle(8, 20, 8, 20) | noise & rectangle(24, 32, 0, 32)) == "lung: speckle"


def test_two_lungs_are_no_speckle_but_the_second_is_where_one_part_is_asked_for():
    lungs = rectangle(8, 20, 4, 12) | rectangle(8, 20, 20, 28)
    assert fault(lungs) is None
    assert fault(lungs, parts=1) == "lung: speckle"


def test_only_a_mask_that_may_be_empty_may_be():
    pair = np.stack([rectangle(8, 20, 8, 20), rectangle(0, 0, 0, 0)])[None]
    assert find_faults(pair, ["lung", "lesion"], MaskLimits()) == ["lesion: empty"]
    assert find_faults(pair, ["lung", "lesion"], MaskLimits(may_be_empty=("lesion",))) == [None]
    assert find_faults(pair, ["lung", "lesion"], MaskLimits(may_be_empty=("lung",))) == ["lesion: empty"]


def test_images_without_masks_have_no_fault():
    assert find_faults(np.zeros((3, 0, 8, 8), bool), [], MaskLimits()) == [None] * 3


def test_inside_is_above_zero():
    assert binary(torch.tensor([-1.0, 0.0, 0.1])).tolist() == [False, False, True]


@pytest.mark.parametrize("limits", [{"smallest": 0.96}, {"largest": 1.1}, {"speckle": -1}, {"parts": 0}])
def test_limits_out_of_range_are_refused_by_name(limits):
    with pytest.raises(UserError, match=f"masks.{next(iter(limits))}"):
        MaskLimits(**limits)
