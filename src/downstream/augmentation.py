"""Classic augmentation of a batch on its device, images and masks alike; kornia draws and transforms."""

from __future__ import annotations

from typing import Any

import kornia.augmentation as K
import torch
from torch import Tensor

from src.data.store import Batch


class Augment:
    """Random flips, shifts, rotations, scales, and changes of brightness, contrast and gamma, drawn for every image.

    Args:
        flip: probability of a mirror image; 0 where left and right mean something that is learned.
        shift: the most, as a share of the side.
        rotation: the most, in degrees.
        scale: the most that an image grows or shrinks, as a share.
        contrast: the most that brightness and contrast change, as a share of the range.
        gamma: the most that the exponent of brightness is multiplied or divided by, less one.
        exact: shift by whole pixels, so that small images stay sharp; for images without masks.
    """

    def __init__(
        self,
        flip: float = 0.5,
        shift: float = 0.1,
        rotation: float = 0.0,
        scale: float = 0.0,
        contrast: float = 0.0,
        gamma: float = 0.0,
        exact: bool = False,
    ) -> None:
        layers: list[Any] = [
            K.RandomHorizontalFlip(p=flip),
            K.RandomAffine(
                rotation,
                (shift, shift),
                (1 - scale, 1 + scale) if scale else None,
                resample="nearest" if exact else "bilinear",
                padding_mode="reflection",
                p=1.0,
            ),
        ]
        if contrast:
            layers.append(K.RandomBrightness((1 - contrast, 1 + contrast)))
            layers.append(K.RandomContrast((1 - contrast, 1 + contrast)))
        if gamma:
            layers.append(K.RandomGamma((1 / (1 + gamma), 1 + gamma)))
        extra: Any = {"mask": {"resample": "nearest", "padding_mode": "reflection"}}
        self.images = K.AugmentationSequential(*layers, data_keys=["input"])
        self.both = K.AugmentationSequential(*layers, data_keys=["input", "mask"], extra_args=extra)

    def __call__(self, image: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
        """Images (B, C, H, W) in [-1, 1] and their batch → both changed by the same draws."""
        # Autocast would compute in bfloat16 where pixels go: wrong in a tenth of images of 16 px, in nearly all of 256.
        with torch.autocast(image.device.type, enabled=False):
            return self._change((image + 1) / 2, batch)

    def _change(self, unit: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
        if "mask" not in batch:
            return self.images(unit).clamp(0, 1) * 2 - 1, batch
        unit, mask = self.both(unit, batch["mask"].to(unit.dtype))
        return unit.clamp(0, 1) * 2 - 1, {**batch, "mask": mask.round().to(batch["mask"].dtype)}
