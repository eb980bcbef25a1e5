"""How near generated images come to real ones: a copy of a patient's image must not be released."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.core.errors import UserError
from src.data.store import Split
from src.release.alignment import (
    Aligner,
    Prepared,
    compose,
    correlation,
    flat_parts,
    frame,
    likeness,
    own_likeness,
    place,
    sample,
)
from src.release.candidates import Search

FILTER = "local correlation after alignment"  # its name in records
CANDIDATES = 32  # originals whose pose is improved
FINALISTS = 4  # of which that many are aligned to the pixel
ROUGH, FINE, LAST = 24, 32, 48  # pixels a side of the three steps
ROUGH_CONTRAST, FINE_CONTRAST = 5, 7  # pixels a side of the neighbourhoods of local contrast
SIDES = (Search.side, ROUGH, FINE, LAST)
FLAT_SHARE = 0.02  # of an image that has to be flat to be left out
WAVES = 3  # half waves a side of the smooth map
BENDING = 0.05  # what a smooth map costs: it also makes images of two patients more alike
CHUNK = 64  # images compared at once


class Scale(NamedTuple):
    """At which the likeness of two aligned images is looked at, in pixels of ``LAST`` a side."""

    window: int  # side of the neighbourhoods whose correlation is the mean
    contrast: int  # side of those of local contrast
    blur: float  # of that contrast, standard deviation
    own: float  # weight of what an original has for itself, the other finalists do not


DETAIL = Scale(window=5, contrast=7, blur=0.0, own=0.25)
COARSE = Scale(window=25, contrast=13, blur=1.0, own=0.4)  # where the grain of a generator averages out
WHOLE = Scale(window=47, contrast=0, blur=0.0, own=0.0)  # the outline too, of an image whose inside is noise
SCALES = (DETAIL, COARSE, WHOLE)
PRICES = (1.0, 1.3)  # what distances count where held-out images do not tell; without the whole, at which all are alike


class Matches(NamedTuple):
    """The nearest original of each image."""

    originals: Tensor  # (N,) index
    distances: Tensor  # (N,) float64: the least of all scales, times their prices
    grids: Tensor  # (N, LAST, LAST, 2) where the image's pixels lie in the original, as ``grid_sample`` has it
    at_scales: Tensor  # (N, len(SCALES)) float64: the least at each, of any original


@dataclass(frozen=True)
class Originals:
    """Real images that a generator learned from, to compare others with.

    The distance of two images is 1 − their likeness once one is aligned to the other: 0 is a copy, 1 nothing in
    common. It is found in three steps: candidates by thumbnails (``Search``), an affine map of each, and a smooth map
    of the likeliest, the finalists, which is counted with and without it. Likeness is the mean local correlation
    (``likeness``), and in part what is left of it without what the finalists share (``own_likeness``): the chests
    of two patients are much alike, and a third one shows in what. It is looked at at several scales, and the nearest
    counts: a generator repeats an image under a grain of its own, in which no detail is alike. The less is seen at a
    scale, the more alike are two patients: so its distances have a price.
    """

    search: Search
    planes: Mapping[int, Tensor]  # by side S: pixels and what is seen of them, (N, 2, S, S) float16
    prices: Sequence[float] = PRICES  # of the first of SCALES; the others do not count

    @classmethod
    def of(cls, split: Split, channels: int, prices: Sequence[float] = PRICES) -> Originals:
        """The images of a split, their first ``channels``.

        Raises:
            UserError: there are none.
        """
        if not len(split):
            raise UserError("there are no real images to compare with: give a split that has some")
        planes: dict[int, list[Tensor]] = {side: [] for side in (2 * Search.side, ROUGH, FINE, LAST)}
        for images in _chunks(split, channels):
            for side, prepared in Prepared.at_sides(images, planes).items():
                planes[side].append(prepared.planes().half())
        joined = {side: torch.cat(parts) for side, parts in planes.items()}
        height, width = split.store.images.shape[2:]
        return cls(Search(Prepared.from_planes(joined.pop(2 * Search.side).float()), height / width), joined, prices)

    def match(self, images: Tensor) -> Matches:
        """The nearest original of each of ``images`` (N, C, H, W) of any pixel range.

        Images are also compared mirrored, as negatives, turned by up to 15°, 0.8 to 1.3 times as large, moved by up to
        a tenth of their side, and bent. Where a part of one is flat, it is compared with that part and without: as a
        background it is part of the image, as a patch it hides what is behind.
        """
        found = self._match(Prepared.at_sides(images, SIDES))
        flat = flat_parts(images)
        hidden = (flat.mean((1, 2, 3)) > FLAT_SHARE).nonzero()[:, 0]
        if len(hidden):
            without = self._match(Prepared.at_sides(images[hidden], SIDES, flat[hidden]))
            at_scales = torch.minimum(found.at_scales[hidden], without.at_scales)
            nearer = without.distances < found.distances[hidden]
            for one, other in zip(found, without, strict=True):
                one[hidden[nearer]] = other[nearer]
            found.at_scales[hidden] = at_scales
        return found

    def _match(self, prepared: Mapping[int, Prepared]) -> Matches:
        found = self.search(prepared[Search.side], CANDIDATES)
        originals, poses, signs = found.originals, found.poses, found.signs
        rough = _aligner(prepared[ROUGH], ROUGH_CONTRAST, 0.5)
        contrast = self._contrast(prepared[ROUGH], ROUGH_CONTRAST, 0.5, originals, poses, signs)
        steps = rough.fit(contrast, rough.start(originals.shape[1]), 2)
        alike = correlation(rough.fixed, rough.seen, *sample(contrast, rough.grid(steps)))
        best = alike.topk(min(FINALISTS, originals.shape[1]), 1).indices
        originals, signs = originals.gather(1, best), signs.gather(1, best)
        poses = compose(poses, steps).gather(1, best[..., None, None].expand(-1, -1, 2, 3))

        affine = _aligner(prepared[FINE], FINE_CONTRAST, 0.8)
        contrast = self._contrast(prepared[FINE], FINE_CONTRAST, 0.8, originals, poses, signs)
        poses = compose(poses, affine.fit(contrast, affine.start(originals.shape[1]), 2))
        smooth = _aligner(prepared[FINE], FINE_CONTRAST, 0.8, WAVES)
        contrast = self._contrast(prepared[FINE], FINE_CONTRAST, 0.8, originals, poses, signs)
        bends = smooth.fit(contrast, smooth.start(originals.shape[1]), 4)
        return self._verdict(prepared[LAST], originals, poses, signs, bends)

    def nearest(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Index and distance of the nearest original of each of ``images`` (N, C, H, W), both (N,)."""
        found = self.match(images)
        return found.originals, found.distances

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

    def distances_of(self, split: Split, channels: int) -> Tensor:
        """The least distance at each of the scales of all images of a split, (N, len(SCALES)) float64."""
        return torch.cat([self.match(images).at_scales for images in _chunks(split, channels)])

    def take(self, rows: Tensor) -> Originals:
        """Those of ``rows`` alone."""
        planes = {side: kept[rows] for side, kept in self.planes.items()}
        return replace(self, search=self.search.take(rows), planes=planes)

    def _contrast(
        self, fixed: Prepared, contrast: int, sigma: float, originals: Tensor, poses: Tensor, signs: Tensor
    ) -> Tensor:
        """The local contrast of the originals as they lie in the image, and what is seen of it, (N, K, 2, S, S)."""
        turned = self._turned(fixed, originals, place(frame(fixed.values.shape[1]), poses))
        values = turned.local_contrast(contrast, sigma) * signs.reshape(-1, 1, 1)
        return torch.stack([values, turned.seen], 1).unflatten(0, originals.shape)

    def _turned(self, fixed: Prepared, originals: Tensor, grid: Tensor) -> Prepared:
        """As they lie in the image, without what is missing in it."""
        side = fixed.values.shape[1]
        planes = self.planes[side][originals.flatten()].float()
        planes = F.grid_sample(planes, grid.reshape(-1, side, side, 2), align_corners=False)
        seen = fixed.seen[:, None].expand(*originals.shape, -1, -1).reshape(-1, 1, side, side)
        return Prepared.from_planes(planes * seen)

    def _verdict(self, prepared: Prepared, originals: Tensor, poses: Tensor, signs: Tensor, bends: Tensor) -> Matches:
        grids = torch.stack([place(frame(LAST, bend), poses) for bend in (None, bends)])
        ways = []  # of each grid at each scale, (N, K)
        for grid, price in zip(grids, (0.0, BENDING), strict=True):
            turned = self._turned(prepared, originals, grid)
            ways += [(1 + price - _alike(prepared, turned, signs, scale)).clamp_min(0) for scale in SCALES]
        distances = torch.stack(ways, 1).unflatten(1, (len(grids), len(SCALES))).double()  # and K
        weighed = distances[:, :, : len(self.prices)] * torch.tensor(self.prices, dtype=torch.float64)[:, None]
        best = weighed.flatten(1).min(1)
        finalist = best.indices % originals.shape[1]
        grid, rows = best.indices // weighed[0, 0].numel(), torch.arange(len(originals))
        chosen = grids[grid, rows, finalist].view(-1, LAST, LAST, 2)
        return Matches(originals[rows, finalist], best.values, chosen, distances.amin((1, 3)))


