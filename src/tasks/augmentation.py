"""Classic augmentation of a batch on its device, images and masks alike: nnU-Net's changes, by kornia's machinery.

Isensee et al., Nature Methods 2021; ranges and shares as in version 2 of the program.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import kornia.augmentation as K
import torch
from kornia.augmentation.random_generator import PlainUniformGenerator
from torch import Tensor

from src.data.store import Batch

Range = tuple[float, float]  # least and most
BLUR_RADIUS = 4  # pixels: four deviations of the widest usual blur


class Augment:
    """Random changes of place, then of brightness, each drawn anew for every image.

    Every change of an image may be left out with None, or 0 where it is one number.

    Args:
        flip: share of the images mirrored left to right; 0 where left and right mean something that is learned.
        flip_vertical: share mirrored upside down.
        shift: the most, as a share of the side.
        rotation: the most, in degrees.
        scale: factors of the size.
        noise: the most variance of white noise, in units of the image's own.
        blur: standard deviations of a Gaussian, in pixels.
        brightness: factors of the brightness above black, which may go beyond white: nothing is cut off.
        contrast: factors of the distance from the image's mean; what leaves the image's range is put at its end.
        low_resolution: shares of the side that the image is reduced to and enlarged from.
        gamma: exponents of the brightness within the image's range, half of them below 1 where the range allows both.
        exact: shift by whole pixels, so that small images stay sharp; for images without masks.
        shares: of the images that a change happens to, by the names above, and ``gamma_inverted``, that of gamma on
            the negative; 1 where not given, but 0 for ``gamma_inverted``.
    """

    def __init__(
        self,
        flip: float = 0.5,
        flip_vertical: float = 0.0,
        shift: float = 0.1,
        rotation: float = 0.0,
        scale: Range | None = None,
        noise: float = 0.0,
        blur: Range | None = None,
        brightness: Range | None = None,
        contrast: Range | None = None,
        low_resolution: Range | None = None,
        gamma: Range | None = None,
        exact: bool = False,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        share = {"gamma_inverted": 0.0, **(shares or {})}
        layers: list[Any] = [K.RandomHorizontalFlip(p=flip), K.RandomVerticalFlip(p=flip_vertical)]
        layers.append(_Affine(rotation, shift, scale, share.get("rotation", 1.0), share.get("scale", 1.0), exact))
        if noise:
            layers.append(_Noise((0.0, noise), share.get("noise", 1.0)))
        if blur:
            sides = (2 * BLUR_RADIUS + 1,) * 2
            layers.append(K.RandomGaussianBlur(sides, (blur[0], blur[1]), "replicate", p=share.get("blur", 1.0)))
        changes = {
            "brightness": (_Brightness, brightness),
            "contrast": (_Contrast, contrast),
            "low_resolution": (_LowResolution, low_resolution),
            "gamma_inverted": (_GammaInverted, gamma),
            "gamma": (_Gamma, gamma),
        }
        layers += [change(limits, share.get(name, 1.0)) for name, (change, limits) in changes.items() if limits]
        extra: Any = {"mask": {"resample": "nearest", "padding_mode": "reflection"}}
        self.images = K.AugmentationSequential(*layers, data_keys=["input"])
        self.both = K.AugmentationSequential(*layers, data_keys=["input", "mask"], extra_args=extra)

    def __call__(self, image: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
        """Images (B, C, H, W) in [-1, 1] and their batch → both changed by the same draws.

        Brightness and noise may leave [-1, 1].
        """
        # Autocast would compute in bfloat16 where pixels go: wrong in a tenth of images of 16 px, in nearly all of 256.
        with torch.autocast(image.device.type, enabled=False):
            if "mask" not in batch:
                return self.images(image), batch
            image, mask = self.both(image, batch["mask"].to(image.dtype))
            return image, {**batch, "mask": mask.round().to(batch["mask"].dtype)}


class _Affine(K.RandomAffine):
    """One resampling for all; rotation and scale happen to shares of their own."""

    def __init__(
        self, rotation: float, shift: float, scale: Range | None, rotated: float, scaled: float, exact: bool
    ) -> None:
        super().__init__(
            rotation,
            (shift, shift),
            (scale[0], scale[1]) if scale else None,
            resample="nearest" if exact else "bilinear",
            padding_mode="reflection",
            p=1.0,
        )
        self.rotated, self.scaled = rotated, scaled

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        drawn: dict[str, Tensor] = super().generate_parameters(batch_shape)
        rotated, scaled = torch.rand(2, batch_shape[0], device=drawn["angle"].device)
        drawn["angle"] = drawn["angle"] * (rotated < self.rotated)
        drawn["scale"] = torch.where(scaled[:, None] < self.scaled, drawn["scale"], 1.0)
        return drawn


class _Change(K.IntensityAugmentationBase2D, ABC):
    """A change by one number per image, uniform between two limits, that happens to a share of the images."""

    def __init__(self, limits: Range, share: float) -> None:
        super().__init__(p=share)
        self._param_generator = PlainUniformGenerator(((limits[0], limits[1]), "amount", None, None))

    def apply_transform(self, input: Tensor, params: dict[str, Tensor], flags: Any, transform: Any = None) -> Tensor:
        return self.change(input, params["amount"].to(input)[:, None, None, None])

    @abstractmethod
    def change(self, image: Tensor, amount: Tensor) -> Tensor:
        """Images (B, C, H, W) changed by ``amount`` (B, 1, 1, 1)."""


class _Noise(_Change):
    def change(self, image: Tensor, amount: Tensor) -> Tensor:
        return image + (amount * image.var((1, 2, 3), keepdim=True)).sqrt() * torch.randn_like(image)


class _Brightness(_Change):
    def change(self, image: Tensor, amount: Tensor) -> Tensor:
        return (image + 1) * amount - 1


class _Contrast(_Change):
    def change(self, image: Tensor, amount: Tensor) -> Tensor:
        mean, low, high = image.mean((2, 3), True), image.amin((2, 3), True), image.amax((2, 3), True)
        return ((image - mean) * amount + mean).clamp(low, high)


class _Gamma(_Change):
    def __init__(self, limits: Range, share: float) -> None:
        # An amount below 0 is on the way from 1 to the least exponent, one above 0 on that to the most.
        super().__init__((-1.0 if limits[0] < 1 else 0.0, 1.0 if limits[1] > 1 else 0.0), share)
        self.least, self.most = limits

    def change(self, image: Tensor, amount: Tensor) -> Tensor:
        low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
        exponent = 1 + torch.where(amount < 0, -amount * (self.least - 1), amount * (self.most - 1))
        extent = (high - low).clamp_min(1e-7)
        return ((image - low) / extent) ** exponent * extent + low


class _GammaInverted(_Gamma):
    def change(self, image: Tensor, amount: Tensor) -> Tensor:
        return -super().change(-image, amount)


class _LowResolution(_Change):
    def change(self, image: Tensor, amount: Tensor) -> Tensor:
        return _coarsen(_coarsen(image, amount).mT, amount).mT


def _coarsen(image: Tensor, share: Tensor) -> Tensor:
    """Rows reduced to a share (B, 1, 1, 1) of their pixels, the nearest ones, and enlarged again linearly."""
    side = image.shape[3]
    small = (side * share).round().clamp_min(1)
    position = ((torch.arange(side, device=image.device) + 0.5) * small / side - 0.5).clamp_min(0).minimum(small - 1)
    before = position.floor()

    def pixels(index: Tensor) -> Tensor:
        return image.gather(3, ((index + 0.5) * side / small).long().expand_as(image))

    return pixels(before).lerp(pixels((before + 1).minimum(small - 1)), position - before)
