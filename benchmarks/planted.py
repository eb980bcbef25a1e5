"""Copies as a generator, or a careless hand, could make them: images changed so that they still show their patient."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

Change = Callable[[Tensor, torch.Generator], Tensor]  # images (N, C, H, W) in [-1, 1] → changed ones


def _signs(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1


def _pixel(power: Callable[[Tensor], Tensor]) -> Change:
    return lambda images, generator: power((images + 1) / 2).clamp(0, 1) * 2 - 1


def warp(images: Tensor, angle: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """Turned by ``angle`` (N,) degrees, enlarged ``zoom`` (N,) times, moved by ``shift`` (N, 2) shares of the side.

    What comes in is black.
    """
    height, width = images.shape[2:]
    radians = angle.deg2rad()
    cos, sin = radians.cos() / zoom, radians.sin() / zoom
    aspect = height / width
    theta = torch.stack([cos, -sin * aspect, -2 * shift[:, 0], sin / aspect, cos, -2 * shift[:, 1]], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images + 1, grid, mode="bicubic", align_corners=False).clamp(0, 2) - 1


def rotated(degrees: float) -> Change:
    def change(images: Tensor, generator: torch.Generator) -> Tensor:
        n = len(images)
        return warp(images, degrees * _signs(n, generator), torch.ones(n), torch.zeros(n, 2))

    return change


def zoomed(factor: float) -> Change:
    return lambda images, generator: warp(
        images, torch.zeros(len(images)), torch.full((len(images),), factor), torch.zeros(len(images), 2)
    )


def moved(share: float) -> Change:
    def change(images: Tensor, generator: torch.Generator) -> Tensor:
        n = len(images)
        shift = torch.stack([_signs(n, generator), _signs(n, generator)], 1) * share
        return warp(images, torch.zeros(n), torch.ones(n), shift)

    return change


def all_at_once(images: Tensor, generator: torch.Generator) -> Tensor:
    n = len(images)
    u = torch.rand(n, 4, generator=generator) * 2 - 1
    return warp(images, 15 * u[:, 0], torch.exp(u[:, 1] * math.log(1.25)), 0.1 * u[:, 2:])


def noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    return (images + 0.1 * torch.randn(images.shape, generator=generator)).clamp(-1, 1)


def blurred(images: Tensor, generator: torch.Generator) -> Tensor:
    side = images.shape[2:]
    small = F.interpolate(images, scale_factor=1 / 3, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(small, size=side, mode="bicubic", align_corners=False).clamp(-1, 1)


def jpeg(images: Tensor, generator: torch.Generator) -> Tensor:
    made = []
    for image in ((images + 1) * 127.5).round().byte().numpy():
        buffer = io.BytesIO()
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(buffer, "jpeg", quality=50)
        pixels = np.atleast_3d(np.array(Image.open(buffer))).transpose(2, 0, 1)
        made.append(torch.from_numpy(pixels.astype(np.float32)))
    return torch.stack(made) / 127.5 - 1


def hidden(images: Tensor, generator: torch.Generator) -> Tensor:
    """A quarter of each image, half its height and width at any place, is black."""
    changed = images.clone()
    height, width = images.shape[2:]
    places = torch.rand(len(images), 2, generator=generator)
    for image, (y, x) in zip(changed, places.tolist(), strict=True):
        top, left = int(y * (height - height // 2 + 1)), int(x * (width - width // 2 + 1))
        image[:, top : top + height // 2, left : left + width // 2] = -1
    return changed


def bent(share: float) -> Change:
    """Elastic: smooth displacements, of ``share`` of the side at the place that moves most."""

    def change(images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        knots = torch.randn(n, 2, 4, 4, generator=generator)
        field = F.interpolate(knots, size=(height, width), mode="bicubic", align_corners=True)
        field = field / field.norm(dim=1).amax((1, 2))[:, None, None, None] * 2 * share
        identity = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), list(images.shape), align_corners=False)
        grid = identity + field.permute(0, 2, 3, 1)
        return F.grid_sample(images + 1, grid, mode="bicubic", align_corners=False).clamp(0, 2) - 1

    return change


def blended(images: Tensor, generator: torch.Generator) -> Tensor:
    """70:30 with another of them."""
    return 0.7 * images + 0.3 * images.roll(len(images) // 2, 0)


KINDS: dict[str, Change] = {
    "identical": lambda images, generator: images,
    "mirrored": lambda images, generator: images.flip(3),
    "brightness and contrast": _pixel(lambda x: 0.7 * x + 0.2),
    "noise": noisy,
    "blur": blurred,
    "JPEG": jpeg,
    "gamma 0.5": _pixel(lambda x: x**0.5),
    "gamma 2": _pixel(lambda x: x**2),
    "moved by 3%": moved(0.03),
    "moved by 10%": moved(0.1),
    "rotated by 5°": rotated(5),
    "rotated by 15°": rotated(15),
    "zoomed 0.8×": zoomed(0.8),
    "zoomed 1.1×": zoomed(1.1),
    "zoomed 1.3×": zoomed(1.3),
    "moved, rotated and zoomed": all_at_once,
    "a quarter hidden": hidden,
    "bent by 3%": bent(0.03),
    "bent by 6%": bent(0.06),
    "blended 70:30": blended,
    "negative": lambda images, generator: -images,
    "upside down": lambda images, generator: images.flip(2),
    "rotated by 90°": lambda images, generator: images.rot90(1, (2, 3)),
}
