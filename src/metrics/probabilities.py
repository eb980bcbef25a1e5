"""AM Score, Mode Score and Inception Score: what a classifier's probabilities say of generated images.

All three need only three means, whatever the number of images: the mean entropy of the generated images' class
probabilities C(x), their mean p̄_G, and the training set's mean p̄_T. Logarithms are natural, 0 · log 0 = 0, and sums
are taken in float64.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from src.core.errors import UserError
from src.metrics.two_sided import TwoSidedMetric

ModeVariant = Literal["che2017", "xu2018"]
TOLERANCE = 5e-4  # by which a row may miss the sum 1: as a softmax in float16 does; one in bfloat16 by 0.004


class Means(NamedTuple):
    """Of the class probabilities of one set of images, or of several sets along the leading dimensions."""

    probabilities: Tensor  # (..., K)
    entropy: Tensor  # (...), in nats


def am_score(generated: Tensor, training: Tensor) -> Tensor:
    """AM Score, E H(C(x)) + KL(p̄_T ‖ p̄_G) (Zhou et al., 2018); lower is better.

    Infinite where a class of the training set has a probability of exactly 0 in all generated images; a class absent
    from the training set adds nothing to the second term.

    Args:
        generated: (N, K) class probabilities of generated images, N ≥ 1.
        training: (M, K) class probabilities of the classifier's training set, M ≥ 1.

    Returns:
        () float64, in nats.

    Raises:
        UserError: an argument does not hold probabilities, or the two differ in K.
    """
    reference = means(training, "training")
    return am_score_of(means(generated, classes=training.shape[1]), reference)


def mode_score(generated: Tensor, training: Tensor, variant: ModeVariant = "che2017") -> Tensor:
    """Mode Score; higher is better.

    ``che2017``: exp(E KL(C(x) ‖ p̄_T) − KL(p̄_G ‖ p̄_T)) (Che et al., 2017). Both terms hold −Σ p̄_G log p̄_T, which
    cancels and leaves exp(E KL(C(x) ‖ p̄_G)), the Inception Score (Zhou et al., 2018, appendix). It is computed so, and
    is thus finite, the formula's limit, where a class is absent from the training set and the formula says ∞ − ∞.

    ``xu2018``: exp(E KL(C(x) ‖ p̄_G) − KL(p̄_G ‖ p̄_T)) (Xu et al., 2018). It is 0 where generated images have any
    probability of a class absent from the training set.

    Arguments and errors are those of :func:`am_score`; returns () float64.
    """
    reference = means(training, "training")
    return mode_score_of(means(generated, classes=training.shape[1]), reference, variant)


def inception_score(generated: Tensor) -> Tensor:
    """Inception Score, exp(E KL(C(x) ‖ p̄_G)) (Salimans et al., 2016), between 1 and K; higher is better.

    In one split: the original code's mean over ten splits is lower for the same images.

    Args:
        generated: (N, K) class probabilities of generated images, N ≥ 1.

    Returns:
        () float64; 1 for one image.

    Raises:
        UserError: the argument does not hold probabilities.
    """
    return inception_score_of(means(generated))


def am_score_of(generated: Means, training: Means) -> Tensor:
    """:func:`am_score` from the means."""
    return generated.entropy + divergence(training.probabilities, generated.probabilities)


def mode_score_of(generated: Means, training: Means, variant: ModeVariant = "che2017") -> Tensor:
    """:func:`mode_score` from the means."""
    check_variant(variant)
    score = inception_score_of(generated)
    if variant == "xu2018":
        score = score * torch.exp(-divergence(generated.probabilities, training.probabilities))
    return score


def inception_score_of(generated: Means) -> Tensor:
    """:func:`inception_score` from the means."""
    return torch.exp(entropy(generated.probabilities) - generated.entropy)


def means(probabilities: Tensor, name: str = "generated", classes: int | None = None) -> Means:
    """The means of (N, K) class probabilities, checked as by :func:`check_probabilities`; N ≥ 1, else a UserError."""
    check_probabilities(probabilities, name, classes)
    probabilities = probabilities.double()
    return _divide(probabilities.sum(0), entropy(probabilities).sum(), len(probabilities), name)


def entropy(p: Tensor) -> Tensor:
    """H(p) in nats over the last dimension."""
    return torch.special.entr(p).sum(-1)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) in nats over the last dimension: a class with p = 0 adds 0, one with p > 0 and q = 0 infinity."""
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(-1)