def priced(distances: Tensor, prices: Sequence[float]) -> Tensor:
    """The least distance of those at each scale, (N, len(SCALES)), times their prices, (N,)."""
    return (distances[:, : len(prices)] * torch.tensor(prices, dtype=torch.float64)).amin(1)


def _alike(image: Prepared, turned: Prepared, signs: Tensor, scale: Scale) -> Tensor:
    """The likeness of each of N images and its K finalists, turned (N K, S, S), (N, K); -1 in ``signs``: a negative."""
    values, seen = (plane[:, None].expand(*signs.shape, -1, -1).flatten(0, 1) for plane in (image.values, image.seen))
    whole = likeness(values * signs.reshape(-1, 1, 1), seen, turned.values, turned.seen, scale.window)
    if not scale.own:
        return whole.view(signs.shape)
    contrast = image.local_contrast(scale.contrast, scale.blur)[:, None] * signs[..., None, None]
    others = turned.local_contrast(scale.contrast, scale.blur).unflatten(0, signs.shape)
    own = own_likeness(contrast, image.seen, others, turned.seen.unflatten(0, signs.shape))
    return torch.lerp(whole.view(signs.shape), own, scale.own)


def _aligner(prepared: Prepared, contrast: int, sigma: float, order: int = 0) -> Aligner:
    return Aligner(prepared.local_contrast(contrast, sigma), prepared.seen, order)


def _chunks(split: Split, channels: int) -> Iterator[Tensor]:
    for rows in np.array_split(np.arange(len(split)), -(-len(split) // CHUNK)):
        yield split.gather(rows)["image"][:, :channels]
