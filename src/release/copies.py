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
from src.data.base import ImageData
from src.data.provenance import TrainingRecord
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
QUANTILES = (0.01, 0.05, 0.5)
DUPLICATE = 0.08  # nearer is the same real image again, saved anew as JPEG or at another size
RESAMPLES, CERTAINTY = 200, 0.9  # of the held-out patients, and the share of them in which the threshold holds
FEW_PATIENTS = 50  # held out: with fewer, their 5% is known poorly
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
PRICED_BY, NEAREST = 100, 0.03  # held-out images that tell, at least, and the share of them that is made equally near


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
    def of(cls, split: Split, channels: int) -> Originals:
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
        return cls(Search(Prepared.from_planes(joined.pop(2 * Search.side).float()), height / width), joined)

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

    def calibrate(self, held_out: Split, channels: int) -> Calibration:
        """How near the images of ``held_out`` come, of patients that no original is of, and the prices that follow."""
        if not len(held_out):
            return Calibration(torch.zeros(0, dtype=torch.float64), (), 0)
        found = torch.cat([self.match(images).at_scales for images in _chunks(held_out, channels)])
        others = _priced(found, PRICES) >= DUPLICATE
        patients = [case for case, is_other in zip(held_out.cases_or_files(), others.tolist(), strict=True) if is_other]
        prices = _prices(found[others])
        return Calibration(_priced(found[others], prices), tuple(patients), int((~others).sum()), prices)

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
        priced = distances[:, :, : len(self.prices)] * torch.tensor(self.prices, dtype=torch.float64)[:, None]
        best = priced.flatten(1).min(1)
        finalist = best.indices % originals.shape[1]
        grid, rows = best.indices // priced[0, 0].numel(), torch.arange(len(originals))
        chosen = grids[grid, rows, finalist].view(-1, LAST, LAST, 2)
        return Matches(originals[rows, finalist], best.values, chosen, distances.amin((1, 3)))


@dataclass(frozen=True)
class Calibration:
    """How near real images come that are no copies, those of patients held out of training."""

    distances: Tensor  # (N,) of the held-out images to the originals, without those that are an original again
    patients: Sequence[str]  # (N,) whose images they are
    duplicates: int  # held-out images that are an original again: they do not count
    prices: Sequence[float] = PRICES  # at which ``distances`` are looked at

    def threshold(self, share: float, seed: int = 0) -> float:
        """A distance that no more than ``share`` of the images of other patients are nearer than.

        The quantile of the held-out images differs from patients to patients: it is taken low enough for nine of ten
        resamples of them, which ``seed`` draws. Raises UserError without any.
        """
        if not len(self.distances):
            raise UserError(
                "no real image was held out of training, whose distances could be the measure of a copy: give the data "
                "a val or test split, say how near is too near with copies.min_distance=…, or do not look with "
                "copies.share=null"
            )
        names, owner = np.unique(np.array(self.patients), return_inverse=True)
        order = np.argsort(owner, kind="stable")
        of_patient = np.split(self.distances.numpy()[order], np.cumsum(np.bincount(owner))[:-1])
        draws = np.random.default_rng(seed).integers(0, len(names), (RESAMPLES, len(names)))
        quantiles = [np.quantile(np.concatenate([of_patient[i] for i in draw]), share) for draw in draws]
        return round(float(np.quantile(quantiles, 1 - CERTAINTY)), 3)

    def facts(self) -> dict[str, float]:
        """Their number, that of their patients, and quantiles of their distances by name (5%)."""
        quantiles = (
            {f"{q:.0%}": round(float(self.distances.quantile(q)), 3) for q in QUANTILES} if len(self.distances) else {}
        )
        patients = len(set(self.patients))
        return {"images": len(self.distances), "patients": patients, "duplicates": self.duplicates, **quantiles}

    def describe(self) -> str:
        """One sentence of it."""
        return describe(self.facts())

    def caution(self) -> str | None:
        """Where so few patients were held out that their quantiles say little of others."""
        patients = len(set(self.patients))
        if not patients or patients >= FEW_PATIENTS:
            return None
        return (
            f"only {patients} patients were held out of training, fewer than {FEW_PATIENTS}: how near images of other "
            "patients come is known poorly, and so is the distance that rejects 5% of them"
        )


@dataclass(frozen=True)
class Comparison:
    """The real images that a generator learned from, and how near to them others come: the measure of a copy."""

    learned: Split
    held_out: Split
    originals: Originals  # of ``learned``
    calibration: Calibration  # with ``held_out``
    missing: int  # images that it learned from and the data do not hold: copies of them are not found

    @classmethod
    def of(cls, record: TrainingRecord, data: ImageData, channels: int) -> Comparison:
        """With the images of ``data``, which are prepared; with its training split where ``record`` knows none of them.

        Raises:
            UserError: there is no image to compare with.
        """
        learned, held_out, missing = record.divide(data)
        return cls.between(learned if len(learned) else data.split("train"), held_out, channels, missing)

    @classmethod
    def between(cls, learned: Split, held_out: Split, channels: int, missing: int = 0) -> Comparison:
        """Raises UserError where ``learned`` is empty."""
        originals = Originals.of(learned, channels)
        calibration = originals.calibrate(held_out, channels)
        return cls(learned, held_out, replace(originals, prices=calibration.prices), calibration, missing)


def describe(facts: Mapping[str, float]) -> str:
    """One sentence of ``Calibration.facts``."""
    again = f"; {facts['duplicates']:,} more are a training image again, and do not count"
    again = again if facts["duplicates"] else ""
    if not facts["images"]:
        return f"no real image was held out of training, whose distances could be the measure of a copy{again}"
    return (
        f"of {facts['images']:,} real images of {facts['patients']:,} patients held out of training, 1% are nearer "
        f"than {facts['1%']:g} to a training image, 5% than {facts['5%']:g}, half than {facts['50%']:g}{again}"
    )


def _prices(distances: Tensor) -> Sequence[float]:
    """At which the nearest of the held-out images are equally near at all scales; ``distances``: (N, scales)."""
    if len(distances) < PRICED_BY:
        return PRICES
    near = distances.quantile(NEAREST, 0)
    return tuple((near[0] / near.clamp_min(1e-6)).tolist())


def _priced(distances: Tensor, prices: Sequence[float]) -> Tensor:
    """(N, scales) → (N,)"""
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
