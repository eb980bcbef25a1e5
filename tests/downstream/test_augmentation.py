from __future__ import annotations

import torch

from src.data.store import Batch
from src.downstream.augmentation import Augment


def make(count: int = 16) -> tuple[torch.Tensor, Batch]:
    """Images that are bright where their mask is."""
    mask = torch.zeros(count, 1, 32, 32, dtype=torch.uint8)
    mask[:, :, 8:14, 4:16] = 1
    return mask.float() * 2 - 1, {"mask": mask}


def test_image_and_mask_change_together():
    torch.manual_seed(0)
    image, batch = make()
    changed, after = Augment(rotation=20, scale=0.2, shift=0.1)(image, batch)
    assert after["mask"].dtype == torch.uint8 and set(after["mask"].unique().tolist()) == {0, 1}
    agree = ((changed > 0) == after["mask"].bool()).float().mean()
    assert agree > 0.98 and ((changed > 0) != (image > 0)).any()


def test_every_image_is_changed_in_its_own_way_and_the_same_seed_repeats_it():
    image, batch = make()
    torch.manual_seed(1)
    first, _ = Augment(contrast=0.3)(image, batch)
    torch.manual_seed(1)
    again, _ = Augment(contrast=0.3)(image, batch)
    assert torch.equal(first, again)
    assert len({tuple(x.flatten().tolist()) for x in first}) > 12
    assert first.min() >= -1 and first.max() <= 1


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


def test_gamma_bends_the_range_and_keeps_its_ends():
    torch.manual_seed(0)
    ramp = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).expand(16, 1, 8, 8)
    changed, _ = Augment(flip=0, shift=0, gamma=1.0)(ramp, {})
    assert torch.allclose(changed[:, 0, 0, 0], torch.tensor(-1.0)) and torch.allclose(
        changed[:, 0, -1, -1], torch.tensor(1.0)
    )
    middle = (changed[:, 0, 4, 0] + 1) / 2
    exponents = middle.log() / (torch.tensor(32 / 63)).log()
    assert exponents.min() >= 0.5 - 1e-4 and exponents.max() <= 2 + 1e-4 and exponents.std() > 0.1
