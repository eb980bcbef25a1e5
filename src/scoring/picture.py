"""Scores as a picture: the images themselves, and a panel per score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from src.core.atomic import write_atomically
from src.pictures.figures import COLOURS, LIGHT, figure_png
from src.scoring.report import SUSPICIOUS, TITLES, Row, caption, heading, mark, short, titled


def save_picture(rows: Sequence[Row], samples: Mapping[str, Tensor], path: Path) -> None:
    """A PNG: ``samples``, by title (N, C, H, W) uint8, above a panel per score with its interval.

    Args:
        rows: of the same number of images.
    """
    passport = rows[0].passport
    names = [name for name in TITLES if any(name in row.scores for row in rows)]
    lines = math.ceil(len(names) / 4)
    figure = Figure(figsize=(11, 4.6 + lines * (0.75 + 0.24 * len(rows))), layout="constrained")
    ((upper,), (lower,)) = figure.subfigures(
        2, 1, squeeze=False, height_ratios=(4.2, lines * (0.75 + 0.24 * len(rows)))
    )
    for axes, (title, images) in zip(np.atleast_1d(upper.subplots(1, len(samples))), samples.items(), strict=True):
        axes.imshow(make_grid(images[:64], nrow=8, padding=2).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(short(title), loc="left", fontsize=11, color=LIGHT.text)
        axes.set_axis_off()
    panels = lower.subplots(lines, 4, sharey=True, squeeze=False).flat
    for index, axes in enumerate(panels):
        if index < len(names):
            _draw_score(axes, names[index], rows)
        else:
            axes.set_axis_off()
    note = f"\n* {SUSPICIOUS}" if any(row.better_than_real for row in rows) else ""
    if halves := rows[0].between_halves:
        note += f"\ndashed: one half of the real patients against the other, {halves['images']:,.0f} images each"
    figure.suptitle(
        f"{heading(passport)} · {caption(passport)}{note}",
        fontsize=10,
        color=LIGHT.text,
        x=0.01,
        ha="left",
    )
    write_atomically(path, figure_png(figure, facecolor="white"))


def _draw_score(axes: Axes, name: str, rows: Sequence[Row]) -> None:
    values = [row.scores[name] for row in rows if math.isfinite(row.scores.get(name, math.nan))]
    for height, row in enumerate(rows):
        colour, value = COLOURS[height % len(COLOURS)], row.scores.get(name, math.nan)
        if math.isfinite(value):
            axes.plot([value], [height], "o", color=colour, markersize=6)
            axes.annotate(f"{value:.3g}{mark(row, name)}", (value, height), (0, 5), textcoords="offset points",
                          ha="center", fontsize=7, color=LIGHT.text)  # fmt: skip
        if name in row.intervals:
            axes.plot(row.intervals[name], [height, height], color=colour, linewidth=2)
    if name in rows[0].between_halves:
        axes.axvline(rows[0].between_halves[name], color=LIGHT.text, alpha=0.5, linewidth=1.2, linestyle="--", zorder=0)
    if values and min(values) > 0 and max(values) > 30 * min(values):
        axes.set_xscale("log")
    axes.set_title(titled(name), loc="left", fontsize=9, color=LIGHT.text)
    axes.set_yticks(range(len(rows)), [short(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.margins(x=0.2)
    axes.tick_params(colors=LIGHT.text, labelsize=8, length=0)
    axes.grid(axis="x", color=LIGHT.faint, linewidth=0.8)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LIGHT.faint)
