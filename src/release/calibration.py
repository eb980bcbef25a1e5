"""How near images of other patients come to real ones: the measure of what is too near."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.core.errors import UserError
from src.data.store import Split
from src.release.copies import PRICES, SCALES, Originals, priced

QUANTILES = (0.01, 0.05, 0.5)
DUPLICATE = 0.08  # nearer is the same real image again, saved anew as JPEG or at another size
FEW_PATIENTS = 50  # held out: with fewer, their 5% is known poorly
ENOUGH = 2000  # held-out images: others of them would tell little more
MOST = 20  # images of a patient of the training set, who weighs as much as another
PRICED_BY, NEAREST = 100, 0.02  # images that tell prices, at least, and the share of them that is made equally near
MARGIN = 0.8  # of the share that is asked for, since the same images tell the prices


class Others(NamedTuple):
    """Images of patients other than those that they are compared with."""

    at_scales: Tensor  # (N, len(SCALES)) float64, their distances
    patients: tuple[str, ...]  # (N,)

    @classmethod
    def of(cls, distances: Tensor, patients: Sequence[str]) -> Others:
        """Without those that are an original again."""
        others = priced(distances, PRICES) >= DUPLICATE
        return cls(distances[others], tuple(name for name, kept in zip(patients, others.tolist(), strict=True) if kept))

    @classmethod
    def none(cls) -> Others:
        return cls(torch.zeros(0, len(SCALES), dtype=torch.float64), ())


@dataclass(frozen=True)
class Calibration:
    """How near real images come that are no copies."""

    held_out: Others  # of patients held out of training
    left_out: Others  # of patients of the training set, to the images of all others of it: where few were held out
    duplicates: int  # held-out images that are an original again: they do not count

    @classmethod
    def of(cls, originals: Originals, learned: Split, held_out: Split, channels: int, seed: int = 0) -> Calibration:
        """With ``held_out``, at most ``ENOUGH`` of it, of patients that none of ``originals``, of ``learned``, is of.

        Where those are fewer than ``FEW_PATIENTS``, as many of ``learned`` as there are, drawn by ``seed``, make up
        for them.
        """
        if not len(held_out):
            return cls(Others.none(), Others.none(), 0)
        held_out = held_out.draw(ENOUGH)
        found = Others.of(originals.distances_of(held_out, channels), held_out.cases_or_files())
        lacking = FEW_PATIENTS - len(set(found.patients))
        left_out = _leave_one_out(originals, learned, channels, lacking, seed)
        return cls(found, left_out, len(held_out) - len(found.patients))

    @cached_property
    def prices(self) -> Sequence[float]:
        """At which the nearest of the images are equally near at all scales."""
        distances, patients = self._all
        if len(patients) < PRICED_BY:
            return PRICES
        near = [max(_quantile(at_scale, patients, NEAREST), 1e-6) for at_scale in distances.T]
        return tuple(near[0] / one for one in near)

    @property
    def distances(self) -> Tensor:
        """(N,) of the held-out images, at these prices."""
        return priced(self.held_out.at_scales, self.prices)

    def threshold(self, share: float) -> float:
        """A distance that no more than ``share`` of the images of another patient are nearer than, on average.

        The quantile of hierarchical conformal prediction (Lee, Barber and Willett, 2023): patients weigh the same, and
        one more, whose images are nearer than any, counts for the next patient. Raises UserError without held-out
        images.
        """
        if not len(self.held_out.patients):
            raise UserError(
                "no real image was held out of training, whose distances could be the measure of a copy: give the data "
                "a val or test split, say how near is too near with copies.min_distance=…, or do not look with "
                "copies.share=null"
            )
        at_scales, patients = self._all
        count = len(set(patients))
        level = (MARGIN * share * (count + 1) - 1) / count
        return math.floor(1000 * _quantile(priced(at_scales, self.prices), patients, level)) / 1000

    @property
    def _all(self) -> Others:
        return Others(
            torch.cat([self.held_out.at_scales, self.left_out.at_scales]),
            (*self.held_out.patients, *(f"left out: {name}" for name in self.left_out.patients)),
        )

    def facts(self) -> dict[str, Any]:
        """Their number, that of their patients, and quantiles of their distances by name (5%)."""
        distances = self.distances
        quantiles = {f"{q:.0%}": round(float(distances.quantile(q)), 3) for q in QUANTILES} if len(distances) else {}
        left_out = {"images": len(self.left_out.patients), "patients": len(set(self.left_out.patients))}
        return {
            "images": len(distances),
            "patients": len(set(self.held_out.patients)),
            "duplicates": self.duplicates,
            **({"left_out_in_turn": left_out} if left_out["images"] else {}),
            **quantiles,
        }

    def describe(self) -> str:
        """One sentence of it."""
        return describe(self.facts())

    def caution(self) -> str | None:
        """Where so few patients were held out that their quantiles say little of others."""
        patients = len(set(self.held_out.patients))
        if not patients or patients >= FEW_PATIENTS:
            return None
        return (
            f"only {patients} patients were held out of training, fewer than {FEW_PATIENTS}: how near images of other "
            "patients come is known poorly, and so is the distance that rejects 5% of them"
        )


def describe(facts: Mapping[str, Any]) -> str:
    """One sentence of ``Calibration.facts``."""
    again = f"; {facts['duplicates']:,} more are a training image again, and do not count"
    again = again if facts["duplicates"] else ""
    if not facts["images"]:
        return f"no real image was held out of training, whose distances could be the measure of a copy{again}"
    left_out = facts.get("left_out_in_turn")
    too = (
        f"; {left_out['images']:,} images of {left_out['patients']:,} training patients, compared with those of all "
        "others, count too"
        if left_out
        else ""
    )
    return (
        f"of {facts['images']:,} real images of {facts['patients']:,} patients held out of training, 1% are nearer "
        f"than {facts['1%']:g} to a training image, 5% than {facts['5%']:g}, half than {facts['50%']:g}{again}{too}"
    )


def _leave_one_out(originals: Originals, learned: Split, channels: int, count: int, seed: int) -> Others:
    """The images of at most ``count`` patients of ``learned``, each compared with those of all others of it."""
    cases = np.array(learned.cases_or_files())
    names = np.unique(cases)
    if count <= 0 or len(names) < 2:
        return Others.none()
    drawn = np.sort(np.random.default_rng(seed).permutation(names)[:count])
    found, patients = [], []
    for name in drawn:
        own = cases == name
        others = originals.take(torch.from_numpy(np.flatnonzero(~own)))
        some = np.array_split(np.flatnonzero(own), min(MOST, own.sum()))  # from first to last, as slices of a volume
        found.append(others.distances_of(learned.take(np.array([part[0] for part in some])), channels))
        patients += [name] * len(some)
    return Others.of(torch.cat(found), patients)


def _quantile(distances: Tensor, patients: Sequence[str], level: float) -> float:
    """The largest of the distances (N,) than which images of the weight ``level`` are nearer, at most; patients weigh
    the same, 1 together."""
    _, owner, images = np.unique(np.array(patients), return_inverse=True, return_counts=True)
    order = np.argsort(distances.numpy(), kind="stable")
    weights = (1 / (images * len(images)))[owner][order]
    nearer = int(np.searchsorted(weights.cumsum(), level, side="right"))
    return float(distances[order[min(nearer, len(order) - 1)]])
