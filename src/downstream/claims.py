"""What the sources claim about Enhanced-GAN, beside what was found here.

A claim about a model speaks of its trainings: one training of each generator cannot tell a better model from a lucky
seed. Several run folders of one model among a study's generators are its trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from src.downstream.comparisons import Comparison, Table
from src.downstream.results import REAL, SYNTHETIC_THEN_REAL, Arm, fraction_text, signed
from src.downstream.statistics import Interval, paired_difference

SUPPORTED, CONTRADICTED, OPEN, NOT_TESTED = "supported", "contradicted", "open", "not tested"
CANNOT_TELL = "one training each: cannot tell"
ONE_SEED = "one seed: cannot tell"
SOURCE = "Waqas et al., IEEE Access 10 (2022)"
CLAIMED, RIVAL = "enhanced", "pggan"  # models of conf/model
TUNED = "A U-Net pre-trained on Enhanced-GAN images and fine-tuned on real ones has a higher Dice than "

ScoresOfOne = Mapping[str, tuple[float, float, float]]
"""Score, e.g. "am_score" → value and 95% interval: (value, low, high)."""
Scores = Mapping[str, ScoresOfOne]  # by generator


@dataclass(frozen=True)
class Claim:
    """A source's sentence and its state; ``difference`` is the claimed winner's value minus the other's."""

    source: str
    claimed: str
    found: str
    difference: float | None
    interval: Interval | None  # corrected for all tests of the page; of real images alone, as the verdict's
    state: str  # supported, contradicted, open, not tested or why it cannot be told


def check_claims(
    table: Table, comparisons: Sequence[Comparison], scores: Scores, models: Mapping[str, str] | None = None
) -> Iterable[Claim]:
    """All claims; Dice at the largest real fraction. What was not trained on both sides is "not tested".

    Args:
        models: what each generator is, by its name; where that is not said, its name says it.
    """
    names = sorted({arm.generator for arm in table.arms if arm.generator} | set(scores))
    ours, theirs = ([name for name in names if (models or {}).get(name, name) == wanted] for wanted in (CLAIMED, RIVAL))
    of_models = [
        _between_generators(TUNED + "with PGGAN images", table, ours, theirs),
        *(
            _of_scores(f"Enhanced-GAN has a {wanted} (better) {name} than PGGAN", key, better, scores, ours, theirs)
            for name, key, wanted, better in (
                ("AM Score", "am_score", "lower", -1),
                ("Mode Score", "mode_score", "higher", 1),
            )
        ),
    ]
    primary = [comparison for comparison in comparisons if comparison.corrected]
    tests = len(primary) + sum(isinstance(claim, _Test) for claim in of_models)
    dice, *of_scores = (claim if isinstance(claim, Claim) else claim.judged(1 - 0.05 / tests) for claim in of_models)
    yield dice
    yield _against_real(TUNED + "with real images alone", comparisons, ours)
    yield from of_scores


@dataclass(frozen=True)
class _Test:
    """A claim of which there are trainings enough to judge it."""

    claimed: str
    found: str
    difference: float
    better: int  # 1 where more is better, -1 where less is
    interval: Callable[[float], Interval]  # of the difference, by its level

    def judged(self, level: float) -> Claim:
        low, high = self.interval(level)
        state = _state(*sorted((self.better * low, self.better * high)))
        return Claim(SOURCE, self.claimed, self.found, self.difference, (low, high), state)


def _between_generators(claimed: str, table: Table, ours: Sequence[str], theirs: Sequence[str]) -> Claim | _Test:
    """Trainings of two generators, paired as they come: independent ones may be, at the cost of some power."""
    fraction = table.fractions[-1]
    one, other = (_tuned(table, names, fraction) for names in (ours, theirs))
    if not one or not other:
        return Claim(SOURCE, claimed, "no such pair of arms", None, None, NOT_TESTED)
    count = min(len(one), len(other))
    a, b = np.stack(one[:count]), np.stack(other[:count])
    estimate = paired_difference(a, b, table.cases)
    found = f"Dice {signed(estimate.mean)} with {fraction_text(fraction)} of the real images, {_trainings(count)} each"
    if count < 2:
        return Claim(SOURCE, claimed, found, estimate.mean, None, CANNOT_TELL)
    return _Test(claimed, found, estimate.mean, 1, estimate.difference_interval)


def _tuned(table: Table, generators: Sequence[str], fraction: float) -> list[np.ndarray]:
    """Of each generator the Dice of every image, the mean over the U-Nets fine-tuned after its images."""
    dice = [table.dice_of(Arm(SYNTHETIC_THEN_REAL, name), fraction) for name in generators]
    return [np.mean(list(seeds.values()), axis=0) for seeds in dice if seeds]


def _against_real(claimed: str, comparisons: Sequence[Comparison], ours: Sequence[str]) -> Claim:
    """By the comparisons of the primary question; of several trainings all have to agree."""
    arms = [Arm(SYNTHETIC_THEN_REAL, name) for name in ours]
    found = [one for one in comparisons if one.arm in arms and one.baseline == Arm(REAL)]
    if not found:
        return Claim(SOURCE, claimed, "no such pair of arms", None, None, NOT_TESTED)
    largest = max(one.fraction for one in found)
    found = [one for one in found if one.fraction == largest]
    difference = float(np.mean([one.difference for one in found]))
    text = f"Dice {signed(difference)} with {fraction_text(largest)} of the real images, by {_trainings(len(found))}"
    intervals = [one.corrected.interval for one in found if one.corrected]
    if not intervals:
        return Claim(SOURCE, claimed, text, difference, None, ONE_SEED)
    low, high = min(interval[0] for interval in intervals), max(interval[1] for interval in intervals)
    return Claim(SOURCE, claimed, text, difference, (low, high), _state(low, high))


def _of_scores(
    claimed: str, key: str, better: int, scores: Scores, ours: Sequence[str], theirs: Sequence[str]
) -> Claim | _Test:
    """By the spread between trainings (Welch's t interval); that over generated images says nothing of it."""
    one, other = ([scores[name][key][0] for name in names if key in scores.get(name, {})] for names in (ours, theirs))
    if not one or not other:
        return Claim(SOURCE, claimed, "no score of both generators", None, None, NOT_TESTED)
    difference = float(np.mean(one) - np.mean(other))
    found = f"{np.mean(one):.3f} against {np.mean(other):.3f}, {_trainings(len(one))} against {len(other)}"
    if min(len(one), len(other)) < 2:
        return Claim(SOURCE, claimed, found, difference, None, CANNOT_TELL)

    def interval(level: float) -> Interval:
        low, high = stats.ttest_ind(one, other, equal_var=False).confidence_interval(level)
        return float(low), float(high)

    return _Test(claimed, found, difference, better, interval)


def _trainings(count: int) -> str:
    return f"{count} training{'s' * (count != 1)}"


def _state(low: float, high: float) -> str:
    """Of the claim that the true value is above zero."""
    if low > 0:
        return SUPPORTED
    return CONTRADICTED if high < 0 else OPEN
