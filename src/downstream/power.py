"""Which effect a study of some size can find, from how far Dice spreads between trainings and cases."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.downstream.statistics import (
    differences,
    freedoms,
    half_width_squared,
    mean_squares,
    seed_variances,
)

STUDIES = 2_000  # simulated; the effect found by 80% of them is then known to about 3%


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a U-Net's Dice."""

    seeds: float  # of its mean over all cases, between trainings with other seeds
    cases: float  # of what an arm makes of a case, with every seed, more or less than other arms do
    rest: float  # of what is left, from case to case of one training


@dataclass(frozen=True)
class Power:
    """The least true differences of Dice that four of five studies would call one; 1 where none can be."""

    spread: Spread
    source: str  # of the spread: stated or measured
    arms: int  # with synthetic images
    seeds: int
    cases: int
    effect: float
    more_seeds: float  # with twice the seeds
    more_cases: float  # with twice the test cases

    @property
    def advice(self) -> str:
        """What narrows the next study most."""
        if self.more_seeds == self.more_cases == 1:
            return "Twice the seeds would not make it one, nor would twice the test cases: both are needed."
        worth = f"{'seeds' if self.more_seeds < self.more_cases else 'test cases'} are worth more"
        if self.more_seeds == self.more_cases:
            worth = "both are worth the same"
        return (
            f"With twice the seeds ({2 * self.seeds}) it would be {effect_text(self.more_seeds)}, with twice the test "
            f"cases ({2 * self.cases}) {effect_text(self.more_cases)}: {worth}."
        )

    def text(self) -> str:
        return (
            f"{self.seeds} seed{'s' * (self.seeds != 1)} and {self.cases} test cases find, with 80% power, a true "
            f"difference of {effect_text(self.effect)} in one of {self.arms} arm{'s' * (self.arms != 1)} "
            f"({self.source} spread: {self.spread.seeds:.3f} between seeds, {self.spread.cases:.3f} between cases, "
            f"{self.spread.rest:.3f} left). {self.advice}"
        )


def effect_text(effect: float) -> str:
    return f"{effect:.3f}" if effect < 1 else "none that Dice can have"


def power_of(spread: Spread, source: str, arms: int, seeds: int, cases: int) -> Power:
    """``arms`` are those with synthetic images, each compared with real images alone."""
    sizes = ((seeds, cases), (2 * seeds, cases), (seeds, 2 * cases))
    effects = [detectable(spread, arms, *size) for size in sizes]
    return Power(spread, source, arms, seeds, cases, *effects)


def earlier_spread(answer: Path) -> Spread | None:
    """What a study measured before, by its ``study.json``; None where there is none."""
    try:
        return Spread(**json.loads(answer.read_text())["power"]["spread"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def detectable(spread: Spread, arms: int, seeds: int, cases: int, power: float = 0.8, error: float = 0.05) -> float:
    """The least gain of one arm that a share of ``power`` of all studies finds, at Holm's first step; 1 at most.

    By simulation of normal studies, through the statistics that a study uses. Other arms with a gain of their own make
    it smaller, down Holm's steps.
    """
    if seeds < 2 or cases < 2:
        return 1.0
    random = np.random.default_rng(0)
    part = max(1, 2**22 // ((arms + 1) * seeds * cases))  # studies held at a time
    needed = []
    for start in range(0, STUDIES, part):
        shape = (min(part, STUDIES - start), arms + 1)
        table = (
            spread.seeds * random.normal(size=(*shape, seeds, 1))
            + spread.cases * random.normal(size=(*shape, 1, cases))
            + spread.rest * random.normal(size=(*shape, seeds, cases))
        )
        mean, *variances = differences(table, 1, 0)
        case_freedom, seed_freedom = freedoms(cases, seeds, arms)
        squared = half_width_squared(variances[0], case_freedom, variances[1], seed_freedom, error / arms)
        needed.append(np.sqrt(squared) - mean)  # an effect above it moves the interval past zero
    return min(float(np.quantile(np.concatenate(needed), power)), 1.0)


def measured_spread(table: np.ndarray) -> Spread:
    """Of (arms, seeds, cases) Dice, two arms and two seeds at least; what chance alone explains counts as 0."""
    arms, seeds, cases = table.shape
    about = table - table.mean(0)  # what an arm makes of a seed and a case, less what all arms do
    between_cases, _, rest = (values.mean() * arms / (arms - 1) for values in mean_squares(about))
    between_seeds = cases * seed_variances(table.mean(-1)).min()  # the pooled one: none is below it
    return Spread(
        math.sqrt(max(between_seeds - rest, 0) / cases),
        math.sqrt(max(between_cases - rest, 0) / seeds),
        math.sqrt(rest),
    )
