"""How far a difference of Dice may be chance: other patients and other seeds would have given other numbers.

Every arm, a way of training, is tested on the same cases and trained with the same seeds, so the Dice of a study is a
table of arms × seeds × cases. Seeds and cases are both samples. Images of one case are no independent evidence; a case
counts once, with the mean of its images.

The variance of a mean difference has two parts. What other cases would change is read off the mean squares between the
cases of that difference. What other seeds would change is read off all arms that answer one question: each arm's
variance between seeds counts as its own or as the one pooled over arms, whichever is larger. Two to five seeds of one
arm say next to nothing of their spread, and the seeds of seven arms say much more; an arm that spreads more widely than
the others is not hidden by them. The half width of an interval is √(t²_cases V_cases + t²_seeds V_seeds), each part
with the quantile of its own degrees of freedom, since a common one after Satterthwaite fails in the tail that Holm's
correction uses. docs/study.md has the levels and the power of this and of what it was compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from src.core.errors import UserError

Interval = tuple[float, float]
LEAST_P = 1e-100
WHOLE = (-1.0, 1.0)  # all that a difference of Dice can be: nothing is known


class Parts(NamedTuple):
    """Means with their variances, from the samples of cases and of seeds; arrays of one shape."""

    mean: np.ndarray
    case_variance: np.ndarray
    seed_variance: np.ndarray


@dataclass(frozen=True)
class Estimate:
    """A mean over cases and seeds with what its interval is built from."""

    mean: float
    case_variance: float  # of the mean
    case_freedom: int  # degrees of freedom of that variance
    seed_variance: float  # of the mean; 0 where one seed says nothing of it
    seed_freedom: int
    seeds: int
    cases: int

    @property
    def spreads(self) -> bool:
        """Whether anything varied: without that, as where all Dice are 0, nothing is known of an error."""
        return self.case_variance + self.seed_variance > 0

    def half_width(self, level: float = 0.95) -> float:
        """Of the interval that covers the true mean in ``level`` of all studies; infinite where nothing varied."""
        return self._half_width(1 - level) if self.spreads else math.inf

    def _half_width(self, error: float) -> float:
        parts = self.case_variance, self.case_freedom, self.seed_variance, self.seed_freedom
        return math.sqrt(float(half_width_squared(*parts, error)))

    def difference_interval(self, level: float = 0.95) -> Interval:
        """Of a difference of Dice, which lies between -1 and 1."""
        half = self.half_width(level)
        return max(self.mean - half, WHOLE[0]), min(self.mean + half, WHOLE[1])

    def dice_interval(self, level: float = 0.95) -> Interval:
        """Of a mean Dice, on the logit scale: Dice is skewed, and an interval of equal arms covers too little."""
        half, slope = self.half_width(level), self.mean * (1 - self.mean)
        if slope <= 0 or math.isinf(half):
            return 0.0, 1.0
        centre = special.logit(self.mean)
        return float(special.expit(centre - half / slope)), float(special.expit(centre + half / slope))

    @property
    def p_value(self) -> float:
        """Two-sided, of the true mean being zero: the level at which the interval ends at zero."""
        size = abs(self.mean)
        if size == 0 or not self.spreads:
            return 1.0
        if self._half_width(LEAST_P) < size:
            return LEAST_P
        return math.exp(optimize.brentq(lambda p: self._half_width(math.exp(p)) - size, math.log(LEAST_P), 0.0))


def half_width_squared(
    case_variance: np.ndarray | float,
    case_freedom: int,
    seed_variance: np.ndarray | float,
    seed_freedom: int,
    error: float,
) -> np.ndarray | float:
    """t² V of either part, summed: the squared half width of the interval of level 1 - ``error``."""
    squared = special.stdtrit(case_freedom, error / 2) ** 2 * case_variance
    return squared + (special.stdtrit(seed_freedom, error / 2) ** 2 * seed_variance if seed_freedom else 0.0)


def mean_over_cases(values: np.ndarray, cases: Sequence[str]) -> Estimate:
    """The mean of ``values`` (seeds x images) of one arm over the cases that its columns belong to.

    With one seed the interval covers other cases, not other seeds. Raises UserError where there is one case only.
    """
    table = case_means(values, cases)
    seeds, count = table.shape
    case_freedom, seed_freedom = freedoms(count, seeds, 1)
    between_cases, between_seeds, _ = (float(square) / table.size for square in mean_squares(table))
    return Estimate(float(table.mean()), between_cases, case_freedom, between_seeds, seed_freedom, seeds, count)


def paired_difference(
    a: np.ndarray, b: np.ndarray, cases: Sequence[str], others: Sequence[np.ndarray] = ()
) -> Estimate:
    """The mean of ``a - b``.

    Args:
        a, b: two arms, each seeds x images, with the same seeds and images in the same order.
        cases: of the images.
        others: further arms of the same question, which help to tell how far seeds spread.

    Raises:
        ValueError: the shapes differ.
        UserError: one case only.
    """
    arms = [a, b, *others]
    if len({values.shape for values in arms}) != 1:
        raise ValueError(f"arms of shapes {', '.join(str(values.shape) for values in arms)} cannot be paired")
    table = np.stack([case_means(values, cases) for values in arms])
    count, seeds, size = table.shape
    case_freedom, seed_freedom = freedoms(size, seeds, count - 1)
    mean, case_variance, seed_variance = map(float, differences(table, 0, 1))
    return Estimate(mean, case_variance, case_freedom, seed_variance, seed_freedom, seeds, size)


def differences(table: np.ndarray, arm: int, baseline: int) -> Parts:
    """Of one arm less another, in one study or many: ``table`` is (…, arms, seeds, cases)."""
    *_, arms, seeds, cases = table.shape
    case_freedom, seed_freedom = freedoms(cases, seeds, arms - 1)
    difference = table[..., arm, :, :] - table[..., baseline, :, :]
    between_cases, between_seeds, rest = mean_squares(difference)
    if seeds > 1:
        spread = cases * seed_variances(table.mean(-1))
        between_seeds = spread[..., arm] + spread[..., baseline]
    variances = _count_rest_once(between_cases, case_freedom, between_seeds, seed_freedom, rest) / (seeds * cases)
    return Parts(difference.mean((-2, -1)), variances[0], variances[1])


def seed_variances(means: np.ndarray) -> np.ndarray:
    """(…, arms, seeds) mean Dice → (…, arms): variance between seeds, each arm's own or the pooled one if larger.

    What all arms have in common with a seed, as the cases drawn for a share, is taken out first.
    """
    arms, seeds = means.shape[-2:]
    centre = means.mean((-2, -1), keepdims=True)
    residual = means - means.mean(-1, keepdims=True) - means.mean(-2, keepdims=True) + centre
    own = (residual**2).sum(-1) / (seeds - 1)
    return np.maximum(own * arms / (arms - 1), own.sum(-1, keepdims=True) / (arms - 1))


def mean_squares(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(…, seeds, cases) → between cases, between seeds, and the rest, of the two-way table; 0 where one seed is all."""
    seeds, cases = table.shape[-2:]
    by_case, by_seed = table.mean(-2, keepdims=True), table.mean(-1, keepdims=True)
    between_cases = seeds * by_case[..., 0, :].var(-1, ddof=1)
    if seeds == 1:
        return between_cases, np.zeros_like(between_cases), np.zeros_like(between_cases)
    between_seeds = cases * by_seed[..., 0].var(-1, ddof=1)
    residual = table - by_case - by_seed + table.mean((-2, -1), keepdims=True)
    return between_cases, between_seeds, (residual**2).sum((-2, -1)) / ((seeds - 1) * (cases - 1))


