"""Fair timing on a noisy machine: contenders take turns, and medians and ratios are reported."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import torch

from src.core import environment


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every contender in turn, ``rounds`` times after one warm-up; each returns its speed (per second)."""
    for run in contenders.values():
        run()
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            speeds[name].append(run())
    return speeds


def table(title: str, unit: str, speeds: Mapping[str, list[float]], baseline: str) -> str:
    """Markdown: median speed, its range, and the median over rounds of the ratio to ``baseline``."""
    lines = [f"### {title}", "", f"| | {unit}, median (min–max) | × {baseline} |", "|---|---:|---:|"]
    for name, values in speeds.items():
        ratio = statistics.median(v / b for v, b in zip(values, speeds[baseline], strict=True))
        middle, low, high = (_short(f(values)) for f in (statistics.median, min, max))
        lines.append(f"| {name} | {middle} ({low}–{high}) | {ratio:.2f} |")
    return "\n".join([*lines, ""])


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def machine() -> str:
    state = environment.describe("", torch.device("cpu"))
    return f"{state['processor']}, {state['threads']} threads, torch {state['torch']}"
