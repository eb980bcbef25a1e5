"""From the results of all jobs to the study's answer: arms, comparisons, verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.downstream.claims import Claim, Scores, check_claims, signed
from src.downstream.comparisons import LEVEL, Comparison, Interval, Table, compare_all
from src.downstream.results import MIXED, REAL, SYNTHETIC, SYNTHETIC_THEN_REAL, Arm, JobResult, ratio_text
from src.downstream.statistics import mean_over_cases


@dataclass(frozen=True)
class ArmSummary:
    """An arm at one real fraction: mean Dice over the images of a case, then over cases and seeds."""

    arm: Arm
    fraction: float
    mean: float
    interval: Interval  # 95%, over other cases and seeds
    seeds: int
    images: int
    cases: int


@dataclass(frozen=True)
class Study:
    """Everything the results say, ready for JSON (``dataclasses.asdict``)."""

    verdict: str
    arms: tuple[ArmSummary, ...]
    comparisons: tuple[Comparison, ...]
    claims: tuple[Claim, ...]
    warnings: tuple[str, ...]


def analyse(
    results: Sequence[JobResult], scores: Scores | None = None, models: Mapping[str, str] | None = None
) -> Study:
    """What the results say, and what the generators' ``scores`` (see ``claims``) add to the sources' claims.

    ``models`` is the model of each generator, by its name.

    Arms or seeds still missing are left out of the pairs and named in the warnings. Raises UserError where results
    cannot be compared: none, other test images, the same job twice, a Dice that is no number, a single test case.
    """
    table = Table(results)
    comparisons = tuple(compare_all(table))
    return Study(
        verdict=_verdict(comparisons),
        arms=tuple(_summaries(table)),
        comparisons=comparisons,
        claims=tuple(check_claims(comparisons, scores or {}, models)),
        warnings=tuple(_warnings(table)),
    )


def fraction_text(fraction: float) -> str:
    """ "25%", of the real training images."""
    return f"{100 * fraction:.4g}%"


def _summaries(table: Table) -> Iterable[ArmSummary]:
    for arm in table.arms:
        for fraction in table.fractions:
            if dice := table.dice_of(arm, fraction):
                estimate = mean_over_cases(np.stack(list(dice.values())), table.cases)
                low, high = estimate.interval(LEVEL)
                bounds = (max(low, 0.0), min(high, 1.0))  # a Dice cannot leave them
                yield ArmSummary(
                    arm, fraction, estimate.mean, bounds, estimate.seeds, len(table.images), estimate.cases
                )


def _verdict(comparisons: Sequence[Comparison]) -> str:
    """One sentence on the best arm with synthetic images against real data alone, at the largest fraction.

    The arm was chosen by its result, so only values corrected for all arms of the choice enter the sentence.
    """
    asked = [comparison for comparison in comparisons if comparison.baseline == Arm(REAL)]
    if not asked:
        return "No verdict yet: no U-Net with synthetic images can be compared with one of real images alone."
    largest = max(comparison.fraction for comparison in asked)
    asked = [comparison for comparison in asked if comparison.fraction == largest]
    better = [comparison for comparison in asked if comparison.corrected_interval[0] > 0]
    best = max(better or asked, key=lambda comparison: comparison.difference)
    baseline = "all real images" if largest == 1 else f"{fraction_text(largest)} of the real images"
    use = _use(best.arm, baseline)
    if better:
        return f"Synthetic images from {best.arm.generator} raise the U-Net's Dice by {_change(best)} when {use}."
    worse = all(comparison.corrected_interval[1] < 0 for comparison in asked)
    finding = "Synthetic images lower" if worse else "No evidence that synthetic images raise"
    subject = f"the best of {len(asked)} arms" if len(asked) > 1 else "the arm tested"
    where = f"when {use} (generator: {best.arm.generator})"
    return f"{finding} the U-Net's Dice: {subject} changes it by {_change(best)} {where}."


def _change(best: Comparison) -> str:
    low, high = best.corrected_interval
    show = "{:.3f}".format if low > 0 else signed
    corrected = f", corrected for {best.family} comparisons" if best.family > 1 else ""
    return f"{show(best.difference)} (95% interval {show(low)} to {show(high)}{corrected})"


def _use(arm: Arm, real: str) -> str:
    return {
        SYNTHETIC: f"it is trained on them instead of {real}",
        SYNTHETIC_THEN_REAL: f"it is pre-trained on them and fine-tuned on {real}",
        MIXED: f"they are mixed {ratio_text(arm.ratio)} with {real}",
    }[arm.regime]


def _warnings(table: Table) -> Iterable[str]:
    for arm in table.arms:
        for fraction in table.fractions:
            missing = [seed for seed in table.seeds if seed not in table.dice_of(arm, fraction)]
            if missing and len(missing) < len(table.seeds):
                text = ", ".join(map(str, missing))
                yield f"{arm.label} at {fraction_text(fraction)}: no result yet for seed {text}; paired without."
    if len(table.seeds) == 1:
        yield "One seed only: the intervals leave out how far trainings with other seeds would spread."
