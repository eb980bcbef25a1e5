from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from src.command_line.schema import CONF
from src.data.store import Batch
from src.tasks.augmentation import Augment

STILL: dict[str, Any] = {"flip": 0.0, "shift": 0.0}
UNET: Any = OmegaConf.to_container(OmegaConf.load(CONF / "model" / "unet.yaml").augmentation)
del UNET["_target_"]
PLACE: dict[str, Any] = {"flip": 0.0, "flip_vertical": 0.0, "shift": 0.0, "rotation": 0.0, "scale": None}
BRIGHTNESS: dict[str, Any] = {"noise": 0.1, "blur": [0.5, 1.0], "brightness": [0.75, 0.8], "contrast": [0.75, 0.8]}
BRIGHTNESS |= {"low_resolution": [0.5, 0.6], "gamma": [0.7, 0.8]}


def make(count: int = 16) -> tuple[torch.Tensor, Batch]:
    """Images that are bright where their mask is."""
    mask = torch.zeros(count, 1, 32, 32, dtype=torch.uint8)
    mask[:, :, 8:14, 4:16] = 1
    return mask.float() * 2 - 1, {"mask": mask}


def noise(count: int, channels: int = 1, size: int = 32) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(count, channels, size, size) * 2 - 1


def ramps(count: int) -> torch.Tensor:
    """Dark images as scanners make them: 64 grey values in the lowest quarter of the range."""
    return torch.linspace(-1, -0.5, 64).view(1, 1, 8, 8).expand(count, 1, 8, 8)


def test_image_and_mask_change_together():
    torch.manual_seed(0)
    image, batch = make()
    augment = Augment(flip_vertical=0.5, rotation=180, scale=[0.7, 1.4], shift=0.1, brightness=[0.75, 1.25])
    changed, after = augment(image, batch)
    assert after["mask"].dtype == torch.uint8 and set(after["mask"].unique().tolist()) == {0, 1}
    agree = ((changed > 0) == after["mask"].bool()).float().mean()
    assert agree > 0.98 and ((changed > 0) != (image > 0)).any()


def test_every_image_is_changed_in_its_own_way_and_the_same_seed_repeats_it():
    image, batch = make()
    torch.manual_seed(1)
    first, _ = Augment(**UNET)(image, batch)
    torch.manual_seed(1)
    again, _ = Augment(**UNET)(image, batch)
    assert torch.equal(first, again)
    assert len({tuple(x.flatten().tolist()) for x in first}) > 12


def test_what_is_dark_keeps_its_grey_values_in_every_image():
    torch.manual_seed(0)
    changed, _ = Augment(**{**UNET, **PLACE, "noise": 0.0, "blur": None, "low_resolution": None})(ramps(512), {})
    values = changed.flatten(1).sort(1).values
    distinct = 1 + ((values[:, 1:] - values[:, :-1]) > 1e-5).sum(1)
    assert distinct.min() >= 0.75 * 64  # contrast, at most 1.25 times, moves a tenth beyond either end
    assert (distinct == 64).float().mean() > 0.9


@pytest.mark.parametrize("name", ["noise", "blur", "brightness", "contrast", "low_resolution", "gamma"])
def test_a_change_happens_to_its_share_of_the_images(name):
    image = noise(1000)
    changed, _ = Augment(**STILL, **{name: BRIGHTNESS[name]}, shares={name: 0.2})(image, {})
    share = ((changed - image).abs().amax((1, 2, 3)) > 1e-4).float().mean().item()
    assert share == pytest.approx(0.2, abs=0.05)  # four standard errors


@pytest.mark.parametrize(("change", "limits"), [("rotation", 90.0), ("scale", [1.3, 1.4])])
def test_turns_and_sizes_happen_to_shares_of_their_own(change, limits):
    image = noise(1000)
    changed, _ = Augment(**STILL, **{change: limits}, shares={change: 0.2})(image, {})
    assert ((changed - image).abs().amax((1, 2, 3)) > 1e-3).float().mean().item() == pytest.approx(0.2, abs=0.05)


def test_brightness_multiplies_above_black_and_contrast_stretches_about_the_mean_within_the_range_of_the_image():
    image = noise(64, 3)
    factors = (Augment(**STILL, brightness=[0.75, 1.25])(image, {})[0] + 1) / (image + 1).clamp_min(1e-6)
    of_image = factors.median(-1).values.median(-1).values
    assert (factors - of_image[..., None, None]).abs().max() < 1e-2
    assert of_image.min() >= 0.75 and of_image.max() <= 1.25 and of_image.std() > 0.1

    changed, _ = Augment(**STILL, contrast=[1.25, 1.25])(image, {})
    mean, low, high = (image.mean((2, 3), True), image.amin((2, 3), True), image.amax((2, 3), True))
    assert torch.allclose(changed, ((image - mean) * 1.25 + mean).maximum(low).minimum(high), atol=1e-6)


def test_noise_has_a_variance_in_units_of_the_image_and_never_moves_its_mean():
    image = noise(256) * 0.1 - 0.8
    added = Augment(**STILL, noise=0.1)(image, {})[0] - image
    share = added.var((1, 2, 3)) / image.var((1, 2, 3))
    assert share.max() < 0.12 and share.mean().item() == pytest.approx(0.05, abs=0.01)
    assert added.mean((1, 2, 3)).abs().max() < 0.004


def test_a_low_resolution_is_that_of_interpolation_by_the_nearest_pixels_and_back_by_straight_lines():
    image = noise(2, 3, 24)[:, :, :20]
    for share, height, width in ((0.5, 10, 12), (0.75, 15, 18), (1.0, 20, 24)):
        changed, _ = Augment(**STILL, low_resolution=[share, share])(image, {})
        small = F.interpolate(image, (height, width), mode="nearest-exact")
        assert torch.allclose(changed, F.interpolate(small, (20, 24), mode="bilinear"), atol=1e-5)


def test_exact_shifts_invent_no_pixel():
    torch.manual_seed(0)
    image = torch.randint(0, 4, (8, 3, 16, 16)) / 2 - 0.75
    changed, _ = Augment(shift=0.25, exact=True)(image, {})
    assert torch.isin(changed.mul(100).round(), image.mul(100).round()).all()


def test_under_autocast_every_pixel_goes_where_it_goes_without():
    image = torch.rand(64, 3, 32, 32) * 2 - 1
    changed = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            changed.append(Augment(shift=0.125, exact=True)(image, {})[0])
    assert torch.equal(*changed)


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_bends_the_range_of_the_image_and_keeps_its_ends(inverted):
    torch.manual_seed(0)
    ramp = torch.linspace(-0.9, 0.3, 64).view(1, 1, 8, 8).expand(256, 1, 8, 8)
    shares = {"gamma": float(not inverted), "gamma_inverted": float(inverted)}
    changed, _ = Augment(**STILL, gamma=[0.7, 1.5], shares=shares)(ramp, {})
    ends = changed[:, 0, [0, -1], [0, -1]]
    assert torch.allclose(ends, torch.tensor([-0.9, 0.3]).expand(256, 2), atol=1e-6)
    middle = (changed[:, 0, 4, 0] + 0.9) / 1.2
    share = torch.tensor(32 / 63)
    exponents = (1 - middle).log() / (1 - share).log() if inverted else middle.log() / share.log()
    assert exponents.min() >= 0.7 - 1e-4 and exponents.max() <= 1.5 + 1e-4
    assert (exponents < 1).float().mean().item() == pytest.approx(0.5, abs=0.15)
