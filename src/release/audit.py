"""What synthetic images give away of the patients that their generator learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.core.errors import UserError
from src.core.pixels import to_unit_range
from src.data.mask_channels import join_masks
from src.data.store import Split
from src.metrics.membership import Attack, Nearness, Scores, attack, compare_distances
from src.release.calibration import DUPLICATE
from src.release.comparison import Comparison
from src.release.copies import Originals
from src.training.restore import TrainedRun

PAIRS = 8
MOST = 1000  # real images of each kind that are attacked
SHARE = 0.05  # of the images of other patients, that the filter against copies rejects
CHUNK = 64
CHECKPOINT = (
    "the discriminator's score tells whose images it learned from: whoever gets the checkpoint can too, so keep it"
)


@dataclass(frozen=True)
class Judge:
    """The discriminator of a run."""

    score: Callable[[Tensor], Tensor]  # images (N, C, H, W) in [-1, 1] → (N,), higher for what was learned from
    with_masks: bool  # whether it sees the masks, as further channels

    @classmethod
    def of(cls, run: TrainedRun) -> Judge:
        return cls(run.module.judge, bool(run.settings.get("with_masks")))

    def scores(self, split: Split, channels: int) -> Tensor:
        """(N,) of the images of ``split``, their first ``channels``."""
        if self.with_masks:
            split = join_masks(split)
            channels = split.store.images.shape[1]
        return torch.cat([self.score(images) for images in _images(split, channels)])


class Pair(NamedTuple):
    """A synthetic image, the real one nearest to it, and that one as it was aligned to it; (C, H, W) in [-1, 1]."""

    synthetic: Tensor
    real: Tensor
    aligned: Tensor
    distance: float


@dataclass(frozen=True)
class Audit:
    """What was measured; ``report`` says it.

    Args:
        images: synthetic images looked at.
        members, others: real images that were learned from, and of patients held out, with the numbers of patients.
        rejected: synthetic images that the filter against copies would leave out, at ``threshold``.
        nearness: of the synthetic images and of the held-out ones to those that were learned from.
        nearest: the attack by the distance to the nearest synthetic image.
        discriminator: the attack by the discriminator's score; None where there is none.
        pairs: the synthetic images nearest to a real one.
        distances: of the synthetic images, and of the held-out ones, to those that were learned from.
    """

    images: int
    members: tuple[int, int]
    others: tuple[int, int]
    threshold: float
    rejected: int
    nearness: Nearness
    nearest: Attack
    discriminator: Attack | None
    pairs: Sequence[Pair]
    distances: tuple[Tensor, Tensor]
    cautions: Sequence[str]

    @classmethod
    def of(cls, comparison: Comparison, made: Split, channels: int, judge: Judge | None = None) -> Audit:
        """Of the images of ``made``, by a generator that learned from those of ``comparison``.

        Raises:
            UserError: no patient was held out, or too few patients for any of it.
        """
        calibration = comparison.calibration
        if not len(calibration.distances):
            raise UserError(
                "an audit needs real images of patients held out of training, to compare with those that were learned "
                "from: give the data a val or test split"
            )
        members, others = comparison.learned.draw(MOST), comparison.held_out.draw(MOST)
        whose, theirs = _numbers(members.cases_or_files()), _numbers(others.cases_or_files())
        if int(whose.max()) < 1:
            raise UserError("an audit needs at least two patients that were learned from: split the data by patient")
        half = torch.from_numpy(np.random.default_rng(0).permutation(int(whose.max()) + 1) % 2 == 0)[whose]
        halves = [members.take(np.flatnonzero(part.numpy())) for part in (half, ~half)]
        reals = [Originals.of(part, channels, calibration.prices) for part in halves]
        to_halves = [real.nearest_of(others, channels)[1] for real in reals]
        other = torch.minimum(*to_halves) >= DUPLICATE  # others are a training image again
        controls = [
            Scores(-reals[1 - i].nearest_of(halves[i], channels)[1], whose[(half, ~half)[i]],
                   -to_halves[1 - i][other], theirs[other])
            for i in (0, 1)
        ]  # fmt: skip
        synthetic = Originals.of(made, channels, calibration.prices)
        to_made = [-synthetic.nearest_of(split, channels)[1] for split in (members, others)]
        nearest = attack(Scores(to_made[0], whose, to_made[1][other], theirs[other]), controls)
        judged = None
        if judge is not None:
            said = [judge.scores(split, channels) for split in (members, others)]
            judged = attack(Scores(said[0], whose, said[1][other], theirs[other]), controls)

        matches = [comparison.originals.match(images) for images in _images(made, channels)]
        index, distance = (torch.cat([one[place] for one in matches]) for place in (0, 1))
        grids = torch.cat([one.grids for one in matches])
        threshold = calibration.threshold(SHARE)
        caution = calibration.caution()
        return cls(
            images=len(made),
            members=(len(comparison.learned), len(set(comparison.learned.cases_or_files()))),
            others=(len(calibration.distances), len(set(calibration.held_out.patients))),
            threshold=threshold,
            rejected=int((distance < threshold).sum()),
            nearness=compare_distances(distance, calibration.distances, _numbers(calibration.held_out.patients)),
            nearest=nearest,
            discriminator=judged,
            pairs=_pairs(comparison.learned, made, channels, index, distance, grids),
            distances=(distance, calibration.distances),
            cautions=[*([caution] if caution else []), *([CHECKPOINT] if judged and judged.leaks else [])],
        )


def _pairs(learned: Split, made: Split, channels: int, index: Tensor, distance: Tensor, grids: Tensor) -> list[Pair]:
    pairs = []
    for i in distance.argsort(stable=True)[:PAIRS].tolist():
        synthetic, real = (
            to_unit_range(split.gather(np.array([row]))["image"][:, :channels])
            for split, row in ((made, i), (learned, int(index[i])))
        )
        grid = F.interpolate(grids[i][None].permute(0, 3, 1, 2), size=real.shape[2:], mode="bilinear")
        aligned = F.grid_sample(real + 1, grid.permute(0, 2, 3, 1), align_corners=False) - 1
        pairs.append(Pair(synthetic[0], real[0], aligned[0], float(distance[i])))
    return pairs


def _numbers(cases: Sequence[str]) -> Tensor:
    """The patients, numbered from 0."""
    return torch.from_numpy(np.unique(np.array(cases), return_inverse=True)[1])


def _images(split: Split, channels: int) -> list[Tensor]:
    return [
        to_unit_range(split.gather(np.arange(start, min(start + CHUNK, len(split))))["image"][:, :channels])
        for start in range(0, len(split), CHUNK)
    ]
