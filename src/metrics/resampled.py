"""Scores over resamples of the generated images, for ``bootstrap.interval``, without scoring each resample anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_kernel

from src.metrics.bootstrap import counts, halves, shift
from src.metrics.features import check_features, check_pair
from src.metrics.frechet import frechet_distance, matrix_root, mean_and_covariance, trace_of_root
from src.metrics.kernel import ROWS, mean_within, self_kernel
from src.metrics.probabilities import Means, entropy, means


def resampled_class_scores(
    scores: Mapping[str, Callable[[Means], Tensor]], generated: Tensor, resamples: int = 1000, seed: int = 0
) -> dict[str, Tensor]:
    """By name: (R,) bootstrap values of scores of class probabilities, shifted (see ``shift``).

    One draw and one matrix product for all resamples of all scores.

    Args:
        scores: from the generated images' means to a score each: ``inception_score_of``, or
            ``lambda generated: am_score_of(generated, training)``.
        generated: (N, K) class probabilities of generated images.
        resamples: R.
        seed: decides which images are drawn; the same as in ``bootstrap_interval``.
    """
    everything = means(generated)
    generated = generated.double()
    weights = counts(len(generated), resamples, seed).to(generated.device) / len(generated)
    resampled = Means(weights @ generated, weights @ entropy(generated))
    return {name: shift(score(resampled), score(everything)) for name, score in scores.items()}


def resampled_frechet_distance(
    mean: Tensor, covariance: Tensor, generated: Tensor, resamples: int = 100, seed: int = 0
) -> Tensor:
    """(R,) Fréchet distances of random halves of the generated images, shifted to the value of all (see ``shift``).

    The bootstrap's copies of images lower the rank of the covariance. A half drawn without replacement has none, and
    varies around the value of all N as that varies around its expectation (half-sampling: Efron, 1982, chapter 8). Its
    larger bias is shifted away: the interval is one of the distance that N images have on average; compare it with
    those of the same N.

    A resample costs the eigenvalues of a matrix of min(N / 2, D) rows.

    Args:
        mean, covariance: (D,) and (D, D) of the real images' features.
        generated: (N, D) features of generated images, N ≥ 4.
        resamples: R.
        seed: decides which images are drawn.
    """
    mean, covariance = mean.double(), covariance.double()
    generated = check_features(generated, "generated")
    root = matrix_root(covariance)

    def distance(features: Tensor) -> Tensor:
        centred = features - features.mean(0)
        projected = centred @ root
        # Tr of the root of root Σ root; the products with fewer rows have the same eigenvalues, but for zeros.
        gram = projected @ projected.T if len(features) < len(mean) else projected.T @ projected
        scale = len(features) - 1
        spread = covariance.trace() + centred.square().sum() / scale - 2 * trace_of_root(gram / scale)
        return (features.mean(0) - mean).square().sum() + spread

    values = torch.stack(
        [distance(generated[half.to(generated.device)]) for half in halves(len(generated), resamples, seed)]
    )
    return shift(values, frechet_distance(mean, covariance, *mean_and_covariance(generated))).clamp(min=0)


def resampled_kernel_distance(real: Tensor, generated: Tensor, resamples: int = 1000, seed: int = 0) -> Tensor:
    """(R,) values of ``kernel_distance`` over bootstrap resamples, pairs of an image with its own copy left out.

    Such pairs, which no set of different images has, would raise every value above that of the images themselves.
    Where the two sets are alike the interval is too wide (the statistic is degenerate there): it errs on the side of no
    difference.

    Args:
        real, generated: (N, D) and (M, D) features.
        resamples: R.
        seed: decides which images are drawn.
    """
    real, generated = check_pair(real, generated)
    n = len(generated)
    weights = counts(n, resamples, seed).to(generated.device)  # (R, M)
    within = -weights.square() @ self_kernel(generated)
    between = torch.zeros(n, dtype=torch.float64, device=generated.device)
    for rows, part in zip(generated.split(ROWS), weights.split(ROWS, dim=1), strict=True):
        within += ((weights @ poly_kernel(generated, rows)) * part).sum(1)
    for rows in real.split(ROWS):
        between += poly_kernel(generated, rows).sum(1)
    pairs = n**2 - weights.square().sum(1)
    return within / pairs + mean_within(real) - 2 * weights @ between / (n * len(real))
