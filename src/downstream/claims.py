"""What the sources claim about Enhanced-GAN, beside what was found here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from src.downstream.comparisons import Comparison, Interval
from src.downstream.results import REAL, SYNTHETIC_THEN_REAL, Arm

SUPPORTED, CONTRADICTED, OPEN, NOT_TESTED = "supported", "contradicted", "open", "not tested"
SOURCE = "Waqas et al., IEEE Access 10 (2022)"
CLAIMED, RIVAL = "enhanced", "pggan"  # models of conf/model

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
    interval: Interval | None  # 95%; of Dice corrected as its comparison is
    state: str  # supported, contradicted, open or not tested


def check_claims(
    comparisons: Sequence[Comparison], scores: Scores, models: Mapping[str, str] | None = None
) -> Iterable[Claim]:
    """All claims, each at the largest real fraction at which both sides were trained; without them "not tested".

    Args:
        models: what each generator is, by its name; where that is not said, its name says it.
    """
    named = {model: name for name, model in reversed(list((models or {}).items()))}  # of several, the first
    enhanced, pggan = (named.get(model, model) for model in (CLAIMED, RIVAL))
    arm = Arm(SYNTHETIC_THEN_REAL, enhanced)
    tuned = "A U-Net pre-trained on Enhanced-GAN images and fine-tuned on real ones has a higher Dice than "
    yield _dice_claim(tuned + "with PGGAN images", comparisons, arm, Arm(SYNTHETIC_THEN_REAL, pggan))
    yield _dice_claim(tuned + "with real images alone", comparisons, arm, Arm(REAL))
    pair = scores.get(enhanced, {}), scores.get(pggan, {})
    yield _score_claim("Enhanced-GAN has a lower (better) AM Score than PGGAN", *pair, "am_score", better=-1)
    yield _score_claim("Enhanced-GAN has a higher (better) Mode Score than PGGAN", *pair, "mode_score", better=1)


def _dice_claim(claimed: str, comparisons: Sequence[Comparison], arm: Arm, rival: Arm) -> Claim:
    pairs = [comparison for comparison in comparisons if {comparison.arm, comparison.baseline} == {arm, rival}]
    if not pairs:
        return Claim(SOURCE, claimed, "no such pair of arms", None, None, NOT_TESTED)
    pair = max(pairs, key=lambda comparison: comparison.fraction)
    sign = 1 if pair.arm == arm else -1
    low, high = sorted(sign * bound for bound in pair.corrected_interval)
    found = f"Dice {signed(sign * pair.difference)} with {100 * pair.fraction:.4g}% of the real images"
    return Claim(SOURCE, claimed, found, sign * pair.difference, (low, high), _state(low, high))


def _score_claim(claimed: str, enhanced: ScoresOfOne, pggan: ScoresOfOne, key: str, better: int) -> Claim:
    one, other = enhanced.get(key), pggan.get(key)
    if not one or not other:
        return Claim(SOURCE, claimed, "no score of both generators", None, None, NOT_TESTED)
    difference, (low, high) = difference_of_scores(one, other)
    found = f"{one[0]:.3f} against {other[0]:.3f}, one training each"
    return Claim(SOURCE, claimed, found, difference, (low, high), _state(*sorted((better * low, better * high))))


def difference_of_scores(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, Interval]:
    """The difference of two independent values with intervals, and its interval of the same level.

    The square-and-add rule of Zou and Donner (2008), Statistics in Medicine 27(10): it keeps intervals lopsided.
    """
    (value, low, high), (rival, rival_low, rival_high) = one, other
    difference = value - rival
    below = math.hypot(value - low, rival_high - rival)
    above = math.hypot(high - value, rival - rival_low)
    return difference, (difference - below, difference + above)


def _state(low: float, high: float) -> str:
    """Of the claim that the true value is above zero."""
    if low > 0:
        return SUPPORTED
    return CONTRADICTED if high < 0 else OPEN


def signed(value: float) -> str:
    """A difference with its sign, three decimals: +0.012, −0.003, 0.000."""
    text = f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
    return text[1:] if text[1:] == "0.000" else text
