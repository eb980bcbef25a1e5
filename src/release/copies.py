"""How near generated images come to real ones: a copy of a patient's image must not be released."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.core.errors import UserError
from src.data.base import ImageData
from src.data.provenance import TrainingRecord
from src.data.store import Split

SIDE = 16  # pixels a side of a thumbnail: a copy stays one through noise, blur and small details
WINDOW = 14  # pixels a side that are compared, so that an image moved by a sixteenth of its side still shows them
QUANTILES = (0.01, 0.05, 0.5)
DUPLICATE = 0.04  # nearer is the same real image again: saved anew as JPEG or at another size it is up to 0.037 away
CHUNK = 256  # images compared at once


@dataclass(frozen=True)
class Originals:
    """Real images that a generator learned from, to compare others with.

    The distance of two images is the Euclidean one of their thumbnails in grey, at equal brightness and contrast and
    less what all originals share: sqrt(2 (1 − r)), r the correlation of what is left. 0 is a copy, about 1.4 nothing
    in common, 2 a negative. With their mean, all images of one organ would be near each other.
    """

    mean: Tensor  # (WINDOW²,) of the originals' windows
    features: Tensor  # (N, WINDOW²) float64, of length 1, or 0 for an original that is the mean

    @classmethod
    def of(cls, split: Split, channels: int) -> Originals:
        """The images of a split, their first ``channels``, in constant memory but for the result.

        Raises:
            UserError: there are none.
        """
        if not len(split):
            raise UserError("there are no real images to compare with: give a split that has some")
        windows = torch.cat([_centre(thumbnails(images)) for images in _chunks(split, channels)])
        mean = windows.mean(0)
        return cls(mean, _unit(windows, mean))

    def nearest(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest original of each of ``images`` (N, C, H, W) of any pixel range: index and distance, both (N,).

        An image is also compared mirrored, and moved by up to a sixteenth of its side.
        """
        small = thumbnails(images)
        distance = torch.full((len(small),), torch.inf, dtype=torch.float64)
        index = torch.zeros(len(small), dtype=torch.int64)
        for thumbnail in (small, small.flip(2)):
            for window in _windows(thumbnail):
                found = torch.cdist(_unit(window, self.mean), self.features).min(1)
                index = torch.where(found.values < distance, found.indices, index)
                distance = torch.minimum(found.values, distance)
        return index, distance

    def nearest_of(self, split: Split, channels: int) -> tuple[Tensor, Tensor]:
        """``nearest`` of all images of a split."""
        found = [self.nearest(images) for images in _chunks(split, channels)]
        return torch.cat([index for index, _ in found]), torch.cat([distance for _, distance in found])

    def closest_pairs(self, split: Split, channels: int, count: int) -> list[tuple[int, int, float]]:
        """The ``count`` images of ``split`` that are nearest to an original: (position, original, distance), nearest
        first."""
        index, distance = self.nearest_of(split, channels)
        order = distance.argsort(stable=True)[:count].tolist()
        return [(i, int(index[i]), float(distance[i])) for i in order]

    def reference(self, held_out: Split, channels: int) -> dict[str, float]:
        """How near real images come that are no copies: their number, and quantiles of their distances by name (5%).

        Held-out images that are a training image again (``duplicates``) do not count. No quantiles where none is left.
        """
        if not len(held_out):
            return {"images": 0, "duplicates": 0}
        _, distance = self.nearest_of(held_out, channels)
        others = distance[distance >= DUPLICATE]
        quantiles = {f"{q:.0%}": round(float(others.quantile(q)), 3) for q in QUANTILES} if len(others) else {}
        return {"images": len(others), "duplicates": len(distance) - len(others), **quantiles}


@dataclass(frozen=True)
class Comparison:
    """The real images that a generator learned from, and how near to them others come: the measure of a copy."""

    learned: Split
    originals: Originals  # of ``learned``
    reference: Mapping[str, float]  # ``Originals.reference``
    missing: int  # images that it learned from and the data do not hold: copies of them are not found

    @classmethod
    def of(cls, record: TrainingRecord, data: ImageData, channels: int) -> Comparison:
        """With the images of ``data``, which are prepared; with its training split where ``record`` knows none of them.

        Raises:
            UserError: there is no image to compare with.
        """
        learned, held_out, missing = record.divide(data)
        if not len(learned):
            learned = data.split("train")
        originals = Originals.of(learned, channels)
        return cls(learned, originals, originals.reference(held_out, channels), missing)


def describe(reference: Mapping[str, float]) -> str:
    """One sentence of what ``Originals.reference`` found."""
    again = f"; {reference['duplicates']:,} more are a training image again, and do not count"
    again = again if reference["duplicates"] else ""
    if not reference["images"]:
        return f"no real image was held out of training, whose distances could be the measure of a copy{again}"
    return (
        f"of {reference['images']:,} real images held out of training, 1% are nearer than {reference['1%']:g} to a "
        f"training image, 5% than {reference['5%']:g}, half than {reference['50%']:g}{again}"
    )


def thumbnails(images: Tensor) -> Tensor:
    """(N, C, H, W) → (N, SIDE, SIDE), grey, float64."""
    return F.interpolate(images.double().mean(1, keepdim=True), size=(SIDE, SIDE), mode="area")[:, 0]


def _windows(small: Tensor) -> Iterator[Tensor]:
    """Those of thumbnails at all places, each (N, WINDOW²), at equal brightness and contrast; the centre comes first,
    since of equally near ones the first counts."""
    places = [(top, left) for top in range(SIDE - WINDOW + 1) for left in range(SIDE - WINDOW + 1)]
    middle = (SIDE - WINDOW) // 2
    for top, left in sorted(places, key=lambda place: place != (middle, middle)):
        window = small[:, top : top + WINDOW, left : left + WINDOW].flatten(1)
        yield _unit(window, window.mean(1, keepdim=True))


def _centre(small: Tensor) -> Tensor:
    return next(_windows(small))


def _unit(vectors: Tensor, origin: Tensor) -> Tensor:
    """``vectors`` (N, D) seen from ``origin``, of length 1; 0 where they are there."""
    moved = vectors - origin
    length = moved.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-6, moved / length.clamp_min(1e-6), 0.0)


def _chunks(split: Split, channels: int) -> Iterator[Tensor]:
    for rows in np.array_split(np.arange(len(split)), -(-len(split) // CHUNK)):
        yield split.gather(rows)["image"][:, :channels]
