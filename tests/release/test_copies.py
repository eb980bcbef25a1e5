from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from src.core.errors import UserError
from src.data.store import Split, Store
from src.release.copies import Originals, describe


def split_of(images: torch.Tensor, dtype=np.uint8) -> Split:
    """A split with these images (N, C, H, W) in [-1, 1]."""
    stored = ((images.double().numpy() + 1) / 2 * np.iinfo(dtype).max).round().astype(dtype)
    return Split(Store(stored, np.zeros(len(stored), int), None, {}), np.arange(len(stored)))


def draw(count: int, seed: int) -> torch.Tensor:
    """Scans of one organ: a bright disc on black that all share, and blobs of their own in it, (N, 1, 64, 64)."""
    generator = torch.Generator().manual_seed(seed)
    blobs = F.interpolate(torch.rand(count, 1, 8, 8, generator=generator), size=(64, 64), mode="bicubic").clamp(0, 1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    return (0.5 + 0.5 * blobs) * (x**2 + y**2 < 0.7) * 1.8 - 0.9


@pytest.fixture
def real() -> torch.Tensor:
    return draw(40, seed=0)


def test_a_copy_is_found_through_noise_and_another_brightness_and_nothing_else_is_as_near(real):
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    generated = torch.cat([draw(8, seed=2), (real[[7]] * 0.5 + 0.3 + 0.05 * noise[[7]]).clamp(-1, 1)])
    pairs = Originals.of(split_of(real), 1).closest_pairs(split_of(generated), 1, 3)
    assert pairs[0][:2] == (8, 7) and pairs[0][2] < 0.15 < 0.7 < pairs[1][2] <= pairs[2][2]


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images.flip(3),
        lambda images: images.roll(4, 3),
        lambda images: images.roll((-4, 4), (2, 3)),
        lambda images: images.flip(3).roll(-4, 2),
    ],
)
def test_a_copy_that_is_mirrored_or_moved_by_a_sixteenth_is_as_near_as_a_copy(real, change):
    index, distance = Originals.of(split_of(real), 1).nearest(change(real))
    assert torch.equal(index, torch.arange(40)) and distance.max() < 0.01


def test_images_that_share_only_their_organ_are_not_near_each_other(real):
    unlike = Originals.of(split_of(real), 1).nearest(draw(40, seed=3))[1]
    raw = (F.avg_pool2d(images, 4).flatten(1) for images in (draw(40, seed=3), real))
    raw = torch.cdist(*(F.normalize(x - x.mean(1, keepdim=True)) for x in raw)).min(1).values
    assert raw.median() < 0.6 < 0.9 < unlike.median()


def test_the_distance_is_0_for_a_copy_and_about_1_4_for_what_has_nothing_in_common(real):
    originals = Originals.of(split_of(real), 1)
    assert originals.nearest(split_of(real).gather(np.arange(40))["image"])[1].max() < 1e-6
    unlike = torch.cdist(Originals.of(split_of(draw(40, seed=3)), 1).features, originals.features)
    assert unlike.mean() == pytest.approx(2**0.5, abs=0.05)


def test_an_image_without_contrast_is_no_copy_and_no_error():
    originals = Originals.of(split_of(torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1), 3)
    assert originals.nearest(torch.zeros(1, 3, 8, 8))[1].item() > 0.5


def test_neighbours_do_not_depend_on_the_chunk(real, monkeypatch):
    whole = Originals.of(split_of(real), 1).nearest_of(split_of(draw(20, seed=1)), 1)
    monkeypatch.setattr("src.release.copies.CHUNK", 3)
    parts = Originals.of(split_of(real), 1).nearest_of(split_of(draw(20, seed=1)), 1)
    assert torch.equal(whole[0], parts[0]) and torch.allclose(whole[1], parts[1])


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_stored_pixels_are_as_near_as_the_images_they_hold(real, dtype, top):
    originals = Originals.of(split_of(real, dtype), 1)
    held, made = originals.nearest_of(split_of(draw(9, seed=1), dtype), 1)[1], originals.nearest(draw(9, seed=1))[1]
    assert torch.allclose(held, made, atol=0.02)


def test_the_reference_says_how_near_real_images_come_that_are_no_copies(real):
    originals, held_out = Originals.of(split_of(real), 1), draw(200, seed=4)
    reference = originals.reference(split_of(held_out), 1)
    assert reference["images"] == 200 and reference["1%"] < reference["5%"] < reference["50%"]
    near = (originals.nearest(held_out)[1] < reference["5%"]).double().mean()
    assert near == pytest.approx(0.05, abs=0.01)
    assert f"5% than {reference['5%']:g}" in describe(reference)


def test_without_real_images_held_out_there_is_no_reference_and_that_is_said(real):
    nothing = split_of(real).take(np.arange(0))
    reference = Originals.of(split_of(real), 1).reference(nothing, 1)
    assert reference == {"images": 0, "duplicates": 0} and describe(reference).startswith("no real image was held out")


def test_held_out_images_that_are_a_training_image_again_do_not_count(real):
    originals, held_out = Originals.of(split_of(real), 1), draw(100, seed=4)
    noise = torch.randn(5, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    again = torch.cat([real[:5], (real[5:10] + 0.02 * noise).clamp(-1, 1), real[10:12].flip(3)])  # saved anew, mirrored
    clean, spoilt = (originals.reference(split_of(images), 1) for images in (held_out, torch.cat([held_out, again])))
    assert spoilt == {**clean, "duplicates": 12} and clean["1%"] > 0.3
    assert describe(spoilt).endswith("; 12 more are a training image again, and do not count")
    only = originals.reference(split_of(again), 1)
    assert only == {"images": 0, "duplicates": 12} and "12 more are a training image again" in describe(only)


def test_no_real_image_is_one_line(real):
    with pytest.raises(UserError, match="no real images"):
        Originals.of(split_of(real).take(np.arange(0)), 1)
