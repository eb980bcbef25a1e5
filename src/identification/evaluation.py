"""How well held-out images are told apart: by which measure, by which rule, and where to answer "unknown"."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor

from src.identification.rules import RULES, Rule, Verdict
from src.identification.sets import ImageSet
from src.metrics.similarity import MEASURES, Measure

LEVEL = 0.95


class Share(NamedTuple):
    """Right ones of all, with Wilson's 95% interval."""

    right: int
    of: int

    @property
    def value(self) -> float:
        return self.right / self.of

    @property
    def interval(self) -> tuple[float, float]:
        low, high = stats.binomtest(self.right, self.of).proportion_ci(LEVEL, "wilson")
        return float(low), float(high)


class Difference(NamedTuple):
    """Of two accuracies over the same images, with the 95% interval of Agresti and Min (Stat. Med. 24, 2005)."""

    value: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, right: Tensor, other: Tensor) -> Difference:
        """Of (N,) bools, ``right`` less ``other``."""
        count = len(right)
        gained, lost = int((right & ~other).sum()) + 0.5, int((other & ~right).sum()) + 0.5
        centre = (gained - lost) / (count + 2)
        reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt(gained + lost - (gained - lost) ** 2 / (count + 2))
        reach /= count + 2
        return cls(float(right.float().mean() - other.float().mean()), (centre - reach, centre + reach))


@dataclass(frozen=True)
class Comparisons:
    """How alike images are to all references by one measure; higher is more alike."""

    held_out: Tensor  # (N, M)
    among: Tensor  # (M, M) the references
    owner: Tensor  # (M,) set of each reference
    truth: Tensor  # (N,) set of each held-out image

    @classmethod
    def of(cls, sets: Sequence[ImageSet], measure: Measure) -> Comparisons:
        references, held_out = torch.cat([s.references for s in sets]), torch.cat([s.held_out for s in sets])
        owner = torch.cat([torch.full((len(s.references),), number) for number, s in enumerate(sets)])
        truth = torch.cat([torch.full((len(s.held_out),), number) for number, s in enumerate(sets)])
        return cls(alike(measure, held_out, references), alike(measure, references, references), owner, truth)

    def judge(self, rule: Rule) -> Verdict:
        return rule(self.held_out, self.among, self.owner)

    def without(self, number: int) -> Comparisons:
        """Where the set ``number`` is not among those that are chosen from; its images stay, as those of none (−1)."""
        kept = self.owner != number
        owner = self.owner[kept] - (self.owner[kept] > number).long()
        truth = torch.where(self.truth == number, -1, self.truth - (self.truth > number).long())
        return Comparisons(self.held_out[:, kept], self.among[kept][:, kept], owner, truth)


def alike(measure: Measure, images: Tensor, references: Tensor) -> Tensor:
    found = measure.compare(images, references)
    return found if measure.higher else -found


def thresholds(verdict: Verdict, truth: Tensor, share: float) -> list[float]:
    """Of each set: how typical an image named as its must be, so that at most ``share`` of its own are unknown.

    The quantile of the held-out images' own values; with fewer than 1 / share of them, the least. −∞ of a share of 0.
    """
    if not share:
        return [-math.inf] * verdict.scores.shape[1]
    found = []
    for number in range(verdict.scores.shape[1]):
        own = verdict.typical[truth == number, number].double()
        found.append(float(own.sort().values[int(share * len(own))]) if len(own) else -math.inf)
    return found


def unknown(verdict: Verdict, limits: Sequence[float]) -> Tensor:
    """(N,) whether an image is less typical of the set that it is named as than that set's threshold."""
    typical = verdict.typical.gather(1, verdict.answers[:, None]).squeeze(1)
    return typical < torch.tensor(limits, dtype=typical.dtype)[verdict.answers]


def foreign_found(comparisons: Comparisons, rule: Rule, share: float) -> list[Share]:
    """Of each set: how many of its images are answered "unknown" where it is not among the sets to choose from."""
    found = []
    for number in range(int(comparisons.owner.max()) + 1):
        rest = comparisons.without(number)
        if len(rest.owner.unique()) < 2:
            return []
        verdict = rest.judge(rule)
        outside = unknown(verdict, thresholds(verdict, rest.truth, share))[rest.truth < 0]
        found.append(Share(int(outside.sum()), len(outside)))
    return found


def confusion(truth: Tensor, answers: Tensor, count: int) -> Tensor:
    """(K, K) held-out images: rows the sets they are of, columns those they are named as."""
    return torch.bincount(truth * count + answers, minlength=count * count).view(count, count)


@dataclass(frozen=True)
class Evaluation:
    """What each measure reaches by each rule over the same held-out images; and more of the one that is used."""

    rights: Mapping[tuple[str, str], Tensor]  # by measure and rule: (N,) whether each image is named rightly
    confusion: Tensor
    limits: list[float]  # below which an answer is "unknown"
    unknown: list[Share]  # of each set's own held-out images
    foreign: list[Share]  # of each set's, where it is not to be chosen; [] of two sets

    def accuracy(self, measure: str, rule: str) -> Share:
        right = self.rights[measure, rule]
        return Share(int(right.sum()), len(right))

    def balanced(self, measure: str, rule: str, truth: Tensor) -> float:
        """Mean over the sets of the share named rightly."""
        right = self.rights[measure, rule].float()
        return float(torch.stack([right[truth == number].mean() for number in truth.unique()]).mean())

    def ahead(self, measure: str, other: str, rule: str) -> Difference:
        return Difference.of(self.rights[measure, rule], self.rights[other, rule])


def evaluate(compared: Mapping[str, Comparisons], measure: str, rule: str, share: float) -> Evaluation:
    """Of all measures and rules, and more of the ones that are used.

    Args:
        compared: by measure.
        share: of a set's own images that may be unknown.
    """
    rights = {}
    for name, comparisons in compared.items():
        for title, judge in RULES.items():
            rights[name, title] = comparisons.judge(judge).answers == comparisons.truth
    used = compared[measure]
    verdict = used.judge(RULES[rule])
    count = int(used.owner.max()) + 1
    limits = thresholds(verdict, used.truth, share)
    outside = unknown(verdict, limits)
    own = [
        Share(int(outside[used.truth == number].sum()), int((used.truth == number).sum())) for number in range(count)
    ]
    return Evaluation(
        rights, confusion(used.truth, verdict.answers, count), limits, own, foreign_found(used, RULES[rule], share)
    )


def compare_all(sets: Sequence[ImageSet]) -> dict[str, Comparisons]:
    return {name: Comparisons.of(sets, measure) for name, measure in MEASURES.items()}
