"""Runs that differ in their seed alone: what they reach on average, and how far other seeds may lie from that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from scipy import stats

from src.reporting.runs import Run, differing_settings

LEVEL = 0.95


def settings_beside_seed(runs: Sequence[Run]) -> list[str]:
    """The settings by which the runs differ, but for the seed."""
    return [key for key in differing_settings(runs) if key != "seed"]


def group_by_seed(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Finished runs of two seeds or more that showed as many images, alike in everything else that was asked for."""
    keys = settings_beside_seed(runs)
    groups: dict[tuple[object, ...], dict[object, Run]] = {}
    for run in runs:
        if run.state == "done":
            alike = (run.model, run.lr, run.images, *(str(run.setting(key)) for key in keys))
            groups.setdefault(alike, {}).setdefault(run.setting("seed"), run)
    return (list(group.values()) for group in groups.values() if len(group) > 1)


def mean_and_margin(values: Sequence[float]) -> tuple[float, float]:
    """The mean of at least two values, and half the width of its 95 % t interval."""
    mean = math.fsum(values) / len(values)
    return mean, float(stats.sem(values) * stats.t.ppf((1 + LEVEL) / 2, len(values) - 1))
