"""Whether what a generator makes gives away whose images it learned from: membership attacks, beside what a split alone
gives away.

An attack scores real images, higher where they look as if they had been learned from; its ROC AUC compares those that
were (members) with those of patients that were held out. Where the two kinds of patients differ anyhow, as those of
two hospitals do, such an AUC is above a half without any leak (Das, Zhang & Tramèr, "Blind baselines beat membership
inference attacks", arXiv 2406.16201). So its control is the same attack with images that cannot leak: the members are
split in two by patients, and one half's real images stand for what a generator makes, in an attack on the other half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor

RESAMPLES, LEVEL = 1000, 0.95
RATE = 0.01  # of false positives at which true ones are counted


class Scores(NamedTuple):
    """What an attack says of the images of members and of others; groups number their patients from 0."""

    members: Tensor  # (N,)
    member_groups: Tensor  # (N,) int64
    others: Tensor  # (M,)
    other_groups: Tensor  # (M,) int64


class Attack(NamedTuple):
    auc: float  # 0.5: as good as a coin
    control: float  # that of a split alone
    difference: float  # of both
    interval: tuple[float, float]  # of the difference, 95%, over other patients
    true_positives: float  # share of the members found where 1% of the others are taken for members
    control_true_positives: float

    @property
    def margin(self) -> float:
        """What the difference has to be above: half of what the split gives away, which its control may have missed;
        and, where the control is below a half by chance, what lifts the attack itself above a half.

        A generator's images differ from real ones in other ways than by leaking: blurred ones, nearer to all, are
        nearest to those of the members' kind.
        """
        return abs(self.control - 0.5) / 2 + max(0.0, 0.5 - self.control)

    @property
    def leaks(self) -> bool:
        """Whether members are told apart by more than the split alone gives away, beyond chance."""
        return self.interval[0] > self.margin


def attack(scores: Scores, controls: Sequence[Scores], resamples: int = RESAMPLES, seed: int = 0) -> Attack:
    """The AUC of an attack less the mean one of its ``controls``, whose patients have the same numbers.

    Patients of both kinds are resampled with all their images. The interval is the t interval of the spread that gives,
    with as many degrees of freedom as the kind with fewer patients has.
    """
    generator = torch.Generator().manual_seed(seed)
    member_counts, other_counts = (
        _draws(max(int(one[place].max()) for one in (scores, *controls)) + 1, resamples, generator) for place in (1, 3)
    )

    def resampled(one: Scores) -> Tensor:
        weights = member_counts[:, one.member_groups], other_counts[:, one.other_groups]
        return auc(one.members, one.others, *weights)

    found, control = auc(scores.members, scores.others).item(), _mean([auc(c.members, c.others) for c in controls])
    spread = (resampled(scores) - _mean([resampled(one) for one in controls])).std().item()
    patients = min(member_counts.shape[1], other_counts.shape[1])
    reach = float(stats.t.ppf((1 + LEVEL) / 2, max(1, patients - 1))) * spread * _widened(patients)
    difference = found - control.item()
    return Attack(
        found,
        control.item(),
        difference,
        (difference - reach, difference + reach),
        true_positives(scores),
        _mean([torch.tensor(true_positives(one)) for one in controls]).item(),
    )


class Nearness(NamedTuple):
    """Whether one set of images is nearer to the members than another."""

    share: float  # of the pairs of one of each, where the first is nearer; 0.5: alike
    interval: tuple[float, float]  # 95%
    p: float  # of a share that is not 0.5


def compare_distances(first: Tensor, second: Tensor, second_groups: Tensor, seed: int = 0) -> Nearness:
    """How often a distance of ``first`` (N,) is below one of ``second`` (M,), whose groups are resampled, and the
    images of ``first`` one by one."""
    generator = torch.Generator().manual_seed(seed)
    patients = int(second_groups.max()) + 1
    one = _draws(len(first), RESAMPLES, generator)
    other = _draws(patients, RESAMPLES, generator)[:, second_groups]
    share = auc(-first, -second).item()
    spread = auc(-first, -second, one, other).std().item() * _widened(patients)
    freedom = max(1, min(patients, len(first)) - 1)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * spread
    p = 2 * float(stats.t.sf(abs(share - 0.5) / spread, freedom)) if spread > 0 else float(share == 0.5)
    return Nearness(share, (max(0.0, share - reach), min(1.0, share + reach)), p)


def auc(
    members: Tensor, others: Tensor, member_weights: Tensor | None = None, other_weights: Tensor | None = None
) -> Tensor:
    """Chance that a member's score is above another's, ties counted half: (), or (R,) with weights (R, N), (R, M)."""
    levels, ranks = torch.cat([members, others]).unique(return_inverse=True)
    mine, theirs = (
        torch.ones(1, len(one), dtype=torch.float64) if weights is None else weights.double()
        for one, weights in ((members, member_weights), (others, other_weights))
    )
    at_level = torch.zeros(len(theirs), len(levels), dtype=torch.float64)
    at_level.index_add_(1, ranks[len(members) :], theirs)
    below = (at_level.cumsum(1) - at_level / 2)[:, ranks[: len(members)]]
    found = (mine * below).sum(1) / (mine.sum(1) * theirs.sum(1))
    return found[0] if member_weights is None else found


def true_positives(scores: Scores, rate: float = RATE) -> float:
    """Share of the members above what at most ``rate`` of the others are above."""
    ordered = scores.others.sort(descending=True).values
    return (scores.members > ordered[int(rate * len(ordered))]).double().mean().item()


def _draws(groups: int, resamples: int, generator: torch.Generator) -> Tensor:
    """(R, G): how often a group is in each resample."""
    drawn = torch.randint(groups, (resamples, groups), generator=generator)
    return torch.zeros(resamples, groups).scatter_add_(1, drawn, torch.ones(resamples, groups))


def _widened(groups: int) -> float:
    """What the spread of resamples of so few groups is short of; without end for a single one."""
    return (groups / (groups - 1)) ** 0.5 if groups > 1 else float("inf")


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(0)
