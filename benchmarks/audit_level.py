"""How often the audit calls a leak where there is none: python -m benchmarks.audit_level [releases of each kind, 100].

Patients, images and releases are made up in a space of features, where the distance is Euclid's: images of a patient
lie around a point of their own. A release comes from a generator that knows the distribution of the members and none
of them, or another one, or is copied from members.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from src.metrics.membership import Attack, Scores, attack

Generator = torch.Generator


class World(NamedTuple):
    members: int  # patients
    others: int  # patients held out
    images: int  # of each
    features: int
    bias: float  # how far apart the patients of both kinds lie, in standard deviations

    def patients(self, count: int, generator: Generator, shift: float = 0.0) -> tuple[Tensor, Tensor]:
        """Features of all their images, and whose they are."""
        groups = torch.arange(count).repeat_interleave(self.images)
        centres = torch.randn(count, self.features, generator=generator)
        own = torch.randn(len(groups), self.features, generator=generator)
        return 0.8 * centres[groups] + 0.6 * own + shift / self.features**0.5, groups


WORLDS = (
    World(40, 14, 15, 16, 0.0),
    World(40, 14, 15, 16, 2.0),
    World(200, 100, 1, 16, 0.0),
    World(200, 100, 1, 16, 2.0),
    World(20, 60, 1, 16, 0.0),
)
RELEASED = 300

Release = Callable[[World, Tensor, Generator], Tensor]


def fresh(world: World, members: Tensor, generator: Generator) -> Tensor:
    """Images of new patients of the members' kind."""
    return world.patients(RELEASED // world.images, generator)[0]


def collapsed(world: World, members: Tensor, generator: Generator) -> Tensor:
    """Ten new images again and again."""
    few = fresh(world, members, generator)
    return few[torch.randperm(len(few), generator=generator)[:10]].repeat(RELEASED // 10, 1)


def blurred(world: World, members: Tensor, generator: Generator) -> Tensor:
    """Half way to the mean of the members."""
    return (fresh(world, members, generator) + members.mean(0)) / 2


def elsewhere(world: World, members: Tensor, generator: Generator) -> Tensor:
    """Of another organ."""
    return fresh(world, members, generator) + 3


def overfitted(world: World, members: Tensor, generator: Generator) -> Tensor:
    """The members' images, with noise."""
    some = members[torch.randint(len(members), (2 * RELEASED,), generator=generator)]
    return some + 0.2 * torch.randn(some.shape, generator=generator)


HONEST: dict[str, Release] = {"fresh": fresh, "collapsed": collapsed, "blurred": blurred, "elsewhere": elsewhere}
KINDS: dict[str, Release] = {**HONEST, "overfitted": overfitted}


def release(world: World, kind: str, seed: int) -> Attack:
    """The audit of one release."""
    generator = torch.Generator().manual_seed(seed)
    members, member_groups = world.patients(world.members, generator)
    others, other_groups = world.patients(world.others, generator, world.bias)
    made = KINDS[kind](world, members, generator)
    first = torch.randperm(world.members, generator=generator)[: world.members // 2]
    half = torch.isin(member_groups, first)

    def nearness(images: Tensor, to: Tensor) -> Tensor:
        return -torch.cdist(images, to).min(1).values

    controls = [
        Scores(nearness(members[own], members[~own]), member_groups[own], nearness(others, members[~own]), other_groups)
        for own in (half, ~half)
    ]
    scores = Scores(nearness(members, made), member_groups, nearness(others, made), other_groups)
    return attack(scores, controls, resamples=200)


def levels(releases: int) -> Iterator[tuple[World, str, float, float, float]]:
    """World, kind, share of releases called a leak, mean AUC, and mean difference from the control."""
    for world in WORLDS:
        for kind in KINDS:
            found = [release(world, kind, seed) for seed in range(releases)]
            aucs, differences = (torch.tensor([getattr(one, name) for one in found]) for name in ("auc", "difference"))
            yield world, kind, sum(one.leaks for one in found) / releases, aucs.mean().item(), differences.mean().item()


def main() -> None:
    releases = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print("| patients | images each | bias | release | called a leak | AUC | less its control |")
    print("|---|---:|---:|---|---:|---:|---:|")
    for world, kind, called, area, difference in levels(releases):
        patients = f"{world.members} members, {world.others} others"
        row = f"{called:.0%} | {area:.3f} | {difference:+.3f}"
        print(f"| {patients} | {world.images} | {world.bias:g} | {kind} | {row} |", flush=True)


if __name__ == "__main__":
    main()
