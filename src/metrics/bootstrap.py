"""How much a score would vary with other images: intervals by resampling the generated images.

Only the images vary: not the real ones, the classifier, nor the training seed of the generator, whose share is often
larger and needs several trainings.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Interval = tuple[float, float]


def interval(values: Tensor, level: float = 0.95) -> Interval:
    """The percentile interval of a score's (R,) values over resamples (Efron, 1979).

    Its ends are values of the sample: of infinite ones too, nothing is interpolated.
    """
    values = values.double().flatten()
    low = torch.quantile(values, (1 - level) / 2, interpolation="lower")
    high = torch.quantile(values, (1 + level) / 2, interpolation="higher")
    return float(low), float(high)


def bootstrap_interval(
    statistic: Callable[[Tensor], float], n: int, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of any score of n images.

    For scores that are means over images (Dice, accuracy) or smooth in such means. Not for scores that compare a set's
    images with each other (Fréchet and kernel distance, nearest neighbours, SSIM diversity): they would see the copies
    of an image in a resample. For the scores in ``src/metrics/resampled.py`` use that: it is faster, and sound.

    Args:
        statistic: from the (n,) indices of a resample's images to the score.
        n: number of images.
        resamples: how often the images are drawn anew.
        level: share of values between the ends.
        seed: decides which images are drawn.
    """
    values = [float(statistic(indices)) for indices in draws(n, resamples, seed)]
    return interval(torch.tensor(values, dtype=torch.float64), level)


def shift(values: Tensor, score: Tensor) -> Tensor:
    """The (R,) values over resamples, moved to have the score of all images as their mean, where both are finite.

    A score with a bias of about 1 / N gets that bias a second time in a resample, whose percentiles may then miss the
    score they are for. Moved, they span what N images score on average, bias included; close to a bound of the score an
    end may pass it.
    """
    shifted = values - values.mean() + score
    return shifted if shifted.isfinite().all() else values


def draws(n: int, resamples: int, seed: int = 0) -> Tensor:
    """(R, n) indices, drawn with replacement."""
    return torch.randint(n, (resamples, n), generator=torch.Generator().manual_seed(seed))


def counts(n: int, resamples: int, seed: int = 0) -> Tensor:
    """(R, n) float64: how often each image is in each of the :func:`draws`."""
    indices = draws(n, resamples, seed)
    zeros = torch.zeros(indices.shape, dtype=torch.float64)
    return zeros.scatter_add_(1, indices, torch.ones_like(zeros))


def halves(n: int, resamples: int, seed: int = 0) -> Tensor:
    """(R, n // 2) indices, drawn without replacement."""
    return torch.rand(resamples, n, generator=torch.Generator().manual_seed(seed)).argsort(1)[:, : n // 2]
