"""Runs that differ in their seed alone: what they reach on average, and how well that is known."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from scipy.special import stdtrit

from src.comparison.group import Group

LEVEL = 0.95


def group_by_seed(group: Group) -> Iterator[list[int]]:
    """Places of finished runs of two seeds or more that showed as many images, alike in all else that was asked for."""
    found: dict[tuple[object, ...], dict[object, int]] = {}
    for place, (run, settings) in enumerate(zip(group.runs, group.settings, strict=True)):
        if run.state == "done":
            alike = (run.model, run.lr, run.images, *(value for key, value in settings.items() if key != "seed"))
            found.setdefault(alike, {}).setdefault(run.setting("seed"), place)
    return (list(places.values()) for places in found.values() if len(places) > 1)


def mean_and_margin(values: Sequence[float]) -> tuple[float, float]:
    """The mean of at least two values, and half the width of its 95 % t interval.

    It is one of what very many seeds reach on average: the mean of as many other seeds varies as much again, and lies
    within √2 times that margin as often.
    """
    mean = math.fsum(values) / len(values)
    error = statistics.stdev(values) / math.sqrt(len(values))
    return mean, error * float(stdtrit(len(values) - 1, (1 + LEVEL) / 2))
