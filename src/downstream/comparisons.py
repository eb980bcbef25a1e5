"""Arms set against each other on the same test images with the same seeds.

A page answers one primary question: at the largest share of real images, does an arm with synthetic images beat real
images alone? Its comparisons are corrected for one another. Every other row describes, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from src.core.errors import UserError
from src.downstream.results import REAL, UNAUGMENTED, Arm, JobResult
from src.downstream.statistics import Estimate, Interval, holm, holm_levels, paired_difference

LEVEL = 0.95


@dataclass(frozen=True)
class Corrected:
    """What is left of a comparison when all of its question are accounted for (Holm).

    The interval leaves out zero exactly where p is below 0.05.
    """

    interval: Interval
    p: float
    family: int  # comparisons of the question


@dataclass(frozen=True)
class Comparison:
    """The Dice of one arm minus that of another at the same real fraction, on the same images with the same seeds."""

    arm: Arm
    baseline: Arm
    fraction: float
    difference: float
    interval: Interval  # 95%, for this comparison alone
    seeds: int
    cases: int
    corrected: Corrected | None = None  # of the primary question alone


class Table:
    """Results by arm, fraction and seed, on one ordered list of test images."""

    def __init__(self, results: Sequence[JobResult]) -> None:
        if not results:
            raise UserError("the study has no results: run at least one job before analysing it")
        first = results[0]
        self.images = sorted(first.dice)
        self.cases = [first.cases[image] for image in self.images]
        self.arms = list(dict.fromkeys(result.arm for result in results))
        self.fractions = sorted({result.fraction for result in results})
        self.seeds = sorted({result.seed for result in results})
        self._dice: dict[tuple[Arm, float], dict[int, np.ndarray]] = {}
        for result in results:
            if result.dice.keys() != first.dice.keys() or result.cases != first.cases:
                raise UserError(f"{result.run} was tested on other images than {first.run}: test both on the same ones")
            dice = np.array([result.dice[image] for image in self.images])
            if not np.isfinite(dice).all():
                bad = self.images[int(np.argmin(np.isfinite(dice)))]
                raise UserError(f"{result.run} has no number as the Dice of {bad}: test that run again")
            seeds = self._dice.setdefault((result.arm, result.fraction), {})
            if result.seed in seeds:
                raise UserError(
                    f"{result.run} repeats '{result.arm.label}' at real fraction {result.fraction:g} with seed "
                    f"{result.seed}: leave one of the two out"
                )
            seeds[result.seed] = dice

    def dice_of(self, arm: Arm, fraction: float) -> dict[int, np.ndarray]:
        """Seed → Dice of every image; empty where no such job has ended."""
        return self._dice.get((arm, fraction), {})

    def trained(self, fraction: float) -> list[Arm]:
        """The arms with a result at ``fraction``."""
        return [arm for arm in self.arms if self.dice_of(arm, fraction)]

    def question(self, fraction: float) -> list[Arm]:
        """The arms of the question what synthetic images are worth: those that train as real images alone do."""
        return [arm for arm in self.trained(fraction) if arm.regime != UNAUGMENTED]

    def stack(self, arms: Sequence[Arm], fraction: float) -> np.ndarray | None:
        """Arms × seeds × images, of the seeds that all of them have; None where there are none."""
        dice = [self.dice_of(arm, fraction) for arm in arms]
        shared = sorted(set.intersection(*(set(one) for one in dice))) if dice else []
        return np.array([[one[seed] for seed in shared] for one in dice]) if shared else None

    def estimate(self, arm: Arm, baseline: Arm, fraction: float) -> Estimate | None:
        """The paired difference on the seeds that all arms of the question have; None where they share none."""
        others = [other for other in self.question(fraction) if other not in (arm, baseline)]
        arms = [arm, baseline, *(others if UNAUGMENTED not in (arm.regime, baseline.regime) else [])]
        stacked = self.stack(arms, fraction)
        return None if stacked is None else paired_difference(stacked[0], stacked[1], self.cases, list(stacked[2:]))


def compare_all(table: Table) -> Iterable[Comparison]:
    """Those of the primary question first; then, at every fraction, all that describes."""
    primary = list(_primary(table))
    yield from primary
    asked = {(one.arm, one.baseline, one.fraction) for one in primary}
    for fraction in reversed(table.fractions):
        trained = table.trained(fraction)
        for arm, baseline in (*_with_real(trained), *_between_generators(trained)):
            if (arm, baseline, fraction) not in asked and (found := table.estimate(arm, baseline, fraction)):
                yield _comparison(arm, baseline, fraction, found)


def _primary(table: Table) -> Iterable[Comparison]:
    """At the largest fraction where real images alone were trained beside others; none where seeds have no spread."""
    for fraction in reversed(table.fractions):
        arms = table.question(fraction)
        pairs = list(_with_real(arms))
        if not pairs:
            continue
        found = [estimate for pair in pairs if (estimate := table.estimate(*pair, fraction))]
        if any(estimate.seeds == 1 for estimate in found):
            return
        p_values = [estimate.p_value for estimate in found]
        corrections = zip(holm(p_values), holm_levels(p_values, LEVEL), strict=True)
        for (arm, baseline), estimate, (p, level) in zip(pairs, found, corrections, strict=False):
            corrected = Corrected(estimate.difference_interval(level), p, len(found))
            yield _comparison(arm, baseline, fraction, estimate, corrected)
        return


def _with_real(arms: Sequence[Arm]) -> Iterable[tuple[Arm, Arm]]:
    """Pairs of an arm and the one it is held against; of real images, augmented against not augmented."""
    real, plain = Arm(REAL), Arm(UNAUGMENTED)
    if real in arms:
        yield from ((arm, real) for arm in arms if arm.generator is not None)
        if plain in arms:
            yield real, plain


def _between_generators(arms: Sequence[Arm]) -> Iterable[tuple[Arm, Arm]]:
    for first, second in combinations([arm for arm in arms if arm.generator is not None], 2):
        if (first.regime, first.ratio) == (second.regime, second.ratio):
            yield second, first


def _comparison(
    arm: Arm, baseline: Arm, fraction: float, estimate: Estimate, corrected: Corrected | None = None
) -> Comparison:
    interval = estimate.difference_interval(LEVEL)
    return Comparison(arm, baseline, fraction, estimate.mean, interval, estimate.seeds, estimate.cases, corrected)
