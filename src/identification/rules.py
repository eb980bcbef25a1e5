"""From how alike an image is to every reference to the set it is of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 5
SHRINKAGE = 0.3  # of a covariance towards its diagonal: a set has as few as five references
FLOOR = 1e-3  # of a variance, in those of all sets together


class Verdict(NamedTuple):
    scores: Tensor  # (N, K) of each set, the highest is the answer
    typical: Tensor  # (N, K) how much an image is one of the set, whichever others there are; higher is more

    @property
    def answers(self) -> Tensor:
        """(N,)"""
        return self.scores.argmax(1)

    @property
    def margins(self) -> Tensor:
        """(N,) by which the score of the answer exceeds the next."""
        first, second = self.scores.topk(2, dim=1).values.unbind(1)
        return first - second


Rule = Callable[[Tensor, Tensor, Tensor], Verdict]  # alike (N, M), alike among references (M, M), their sets (M,)


def to_sets(alike: Tensor, owner: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """(N, K): ``reduce`` of the columns of each set."""
    return torch.stack([reduce(alike[:, owner == number]) for number in range(int(owner.max()) + 1)], 1)


def means(alike: Tensor, owner: Tensor) -> Tensor:
    return to_sets(alike, owner, lambda own: own.mean(1))


def bests(alike: Tensor, owner: Tensor) -> Tensor:
    return to_sets(alike, owner, lambda own: own.amax(1))


def by_mean(alike: Tensor, among: Tensor, owner: Tensor) -> Verdict:
    """The set whose references are most alike on average."""
    scores = means(alike, owner)
    return Verdict(scores, scores)


def by_best(alike: Tensor, among: Tensor, owner: Tensor) -> Verdict:
    """The set of the reference that is most alike: its nearest neighbour."""
    scores = bests(alike, owner)
    return Verdict(scores, scores)


def by_neighbours(alike: Tensor, among: Tensor, owner: Tensor) -> Verdict:
    """The set of most of the five nearest neighbours; where several have as many, that of the nearest of them."""
    count = min(NEIGHBOURS, alike.shape[1])
    nearest = owner[alike.topk(count, dim=1).indices]  # (N, count)
    votes = torch.stack([(nearest == number).sum(1) for number in range(int(owner.max()) + 1)], 1).float()
    best = bests(alike, owner)
    places = best.argsort(1).argsort(1) / best.shape[1]  # below 1: decides between equal votes alone
    return Verdict(votes + places, best)


def by_profile(alike: Tensor, among: Tensor, owner: Tensor) -> Verdict:
    """The set whose references have such means to all sets, its own and the others.

    An image of noise-like texture is unlike everything, its own set too, and a smooth one is like everything: so the
    means (K,) of an image are set against those of each set's references, left out one by one, as a normal
    distribution of that set: regularised discriminant analysis (Friedman, "Regularized discriminant analysis", JASA
    1989). Scores are log-likelihoods less a constant, ``typical`` is minus the squared Mahalanobis distance.
    """
    count = int(owner.max()) + 1
    others = among.double().clone().fill_diagonal_(torch.nan)
    known = to_sets(others, owner, lambda own: own.nanmean(1))  # (M, K)
    profile = means(alike.double(), owner)
    spread = torch.stack([known[owner == number].var(0) for number in range(count)]).mean(0)
    scores, typical = [], []
    for number in range(count):
        own = known[owner == number]
        covariance = own.T.cov().reshape(count, count)
        covariance = covariance * (1 - SHRINKAGE) + SHRINKAGE * covariance.diagonal().diag()
        covariance += (FLOOR * spread + 1e-12).diag()
        difference = profile - own.mean(0)
        distance = (difference @ torch.linalg.inv(covariance) * difference).sum(1)
        scores.append(-(distance + torch.linalg.slogdet(covariance).logabsdet) / 2)
        typical.append(-distance)
    return Verdict(torch.stack(scores, 1), torch.stack(typical, 1))


RULES: dict[str, Rule] = {"mean": by_mean, "best": by_best, "neighbours": by_neighbours, "profile": by_profile}
