"""Arms set against each other on the same test images with the same seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from src.downstream.results import REAL, Arm, JobResult
from src.downstream.statistics import Estimate, holm, holm_levels, paired_difference
from src.errors import UserError

LEVEL = 0.95
Interval = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """The Dice of one arm minus that of another at the same real fraction, on the same images with the same seeds.

    Corrected values account for all comparisons of the same question (with real data, or between generators) at that
    fraction; the corrected interval leaves out zero exactly where the corrected p is below 0.05.
    """

    arm: Arm
    baseline: Arm
    fraction: float
    difference: float
    interval: Interval  # 95%, for this comparison alone
    p: float
    corrected_interval: Interval
    corrected_p: float
    family: int  # comparisons corrected for
    seeds: int
    cases: int


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

    def compare(self, arm: Arm, baseline: Arm, fraction: float) -> Estimate | None:
        """The paired difference on the seeds that both have; None where they share none."""
        one, other = self.dice_of(arm, fraction), self.dice_of(baseline, fraction)
        shared = sorted(one.keys() & other.keys())
        if not shared:
            return None
        return paired_difference(
            np.stack([one[seed] for seed in shared]), np.stack([other[seed] for seed in shared]), self.cases
        )


def compare_all(table: Table) -> Iterable[Comparison]:
    """Each arm with synthetic images against real ones alone, and generators against each other, at every fraction."""
    for fraction in table.fractions:
        for pairs in (_with_real(table.arms), _between_generators(table.arms)):
            yield from _family(table, pairs, fraction)


def _with_real(arms: Sequence[Arm]) -> Iterable[tuple[Arm, Arm]]:
    return ((arm, Arm(REAL)) for arm in arms if arm.regime != REAL)


def _between_generators(arms: Sequence[Arm]) -> Iterable[tuple[Arm, Arm]]:
    for first, second in combinations(arms, 2):
        if (first.regime, first.ratio) == (second.regime, second.ratio):
            yield second, first


def _family(table: Table, pairs: Iterable[tuple[Arm, Arm]], fraction: float) -> Iterable[Comparison]:
    """The comparisons that answer one question at one fraction, corrected for one another."""
    found = [(*pair, estimate) for pair in pairs if (estimate := table.compare(*pair, fraction))]
    p_values = [estimate.p_value for *_, estimate in found]
    corrections = zip(holm(p_values), holm_levels(p_values, LEVEL), strict=True)
    for (arm, baseline, estimate), (corrected_p, level) in zip(found, corrections, strict=True):
        yield Comparison(
            arm=arm,
            baseline=baseline,
            fraction=fraction,
            difference=estimate.mean,
            interval=estimate.interval(LEVEL),
            p=estimate.p_value,
            corrected_interval=estimate.interval(level),
            corrected_p=corrected_p,
            family=len(found),
            seeds=estimate.seeds,
            cases=estimate.cases,
        )
