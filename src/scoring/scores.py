"""Every score of a set of images against the real ones, from what one pass over them left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from src.errors import UserError
from src.metrics.bootstrap import Interval, interval, shift
from src.metrics.diversity import WINDOW, mean_pairwise_ssim
from src.metrics.frechet import frechet_distance, mean_and_covariance
from src.metrics.kernel import subset_kernel_distance
from src.metrics.manifold import density_coverage, precision_recall
from src.metrics.probabilities import Means, am_score_of, inception_score_of, means, mode_score_of
from src.metrics.resampled import resampled_class_scores, resampled_frechet_distance, resampled_kernel_distance
from src.scoring.observation import Observation
from src.scoring.reference import NEIGHBOURS, Reference

FEWEST = 6  # images: density and coverage look at five neighbours of each
LOWER_IS_BETTER = {
    "am_score": True,
    "mode_score": False,
    "mode_score_xu2018": False,
    "inception_score": False,
    "fid": True,
    "kid": True,
    "precision": False,
    "recall": False,
    "density": False,
    "coverage": False,
    "ssim_diversity": True,
}

CLASS_SCORES = ("am_score", "mode_score", "mode_score_xu2018", "inception_score")


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

    def check(self, real: int, generated: int, features: int) -> None:
        """Raise UserError where a score needs more images than there are."""
        if min(real, generated) < FEWEST:
            raise UserError(f"{real} real and {generated} generated images are too few: score {FEWEST} or more of each")
        most = min(real, generated, NEIGHBOURS)
        if not (self.kid_subset is None or (isinstance(self.kid_subset, int) and 2 <= self.kid_subset <= most)):
            raise UserError(
                f"{self.prefix}kid_subset={self.kid_subset} does not fit {real:,} real and {generated:,} generated "
                f"images, of which KID compares {NEIGHBOURS:,} at most: set it from 2 to {most}, or to null"
            )
        if not self.fid_is_sound(real, generated, features):
            raise UserError(
                f"FID of {features} features needs more than {features} images a side, there are {real:,} real and "
                f"{generated:,} generated ones: score more, or accept a value far too high with "
                f"{self.prefix}allow_small=true"
            )


def score_names(classes: bool, fid: bool, side: int) -> list[str]:
    """Names of the scores that ``compute_scores`` gives.

    Args:
        classes: whether the space has class probabilities.
        fid: whether there are images enough for it.
        side: the shorter one of the images, in pixels.
    """
    left_out = {*(() if classes else CLASS_SCORES), *(() if fid else ("fid",))}
    left_out |= set() if side >= WINDOW else {"ssim_diversity"}
    return [name for name in LOWER_IS_BETTER if name not in left_out]


def compute_scores(real: Reference, seen: Observation, rules: Rules, seed: int = 0) -> dict[str, float]:
    """All scores that the space and the number of images allow, named as in ``LOWER_IS_BETTER``.

    FID and the class scores are of all images; KID and the nearest-neighbour scores, which compare images one by one,
    of at most ``NEIGHBOURS`` generated ones, and of as many real ones where there are so many.
    """
    scores: dict[str, float] = {}
    training = real.class_means()
    if training is not None and seen.probabilities is not None:
        generated = means(seen.probabilities, classes=len(training.probabilities))
        scores |= {name: float(score(generated)) for name, score in _class_scores(training).items()}
    if rules.fid_is_sound(real.count, len(seen.features), len(real.mean)):
        scores["fid"] = float(frechet_distance(real.mean, real.covariance, *mean_and_covariance(seen.features)))
    ours, theirs = _compared(real, seen)
    scores["kid"] = float(_kid(ours, theirs, rules, seed))
    scores |= precision_recall(ours, theirs)._asdict()
    scores |= density_coverage(ours, theirs)._asdict()
    if min(seen.pictures.shape[2:]) >= WINDOW:
        scores["ssim_diversity"] = mean_pairwise_ssim(seen.pictures.float() / 255)
    return scores


def compute_intervals(real: Reference, seen: Observation, rules: Rules, seed: int = 0) -> dict[str, Interval]:
    """95 % bootstrap intervals over the generated images, of the scores for which that is sound."""
    values: dict[str, Tensor] = {}
    training = real.class_means()
    if training is not None and seen.probabilities is not None:
        values |= resampled_class_scores(_class_scores(training), seen.probabilities, seed=seed)
    if rules.fid_is_sound(real.count, len(seen.features), len(real.mean)):
        values["fid"] = resampled_frechet_distance(real.mean, real.covariance, seen.features, seed=seed)
    ours, theirs = _compared(real, seen)
    # The score is a mean over subsets, which need not have the value of all images: the interval is one around it.
    values["kid"] = shift(resampled_kernel_distance(ours, theirs, seed=seed), _kid(ours, theirs, rules, seed))
    return {name: interval(resampled) for name, resampled in values.items()}


def _kid(ours: Tensor, theirs: Tensor, rules: Rules, seed: int) -> Tensor:
    size = rules.subset(len(ours), len(theirs))
    return subset_kernel_distance(ours, theirs, size, _subsets(len(ours), len(theirs), size), seed)


def _class_scores(training: Means) -> dict[str, Callable[[Means], Tensor]]:
    return {
        "am_score": partial(am_score_of, training=training),
        "mode_score": partial(mode_score_of, training=training),
        "mode_score_xu2018": partial(mode_score_of, training=training, variant="xu2018"),
        "inception_score": inception_score_of,
    }


def _compared(real: Reference, seen: Observation) -> tuple[Tensor, Tensor]:
    """Features of the images that are compared one by one."""
    return real.neighbours[: len(seen.features)], seen.features[:NEIGHBOURS]


def _subsets(real: int, generated: int, size: int) -> int:
    """How many subsets KID takes: each image is in two of them, on average; one where a subset is everything."""
    return 1 if size == max(real, generated) else -(-2 * max(real, generated) // size)