def check_probabilities(probabilities: Tensor, name: str, classes: int | None = None) -> None:
    """Raise a UserError unless these are (N, ``classes``) probabilities, N ≥ 0; ``name`` says of which images."""
    if probabilities.ndim != 2:
        raise UserError(
            f"the class probabilities of the {name} images have the shape {tuple(probabilities.shape)}, "
            "not (images, classes): give one row per image"
        )
    if classes is not None and probabilities.shape[1] != classes:
        raise UserError(
            f"the class probabilities of the {name} images have {probabilities.shape[1]} classes, expected {classes}: "
            "score generated and training images with the same classifier"
        )
    sums = probabilities.sum(1, dtype=torch.float64)
    rounding = torch.finfo(probabilities.dtype).eps / 2 if probabilities.is_floating_point() else 0
    valid = (probabilities >= 0).all(1) & ((sums - 1).abs() <= max(TOLERANCE, rounding))
    if not valid.all():
        row = int(valid.int().argmin())
        raise UserError(
            f"row {row} of the class probabilities of the {name} images has the sum {float(sums[row]):.6g} and the "
            f"smallest value {float(probabilities[row].min()):.4g}: give the classifier's softmax, not its logits"
        )


def check_variant(variant: str) -> None:
    if variant not in get_args(ModeVariant):
        raise UserError(f"unknown Mode Score variant '{variant}': choose one of {', '.join(get_args(ModeVariant))}")


def _divide(probabilities: Tensor, entropies: Tensor, count: Tensor | int, name: str) -> Means:
    if not count:
        raise UserError(f"there are no {name} images to score: give the class probabilities of at least one")
    return Means(probabilities / count, entropies / count)


class ClassScore(TwoSidedMetric):
    """The sums that the three scores need; update it with real (training) and with generated images.

    Args:
        num_classes: K of the classifier.
        validate_args: check that every batch holds probabilities, which on a GPU means to wait for it once a batch.
    """

    real_probabilities: Tensor  # (K,)
    real_entropies: Tensor
    real_count: Tensor
    fake_probabilities: Tensor  # (K,)
    fake_entropies: Tensor
    fake_count: Tensor

    def __init__(self, num_classes: int, validate_args: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.validate_args = validate_args
        for side in ("real", "fake"):
            self.add_state(f"{side}_probabilities", torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_entropies", torch.tensor(0, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, real: bool) -> None:
        """Add a batch of (N, K) class probabilities, N ≥ 0."""
        if self.validate_args:
            check_probabilities(probabilities, "training" if real else "generated", self.num_classes)
        probabilities = probabilities.double()
        total, entropies = probabilities.sum(0), entropy(probabilities).sum()
        if real:
            self.real_probabilities += total
            self.real_entropies += entropies
            self.real_count += len(probabilities)
        else:
            self.fake_probabilities += total
            self.fake_entropies += entropies
            self.fake_count += len(probabilities)

    def real_means(self) -> Means:
        return _divide(self.real_probabilities, self.real_entropies, self.real_count, "training")

    def fake_means(self) -> Means:
        return _divide(self.fake_probabilities, self.fake_entropies, self.fake_count, "generated")


class AMScore(ClassScore):
    """:func:`am_score` of all batches on all ranks."""

    higher_is_better = False

    def compute(self) -> Tensor:
        return am_score_of(self.fake_means(), self.real_means())


class ModeScore(ClassScore):
    """:func:`mode_score` of all batches on all ranks."""

    higher_is_better = True

    def __init__(self, num_classes: int, variant: ModeVariant = "che2017", **kwargs: Any) -> None:
        check_variant(variant)
        super().__init__(num_classes, **kwargs)
        self.variant = variant

    def compute(self) -> Tensor:
        return mode_score_of(self.fake_means(), self.real_means(), self.variant)


class InceptionScore(ClassScore):
    """:func:`inception_score` of all batches on all ranks; real images change nothing."""

    higher_is_better = True

    def compute(self) -> Tensor:
        return inception_score_of(self.fake_means())
