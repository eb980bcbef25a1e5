"""How much a score would vary with other patients and other generated images: 95 % intervals by half-sampling.

Scores that compare a set's images with each other would see the copies of an image in a bootstrap's resamples. A random
half of the cases (patients) has none, and a mean over it varies around that of all just as the mean of all varies
around its expectation (McCarthy, 1969; Efron, 1982, chapter 8). Halves are drawn of the real and of the generated
images at once. An interval is one of the score that as many cases and images have on average, bias included: compare
it with those of the same numbers. It knows nothing of the generator's training seed, which needs several trainings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import special, stats
from torch import Tensor
from torchmetrics.image.kid import poly_kernel

from src.metrics.features import check_pair
from src.metrics.kernel import ROWS, self_kernel
from src.metrics.probabilities import Means, check_probabilities, entropy

Interval = tuple[float, float]

LEVEL = 0.95
RESAMPLES = 200  # of the score of held-out images
ROUNDING = 1e-5  # width of an interval that is none: nothing varied but the last bits
JITTER = 1e-10  # of the mean variance: keeps Cholesky from failing where a feature is constant


def halves(groups: Tensor, resamples: int, seed: int, total: int | None = None) -> Tensor:
    """(R, N) bool: the images in each resample, drawn by whole groups without replacement.

    Of G groups out of ``total`` that a score is of, G · total / (G + total) are kept: half of them where G are all, and
    more where they stand for more, whose mean varies less.

    Args:
        groups: (N,) numbers from 0 to G − 1: the case of each image.
        resamples: R.
        seed: decides which groups are kept.
        total: number of groups; None: G.
    """
    found = int(groups.max()) + 1
    total = found if total is None else total
    generator = torch.Generator().manual_seed(seed)
    ranks = torch.rand(resamples, found, generator=generator).argsort(1).argsort(1)
    # A number that is not whole is rounded up as often as keeps it right on average.
    kept = (found * total / (found + total) + torch.rand(resamples, 1, generator=generator)).floor()
    return (ranks < kept)[:, groups.cpu()].to(groups.device)


class Resampled(NamedTuple):
    """A score of random halves."""

    values: Tensor  # (R,)
    cases: int  # independent ones on the side that has fewer of them, which the spread is known by

    def reach(self) -> float:
        """Half the width of the t interval that the spread gives; nan where it cannot be told.

        The spread alone is used: the scores of halves have a larger bias.
        """
        if self.cases < 2:
            return math.nan
        return float(stats.t.ppf((1 + LEVEL) / 2, self.cases - 1) * self.values.double().std())


def interval(score: float, resampled: Resampled, positive: bool = True) -> Interval | None:
    """The t interval of ``score``; None where it cannot be told.

    Args:
        positive: whether the score cannot be negative: the interval is then one of its logarithm.
    """
    reach = resampled.reach()
    if not (math.isfinite(score) and math.isfinite(reach)):
        return None
    if not positive or reach == 0:
        return score - reach, score + reach
    share = reach / score if score > 0 else math.inf
    most = min(share, 1.0)  # a score near its bound 0 lies on a line again: its logarithm has no end
    return score * math.exp(-share), score + reach * math.expm1(most) / most


def over_cases(score: Callable[[Tensor], float], cases: Sequence[str], seed: int = 0) -> Interval | None:
    """The interval, within [0, 1], that a score of N held-out images has with other cases; None where it is not known.

    It is one of the logit: on a line, intervals of an AUC near 1 held in 84 of 100 simulated draws.

    Args:
        score: of the images at these positions (n,), from 0 to 1; nan where they have none.
        cases: (N,) that of each image.
    """
    number = {case: place for place, case in enumerate(dict.fromkeys(cases))}
    kept = halves(torch.tensor([number[case] for case in cases]), RESAMPLES, seed)
    values = torch.tensor([score(row.nonzero()[:, 0]) for row in kept])
    values, found = values[values.isfinite()], score(torch.arange(len(cases)))
    reach = Resampled(values, len(number)).reach() if len(values) > 1 else math.nan
    if not (0 < found < 1 and 2 * reach >= ROUNDING):
        return None
    reach = reach / (found * (1 - found))
    low, high = special.expit(special.logit(found) + np.array([-reach, reach]))
    return float(low), float(high)


def in_words(name: str, score: float, ends: Interval | None) -> str:
    """ "Dice 0.81 (95% interval 0.77 to 0.85)"."""
    known = f"95% interval {ends[0]:.3g} to {ends[1]:.3g}" if ends else "too little varies to tell its interval"
    return f"{name} {score:.3g} ({known})"


def differs(one: float, resampled: Resampled, other: float, rival: Resampled) -> bool:
    """Whether two scores against the same real images differ by more than chance, with 95 % confidence.

    Args:
        resampled, rival: of the same halves of the real images, whose choice moves both scores alike.
    """
    both = Resampled(resampled.values - rival.values, min(resampled.cases, rival.cases))
    return abs(one - other) > both.reach()


def resampled_class_scores(
    scores: Mapping[str, Callable[[Means, Means], Tensor]],
    training: Tensor,
    generated: Tensor,
    training_halves: Tensor,
    generated_halves: Tensor,
) -> dict[str, Tensor]:
    """By name: (R,) scores of the resamples of class probabilities.

    Args:
        scores: from the means of the generated and of the training images to a score each.
        training, generated: (N, K) and (M, K) class probabilities.
        training_halves, generated_halves: (R, N) and (R, M), see :func:`halves`.
    """
    ours = _resampled_means(generated, generated_halves, "generated")
    theirs = _resampled_means(training, training_halves, "training")
    return {name: score(ours, theirs) for name, score in scores.items()}


def _resampled_means(probabilities: Tensor, kept: Tensor, name: str) -> Means:
    check_probabilities(probabilities, name)
    probabilities = probabilities.double()
    weights = kept.double() / kept.sum(1, keepdim=True)
    return Means(weights @ probabilities, weights @ entropy(probabilities))


def resampled_frechet_distance(
    real: Tensor, generated: Tensor, real_halves: Tensor, generated_halves: Tensor
) -> Tensor:
    """(R,) Fréchet distances of the resamples.

    A resample costs the eigenvalues of a matrix of min(N / 2, M / 2, D) rows.

    Args:
        real, generated: (N, D) and (M, D) features.
        real_halves, generated_halves: (R, N) and (R, M), see :func:`halves`.
    """
    real, generated = check_pair(real, generated)
    pairs = zip(real_halves, generated_halves, strict=True)
    return torch.stack([_distance(real[ours], generated[theirs]) for ours, theirs in pairs])


def _distance(real: Tensor, generated: Tensor) -> Tensor:
    """The Fréchet distance of (N, D) and (M, D) features, by products that are cheaper than the root of a covariance.

    Where Σ = AᵀA and Σ' = BᵀB, the trace of (ΣΣ')^½ is the sum of the singular values of ABᵀ.
    """
    if min(len(real), len(generated)) < 2:
        return real.new_tensor(math.nan)
    shift = (real.mean(0) - generated.mean(0)).square().sum()
    a = (real - real.mean(0)) / math.sqrt(len(real) - 1)
    b = (generated - generated.mean(0)) / math.sqrt(len(generated) - 1)
    spread = a.square().sum() + b.square().sum()
    if min(len(a), len(b)) < a.shape[1]:
        product = a @ b.T
        square = product @ product.T if len(a) < len(b) else product.T @ product
    else:
        covariance = a.T @ a
        covariance.diagonal().add_(JITTER * covariance.diagonal().mean())
        product = b @ torch.linalg.cholesky_ex(covariance).L
        square = product.T @ product
    return shift + spread - 2 * torch.linalg.eigvalsh(square).clamp(min=0).sqrt().sum()


def resampled_kernel_distance(real: Tensor, generated: Tensor, real_halves: Tensor, generated_halves: Tensor) -> Tensor:
    """(R,) values of ``kernel_distance`` of the resamples.

    Where the two sets are alike they spread √3 times too far (the statistic is degenerate there): an interval errs on
    the side of no difference. Arguments are those of :func:`resampled_frechet_distance`.
    """
    real, generated = check_pair(real, generated)
    ours, theirs = real_halves.double(), generated_halves.double()
    between = _weighted(ours, real, theirs, generated) / (ours.sum(1) * theirs.sum(1))
    return _within(ours, real) + _within(theirs, generated) - 2 * between


def _within(weights: Tensor, features: Tensor) -> Tensor:
    """(R,): mean of the kernel over pairs of different images that are kept, by 0 or 1 in the (R, N) weights."""
    count = weights.sum(1)
    return (_weighted(weights, features, weights, features) - weights @ self_kernel(features)) / (count * (count - 1))


def _weighted(left: Tensor, features: Tensor, right: Tensor, others: Tensor) -> Tensor:
    """(R,): sum of the kernel over pairs, each with the product of its images' (R, N) and (R, M) weights."""
    parts = zip(features.split(ROWS), left.split(ROWS, dim=1), strict=True)
    return torch.stack([((weights @ poly_kernel(rows, others)) * right).sum(1) for rows, weights in parts]).sum(0)
