"""The study's answer in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from src.downstream.comparisons import Comparison, Corrected
from src.downstream.results import MIXED, REAL, SYNTHETIC, SYNTHETIC_THEN_REAL, Arm, fraction_text, ratio_text, signed
from src.downstream.statistics import WHOLE


def verdict(comparisons: Sequence[Comparison], learned: bool = True) -> str:
    """On the best arm with synthetic images against real images alone, at the largest fraction.

    The arm was chosen by its result, so only values corrected for all arms of the choice enter the sentence.

    Args:
        learned: whether the U-Nets of real images alone learned anything.
    """
    asked = [(comparison, comparison.corrected) for comparison in comparisons if comparison.corrected]
    if not asked:
        return _none(comparisons)
    fraction = asked[0][0].fraction
    real = "all real images" if fraction == 1 else f"{fraction_text(fraction)} of the real images"
    if not learned:
        return f"No verdict: the U-Nets that learned from {real} alone learned nothing."
    better = [one for one in asked if one[1].interval[0] > 0]
    best, corrected = max(better or asked, key=lambda one: one[0].difference)
    use, change = _use(best.arm, real), _change(best.difference, corrected)
    if better:
        return f"Synthetic images from {best.arm.generator} raise the U-Net's Dice by {change} when {use}."
    worse = all(one[1].interval[1] < 0 for one in asked)
    finding = "Synthetic images lower" if worse else "No evidence that synthetic images raise"
    subject = f"the best of {len(asked)} arms" if len(asked) > 1 else "the arm tested"
    where = f"when {use} (generator: {best.arm.generator})"
    return f"{finding} the U-Net's Dice: {subject} changes it by {change} {where}."


def _none(comparisons: Sequence[Comparison]) -> str:
    if not any(comparison.baseline == Arm(REAL) for comparison in comparisons):
        return "No verdict yet: no U-Net with synthetic images can be compared with one of real images alone."
    return (
        "No verdict: with one seed a training, chance between seeds cannot be told from an effect. Repeat the command "
        "with seeds=5; it keeps what is done."
    )


def _change(difference: float, corrected: Corrected) -> str:
    low, high = corrected.interval
    if (low, high) == WHOLE:
        return f"{signed(difference)}, with no spread to tell an interval from,"
    show = "{:.3f}".format if low > 0 else signed
    family = f", corrected for {corrected.family} comparisons" if corrected.family > 1 else ""
    return f"{show(difference)} (95% interval {show(low)} to {show(high)}{family})"


def _use(arm: Arm, real: str) -> str:
    return {
        SYNTHETIC: f"it is trained on them instead of {real}",
        SYNTHETIC_THEN_REAL: f"it is pre-trained on them and fine-tuned on {real}",
        MIXED: f"they are mixed {ratio_text(arm.ratio)} with {real}",
    }[arm.regime]
