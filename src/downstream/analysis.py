"""From the results of all jobs to the study's answer: arms, comparisons, verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from src.downstream.cautions import cautions, trainings_that_learned_nothing
from src.downstream.claims import Claim, Scores, check_claims
from src.downstream.comparisons import LEVEL, Comparison, Table, compare_all
from src.downstream.power import Power, measured_spread, power_of
from src.downstream.results import REAL, Arm, JobResult
from src.downstream.statistics import Interval, case_means, mean_over_cases
from src.downstream.verdict import verdict


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
    training_dice: float | None  # mean Dice on real images that its U-Nets learned from


@dataclass(frozen=True)
class Study:
    """Everything the results say, ready for JSON (``dataclasses.asdict``)."""

    verdict: str
    cautions: tuple[str, ...]  # that touch the verdict
    power: Power | None  # what a study of this size can find; None without a primary question, or a spread
    arms: tuple[ArmSummary, ...]
    comparisons: tuple[Comparison, ...]
    claims: tuple[Claim, ...]


def analyse(
    results: Sequence[JobResult],
    scores: Scores | None = None,
    models: Mapping[str, str] | None = None,
    everything: Mapping[str, float] | None = None,
    of_data: Sequence[str] = (),
) -> Study:
    """What the results say, and what the generators' ``scores`` (see ``claims``) add to the sources' claims.

    Args:
        models: the model of each generator, by its name.
        everything: test image → Dice of a mask that marks every pixel: what a U-Net that learned nothing can reach.
        of_data: cautions that no result tells.

    Arms or seeds still missing are left out of the pairs and named in the cautions. Raises UserError where results
    cannot be compared: none, other test images, the same job twice, a Dice that is no number, a single test case.
    """
    table = Table(results)
    comparisons = tuple(compare_all(table))
    return Study(
        verdict=verdict(comparisons, _baseline_learned(table, everything)),
        cautions=(*cautions(table, results, everything), *of_data),
        power=_power(table, comparisons),
        arms=tuple(_summaries(table, results)),
        comparisons=comparisons,
        claims=tuple(check_claims(table, comparisons, scores or {}, models)),
    )


def _summaries(table: Table, results: Sequence[JobResult]) -> Iterable[ArmSummary]:
    for arm in table.arms:
        for fraction in table.fractions:
            if dice := table.dice_of(arm, fraction):
                estimate = mean_over_cases(np.stack(list(dice.values())), table.cases)
                fits = [
                    result.training_dice
                    for result in results
                    if (result.arm, result.fraction) == (arm, fraction) and result.training_dice is not None
                ]
                yield ArmSummary(
                    arm, fraction, estimate.mean, estimate.dice_interval(LEVEL), estimate.seeds, len(table.images),
                    estimate.cases, float(np.mean(fits)) if fits else None,
                )  # fmt: skip


def _baseline_learned(table: Table, everything: Mapping[str, float] | None) -> bool:
    """Whether most U-Nets of real images alone, at the largest fraction, beat a mask that marks every pixel."""
    arm, fraction = Arm(REAL), table.fractions[-1]
    trained = table.dice_of(arm, fraction)
    if everything is None or not trained:
        return True
    return 2 * len(trainings_that_learned_nothing(table, arm, fraction, everything)) < len(trained)


def _power(table: Table, comparisons: Sequence[Comparison]) -> Power | None:
    """With the spread of the arms of the primary question."""
    primary = [comparison for comparison in comparisons if comparison.corrected]
    if not primary:
        return None
    fraction, seeds, cases = primary[0].fraction, primary[0].seeds, primary[0].cases
    stacked = table.stack(table.question(fraction), fraction)
    assert stacked is not None  # they were compared
    means = np.stack([case_means(arm, table.cases) for arm in stacked])
    spread = measured_spread(means)
    return power_of(spread, "measured", len(primary), seeds, cases) if max(astuple(spread)) > 0 else None
