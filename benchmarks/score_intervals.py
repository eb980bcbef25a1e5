"""How often a score's 95 % interval holds what it should: python -m benchmarks.score_intervals [repetitions, 200].

Patients and images are drawn anew again and again from known distributions of features, and scored as ``src.evaluate``
does. What an interval should hold is the mean score of all such draws.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from src.metrics.frechet import frechet_distance, mean_and_covariance
from src.metrics.intervals import (
    Interval,
    Resampled,
    halves,
    interval,
    resampled_class_scores,
    resampled_frechet_distance,
    resampled_kernel_distance,
)
from src.metrics.kernel import kernel_distance
from src.metrics.probabilities import am_score_of, means
from src.scoring.scores import FRECHET_RESAMPLES, RESAMPLES

CLASSES = 5


class Setting(NamedTuple):
    """Images of ``features`` values; those of one patient are correlated by 0.6."""

    patients: int
    images: int  # of each patient
    generated: int
    features: int
    apart: bool  # whether the generated images differ: moved, and with a wider spread
    skewed: bool = False  # features above zero with long tails, as after a ReLU

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Features of real images, their patients, and features of generated images."""
        groups = torch.arange(self.patients).repeat_interleave(self.images)
        alike = 0.6 if self.images > 1 else 0.0

        def normal(count: int) -> Tensor:
            return torch.randn(count, self.features, generator=generator, dtype=torch.float64)

        real = alike**0.5 * normal(self.patients)[groups] + (1 - alike) ** 0.5 * normal(len(groups))
        made = normal(self.generated)
        if self.skewed:
            real, made = (values.clamp(min=0) ** 1.5 for values in (real, made))
        scale = torch.arange(1, self.features + 1) ** -0.5
        return real * scale, groups, (1.2 * made + 0.3 if self.apart else made) * scale


SETTINGS = (
    Setting(100, 1, 100, 32, False),
    Setting(100, 1, 100, 32, True),
    Setting(20, 5, 100, 32, True),
    Setting(10, 6, 500, 32, True),
    Setting(9, 60, 2000, 32, True),
    Setting(40, 10, 400, 32, True, True),
    Setting(20, 10, 200, 128, True, True),
)


def probabilities(features: Tensor) -> Tensor:
    return (4 * features[:, :CLASSES]).softmax(1)


def scores(real: Tensor, made: Tensor) -> dict[str, float]:
    found = {
        "fid": frechet_distance(*mean_and_covariance(real), *mean_and_covariance(made)),
        "kid": kernel_distance(real, made),
        "am_score": am_score_of(means(probabilities(made)), means(probabilities(real))),
    }
    return {name: float(value) for name, value in found.items()}


def intervals(found: dict[str, float], real: Tensor, groups: Tensor, made: Tensor) -> dict[str, Interval | None]:
    patients, own = int(groups.max()) + 1, torch.arange(len(made))

    def kept(resamples: int) -> tuple[Tensor, Tensor]:
        return halves(groups, resamples, 0), halves(own, resamples, 1)

    both, cases = (real, made), min(patients, len(made))
    am = resampled_class_scores({"": am_score_of}, probabilities(real), probabilities(made), *kept(RESAMPLES))[""]
    return {
        "fid": interval(found["fid"], Resampled(resampled_frechet_distance(*both, *kept(FRECHET_RESAMPLES)), cases)),
        "kid": interval(found["kid"], Resampled(resampled_kernel_distance(*both, *kept(RESAMPLES)), cases), False),
        "am_score": interval(found["am_score"], Resampled(am, cases)),
    }


def simulate(setting: Setting, repetitions: int, seed: int = 0) -> Iterator[tuple[str, float, Interval, Interval]]:
    """Of each score: share of intervals that hold the mean, 95 % of the scores, and the intervals' mean ends."""
    generator = torch.Generator().manual_seed(seed)
    draws = [setting.draw(generator) for _ in range(repetitions)]
    found = [scores(real, made) for real, _, made in draws]
    ends = [intervals(one, *draw) for one, draw in zip(found, draws, strict=True)]
    for name in found[0]:
        values = torch.tensor([one[name] for one in found], dtype=torch.float64)
        bounds = torch.tensor([one[name] or (torch.nan, torch.nan) for one in ends], dtype=torch.float64)
        held = (bounds[:, 0] <= values.mean()) & (values.mean() <= bounds[:, 1])
        low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        mean_low, mean_high = bounds.mean(0).tolist()
        yield name, float(held.double().mean()), (low, high), (mean_low, mean_high)


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print("| real images | generated | features | score | 95% of scores | interval, on average | holds the mean |")
    print("|---|---|---|---|---|---|---|")
    for setting in SETTINGS:
        for name, held, spread, ends in simulate(setting, repetitions):
            real = f"{setting.patients * setting.images} of {setting.patients} patients"
            kind = f"{setting.features}{', skewed' * setting.skewed}{'' if setting.apart else ', alike'}"
            texts = ["{:.3g} to {:.3g}".format(*pair) for pair in (spread, ends)]
            print(f"| {real} | {setting.generated} | {kind} | {name} | {' | '.join(texts)} | {held:.0%} |", flush=True)


if __name__ == "__main__":
    main()
