from __future__ import annotations

import numpy as np
import pytest

from src.core.errors import UserError
from src.data.mask_channels import join_masks, joint_channels
from src.data.store import Split, Store


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_masks_become_channels_of_full_contrast_behind_the_images(dtype, top):
    images = np.full((3, 1, 4, 4), 7, dtype)
    masks = np.zeros((3, 2, 4, 4), np.uint8)
    masks[2, 1, :2] = 1
    joint = join_masks(Split(Store(images, np.arange(3), masks, {}), np.array([2, 0])))
    batch = joint.gather(np.array([0, 1]))
    assert batch["image"].shape == (2, 3, 4, 4) and batch["label"].tolist() == [2, 0] and "mask" not in batch
    first = batch["image"].numpy()[0]
    assert (first[0] == 7).all() and not first[1].any()
    assert (first[2, :2] == top).all() and not first[2, 2:].any()


def test_a_thin_mask_stays_in_lower_resolutions_as_a_shade():
    masks = np.zeros((1, 1, 16, 16), np.uint8)
    masks[..., 5, :] = 1
    joint = join_masks(Split(Store(np.zeros((1, 1, 16, 16), np.uint8), np.zeros(1, int), masks, {}), np.arange(1)))
    assert (joint.at(4).store.images[0, 1] == [[0], [64], [0], [0]]).all()


def test_data_without_masks_are_refused_with_what_has_them():
    split = Split(Store(np.zeros((1, 1, 4, 4), np.uint8), np.zeros(1, int), None, {}), np.arange(1))
    with pytest.raises(UserError, match=r"with_masks=true needs data with masks: data=phantom"):
        join_masks(split)


def test_a_generator_has_a_channel_per_mask_only_where_asked():
    assert joint_channels(3, 2, True) == 5 and joint_channels(3, 2, False) == 3
