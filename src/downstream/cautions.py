"""What a reader has to know before the verdict: trainings that failed, or that the statistics cannot speak for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats

from src.downstream.comparisons import Table
from src.downstream.results import REAL, Arm, JobResult, fraction_text
from src.downstream.statistics import case_means

RARE = 0.01  # p of a wider spread of the baseline than of the other arms
UNDER_FITTED = 0.05  # how far Dice on training images may lie below that of the smallest share


def cautions(table: Table, results: Sequence[JobResult], everything: Mapping[str, float] | None) -> Iterable[str]:
    """Sentences, none where all is well.

    Args:
        everything: test image → Dice of a mask that marks every pixel.
    """
    if len(table.seeds) == 1:
        yield "One seed only: the intervals leave out how far trainings with other seeds would spread."
    largest = table.fractions[-1]
    if everything is not None:
        for arm in table.trained(largest):
            if failed := trainings_that_learned_nothing(table, arm, largest, everything):
                of = len(table.dice_of(arm, largest))
                yield (
                    f"{arm.label} at {fraction_text(largest)}: {len(failed)} of {of} trainings learned nothing: their "
                    f"Dice is no better than {_mean(table, everything):.3f}, that of marking every pixel (seed "
                    f"{', '.join(map(str, failed))})."
                )
    yield from _wide_baseline(table, largest)
    yield from _under_fitted(results)
    for arm in table.arms:
        for fraction in table.fractions:
            missing = [seed for seed in table.seeds if seed not in table.dice_of(arm, fraction)]
            if missing and len(missing) < len(table.seeds):
                text = ", ".join(map(str, missing))
                yield f"{arm.label} at {fraction_text(fraction)}: no result yet for seed {text}; compared without."


def trainings_that_learned_nothing(
    table: Table, arm: Arm, fraction: float, everything: Mapping[str, float]
) -> list[int]:
    """The seeds of the U-Nets whose mean Dice over cases is no better than that of marking every pixel."""
    least = _mean(table, everything)
    return [
        seed
        for seed, dice in sorted(table.dice_of(arm, fraction).items())
        if case_means(dice[None], table.cases).mean() <= least
    ]


def _mean(table: Table, everything: Mapping[str, float]) -> float:
    dice = np.array([[everything[image] for image in table.images]])
    return float(case_means(dice, table.cases).mean())


def _wide_baseline(table: Table, fraction: float) -> Iterable[str]:
    """The baseline is in every comparison: where it spreads more widely than the arms, the intervals are too narrow."""
    arms = [arm for arm in table.question(fraction) if arm != Arm(REAL)]
    stacked = table.stack([Arm(REAL), *arms], fraction)
    if stacked is None or not arms or stacked.shape[1] == 1:
        return
    spread = np.var([case_means(arm, table.cases).mean(1) for arm in stacked], axis=1, ddof=1)
    own, others, freedom = spread[0], spread[1:].mean(), stacked.shape[1] - 1
    if others > 0 and stats.f.sf(own / others, freedom, freedom * len(arms)) < RARE:
        yield (
            f"The Dice of real images alone spreads by {np.sqrt(own):.3f} between seeds, that of the other arms by "
            f"{np.sqrt(others):.3f}: where the baseline is less stable than all else, the intervals are too narrow."
        )


def _under_fitted(results: Sequence[JobResult]) -> Iterable[str]:
    fits: dict[float, list[float]] = {}
    for result in results:
        if result.regime == REAL and result.training_dice is not None:
            fits.setdefault(result.fraction, []).append(result.training_dice)
    if len(fits) < 2:
        return
    means = {fraction: float(np.mean(values)) for fraction, values in fits.items()}
    smallest, largest = min(means), max(means)
    if means[largest] < means[smallest] - UNDER_FITTED:
        yield (
            f"The U-Nets are short of training at {fraction_text(largest)}: on the real images that they learned from "
            f"their Dice is {means[largest]:.3f}, with {fraction_text(smallest)} it is {means[smallest]:.3f}. More "
            "images shown (unet.images) may raise every arm by more than synthetic images do."
        )
