"""Every score of a set of images against the real ones, from what one pass over them left."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from src.core.errors import UserError
from src.metrics.clipped import clipped_density_coverage
from src.metrics.diversity import WINDOW, mean_pairwise_ssim
from src.metrics.frechet import frechet_distance, mean_and_covariance
from src.metrics.intervals import (
    Interval,
    Resampled,
    halves,
    interval,
    resampled_class_scores,
    resampled_frechet_distance,
    resampled_kernel_distance,
)
from src.metrics.kernel import subset_kernel_distance
from src.metrics.manifold import density_coverage, precision_recall
from src.metrics.probabilities import Means, am_score_of, inception_score_of, means, mode_score_of
from src.metrics.renyi import bandwidth_of, renyi_kernel_entropy
from src.scoring.image_features import ImageFeatures, renumbered
from src.scoring.reference import NEIGHBOURS, Reference
from src.scoring.titles import LOWER_IS_BETTER, OWN

FEWEST = 6  # images: density and coverage look at five neighbours of each

SIGNED = ("kid", "frd")  # scores that can be negative
TINY = 1e-12  # squared distances below are rounding
RESAMPLES = 200  # for the intervals of the scores that cost little
FRECHET_RESAMPLES = 50
CLASS_SCORES: Mapping[str, Callable[[Means, Means], Tensor]] = {  # of the generated and of the training images
    "am_score": am_score_of,
    "mode_score": mode_score_of,
    "mode_score_xu2018": partial(mode_score_of, variant="xu2018"),
    "inception_score": lambda generated, training: inception_score_of(generated),
}


@dataclass(frozen=True)
class Rules:
    """How many images a score needs.

    Args:
        kid_subset: images in each of KID's subsets, or all where fewer are compared; None: 1,000, likewise.
        allow_small: give FID also of no more images than there are features, whose covariance is singular.
        prefix: of the settings' names in messages, ``scores.`` or nothing.
    """

    kid_subset: int | None = None
    allow_small: bool = False
    prefix: str = ""

    def subset(self, real: int, generated: int) -> int:
        """Images in a subset of KID."""
        return min(self.kid_subset or 1000, real, generated, NEIGHBOURS)

    def fid_is_sound(self, real: int, generated: int, features: int) -> bool:
        return self.allow_small or min(real, generated) > features

    def left_out(self, real: int, generated: int, features: int) -> str:
        """Why there is no FID, and what to do about it; empty where there is one."""
        if self.fid_is_sound(real, generated, features):
            return ""
        return (
            f"FID is left out: of {features} features it needs more than {features} images a side, there are {real:,} "
            f"real and {generated:,} generated ones: look at KID, score more, or accept a value far too high with "
            f"{self.prefix}allow_small=true"
        )

    def check(self, real: int, generated: int) -> None:
        """Raise UserError where a score that is never left out needs more images than there are."""
        if min(real, generated) < FEWEST:
            raise UserError(f"{real} real and {generated} generated images are too few: score {FEWEST} or more of each")
        most = min(real, generated, NEIGHBOURS)
        if not (self.kid_subset is None or (isinstance(self.kid_subset, int) and 2 <= self.kid_subset <= most)):
            raise UserError(
                f"{self.prefix}kid_subset={self.kid_subset} does not fit {real:,} real and {generated:,} generated "
                f"images, of which KID compares {NEIGHBOURS:,} at most: set it from 2 to {most}, or to null"
            )


def score_names(classes: bool, fid: bool, side: int, standardised: bool = False) -> list[str]:
    """Names of the scores that ``compute_scores`` gives.

    Args:
        classes: whether the space has class probabilities.
        fid: whether there are images enough for it.
        side: the shorter one of the images, in pixels.
        standardised: whether features are in units of their standard deviation: FRD then stands in FID's place.
    """
    left_out = {*(() if classes else CLASS_SCORES), "fid" if standardised else "frd"}
    left_out |= set() if fid else {"fid", "frd"}
    left_out |= set() if side >= WINDOW else {"ssim_diversity"}
    return [name for name in LOWER_IS_BETTER if name in OWN and name not in left_out]


def compute_scores(real: Reference, seen: ImageFeatures, rules: Rules, seed: int = 0) -> dict[str, float]:
    """All scores that the space and the number of images allow, named as in ``LOWER_IS_BETTER``.

    FID and the class scores are of all images; KID and the nearest-neighbour scores, which compare images one by one,
    of at most ``NEIGHBOURS`` generated ones, and of as many real ones where there are so many.
    """
    scores: dict[str, float] = {}
    training = real.class_means()
    if training is not None and seen.probabilities is not None:
        found = means(seen.probabilities, classes=len(training.probabilities))
        scores |= {name: float(score(found, training)) for name, score in CLASS_SCORES.items()}
    if rules.fid_is_sound(real.count, len(seen.features), len(real.mean)):
        generated = mean_and_covariance(seen.features, "generated")
        squared = float(frechet_distance(real.mean, real.covariance, *generated))
        scores |= {"fid": squared} if real.standard is None else {"frd": math.log(max(squared, TINY))}
    ours, theirs = compared(real, seen)
    scores["kid"] = float(_kid(ours, theirs, rules, seed))
    scores |= precision_recall(ours, theirs)._asdict()
    scores |= density_coverage(ours, theirs)._asdict()
    scores |= clipped_density_coverage(ours, theirs)._asdict()
    scores["rke"] = renyi_kernel_entropy(theirs, bandwidth_of(real.neighbours))
    if min(seen.pictures.shape[2:]) >= WINDOW:
        scores["ssim_diversity"] = mean_pairwise_ssim(seen.pictures.float() / 255)
    return scores


def resample(real: Reference, seen: ImageFeatures, scores: Mapping[str, float], seed: int = 0) -> dict[str, Resampled]:
    """Those of the ``scores`` that allow it, of random halves of the cases of the real and of the seen images.

    The halves of the real images are the same for any as many ``seen``.
    """

    def kept(resamples: int) -> tuple[Tensor, Tensor]:
        of_real = halves(real.neighbour_groups, resamples, 2 * seed, real.cases)
        return of_real, halves(seen.groups, resamples, 2 * seed + 1)

    found: dict[str, Tensor] = {}
    cases = min(_count(real.neighbour_groups), _count(seen.groups))
    if real.neighbour_probabilities is not None and seen.probabilities is not None:
        both = real.neighbour_probabilities, seen.probabilities
        found |= resampled_class_scores(CLASS_SCORES, *both, *kept(RESAMPLES))
    if "fid" in scores or "frd" in scores:
        squared = resampled_frechet_distance(real.neighbours, seen.features, *kept(FRECHET_RESAMPLES))
        found |= {"fid": squared} if "fid" in scores else {"frd": squared.clamp(min=TINY).log()}
    ours, theirs = compared(real, seen)
    groups = renumbered(real.neighbour_groups[: len(ours)]), renumbered(seen.groups[: len(theirs)])
    of_real, of_seen = (halves(group, RESAMPLES, 2 * seed + side) for side, group in enumerate(groups))
    kid = Resampled(resampled_kernel_distance(ours, theirs, of_real, of_seen), min(map(_count, groups)))
    return {name: Resampled(values, cases) for name, values in found.items()} | {"kid": kid}


def compute_intervals(scores: Mapping[str, float], resampled: Mapping[str, Resampled]) -> dict[str, Interval]:
    """95 % intervals of the scores that were resampled; none of a score where a side is of a single case."""
    found = {name: interval(scores[name], values, name not in SIGNED) for name, values in resampled.items()}
    return {name: ends for name, ends in found.items() if ends is not None}


def _count(groups: Tensor) -> int:
    return int(groups.max()) + 1


def _kid(ours: Tensor, theirs: Tensor, rules: Rules, seed: int) -> Tensor:
    size = rules.subset(len(ours), len(theirs))
    return subset_kernel_distance(ours, theirs, size, _subsets(len(ours), len(theirs), size), seed)


def compared(real: Reference, seen: ImageFeatures) -> tuple[Tensor, Tensor]:
    """Features of the images that are compared one by one."""
    return real.neighbours[: len(seen.features)], seen.features[:NEIGHBOURS]


def _subsets(real: int, generated: int, size: int) -> int:
    """How many subsets KID takes: each image is in two of them, on average; one where a subset is everything."""
    return 1 if size == max(real, generated) else -(-2 * max(real, generated) // size)
