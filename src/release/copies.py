"""How near generated images come to real ones: a copy of a patient's image must not be released."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.data.store import Split
from src.errors import UserError

SIDE = 16  # pixels a side of what is compared: a copy stays one through noise, blur and small details
CHUNK = 1024  # images compared at once


def features(images: Tensor) -> Tensor:
    """Images (N, C, H, W) of any pixel range → (N, 256): grey, 16 px a side, of mean 0 and length 1, float64.

    Brightness and contrast play no part: the Euclidean distance of two of them is sqrt(2 (1 − r)), r their
    correlation: 0 for a copy, about 1.4 for images that share nothing, 2 for a negative. An image without contrast is
    all zeros.
    """
    small = F.interpolate(images.double().mean(1, keepdim=True), size=(SIDE, SIDE), mode="area").flatten(1)
    centred = small - small.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-6, centred / length.clamp_min(1e-6), 0.0)


def split_features(split: Split, channels: int) -> Tensor:
    """Features of all images of a split, (N, 256), of its first ``channels``, in constant memory but for the result."""
    chunks = np.array_split(np.arange(len(split)), -(-len(split) // CHUNK))
    return torch.cat([features(split.gather(rows)["image"][:, :channels]) for rows in chunks])


def nearest(generated: Tensor, real: Tensor, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """The nearest of ``real`` (M, D) for each of ``generated`` (N, D): index (N,) and Euclidean distance (N,).

    Raises:
        UserError: there is no real image.
    """
    if not len(real):
        raise UserError("there are no real images to compare with: give a split that has some")
    found = [torch.cdist(part, real).min(1) for part in generated.split(chunk)]
    if not found:
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=generated.dtype)
    return torch.cat([f.indices for f in found]), torch.cat([f.values for f in found])


def closest_pairs(generated: Tensor, real: Tensor, count: int) -> list[tuple[int, int, float]]:
    """The ``count`` generated images that are nearest to a real one: (generated index, real index, distance), nearest
    first. Both are ``features``."""
    index, distance = nearest(generated, real)
    order = distance.argsort(stable=True)[:count].tolist()
    return [(i, int(index[i]), float(distance[i])) for i in order]
