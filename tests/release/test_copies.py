from __future__ import annotations

import numpy as np
import pytest
import torch

from src.data.store import Split, Store
from src.errors import UserError
from src.release.copies import closest_pairs, features, nearest, split_features


@pytest.fixture
def real() -> torch.Tensor:
    return torch.rand(40, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_copy_is_found_through_noise_and_another_brightness_and_nothing_else_is_as_near(real):
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    unlike = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    generated = torch.cat([unlike, real[[7]] * 0.5 + 0.3 + 0.01 * noise[[7]]])
    pairs = closest_pairs(features(generated), features(real), 3)
    assert pairs[0][:2] == (8, 7) and pairs[0][2] < 0.1 < 0.5 < pairs[1][2] <= pairs[2][2]


def test_the_distance_is_0_for_a_copy_2_for_a_negative_and_says_the_correlation_between(real):
    _, distance = nearest(features(torch.cat([real[:1], -real[:1], real[1:2]])), features(real[:1]))
    small = torch.nn.functional.avg_pool2d(real[:2, 0], 2).flatten(1).double().numpy()
    between = np.sqrt(2 - 2 * np.corrcoef(small)[0, 1])
    assert distance.tolist() == pytest.approx([0, 2, between], abs=1e-6)


def test_neighbours_do_not_depend_on_the_chunk(real):
    vectors = features(real)
    whole, parts = (nearest(vectors[20:], vectors[:20], chunk) for chunk in (100, 3))
    assert torch.equal(whole[0], parts[0])
    brute = (vectors[20:, None] - vectors[None, :20]).norm(dim=2)
    assert torch.equal(whole[0], brute.argmin(1)) and torch.allclose(whole[1], brute.min(1).values)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_stored_pixels_have_the_features_of_the_images_they_hold(real, dtype, top):
    stored = ((real.numpy() + 1) / 2 * top).round().astype(dtype)
    store = Store(stored, np.zeros(40, int), None, {})
    assert torch.allclose(split_features(Split(store, np.arange(5, 9)), 1), features(real[5:9]), atol=0.01)


def test_an_image_without_contrast_is_no_copy_and_no_error():
    flat = torch.zeros(1, 3, 8, 8)
    assert nearest(features(flat), features(torch.rand(4, 3, 8, 8)))[1].item() == pytest.approx(1)


def test_no_real_image_is_one_line():
    with pytest.raises(UserError, match="no real images"):
        nearest(torch.zeros(1, 256), torch.zeros(0, 256))