def _count_rest_once(
    between_cases: np.ndarray, case_freedom: int, between_seeds: np.ndarray, seed_freedom: int, rest: np.ndarray
) -> np.ndarray:
    """Both mean squares hold the rest; it stays with that of fewer degrees of freedom, on the safe side: (2, …)."""
    if not seed_freedom:
        return np.stack([between_cases, np.zeros_like(between_cases)])
    if case_freedom <= seed_freedom:
        return np.stack([between_cases, np.maximum(between_seeds - rest, 0)])
    return np.stack([np.maximum(between_cases - rest, 0), np.maximum(between_seeds, rest)])


def freedoms(cases: int, seeds: int, arms: int) -> tuple[int, int]:
    """Degrees of freedom of a variance between cases, and of one between the seeds of ``arms`` independent arms."""
    if cases < 2:
        raise UserError("one test case says nothing about other cases: test on two cases or more")
    return cases - 1, arms * (seeds - 1)


def case_means(values: np.ndarray, cases: Sequence[str]) -> np.ndarray:
    """Means of the columns of each case: seeds x images → seeds x cases, cases in sorted order."""
    if values.ndim != 2 or values.shape[1] != len(cases):
        raise ValueError(f"values of shape {values.shape} are not seeds x {len(cases)} images")
    _, index = np.unique(np.asarray(cases), return_inverse=True)
    member = np.eye(index.max() + 1)[index]
    return values @ (member / member.sum(axis=0))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for one another (Holm 1979, Scandinavian J. of Statistics 6(2)), in the order given."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1)
    return [float(value) for value in corrected]


def holm_levels(p_values: Sequence[float], level: float = 0.95) -> list[float]:
    """The level of each interval at which it leaves out zero exactly where Holm's corrected p is below ``1 - level``.

    After Serlin (1993), J. of Experimental Education 61(4): the error allowed is shared by the hypotheses that Holm's
    procedure had not rejected when it came to this one.
    """
    count, error = len(p_values), 1 - level
    levels, remaining = np.empty(count), count
    for index in np.argsort(p_values, kind="stable"):
        levels[index] = 1 - error / remaining
        if p_values[index] < error / remaining:
            remaining = max(remaining - 1, 1)
    return [float(value) for value in levels]
