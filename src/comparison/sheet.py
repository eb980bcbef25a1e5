"""The comparison of runs as one picture: samples over training beside real images, below them the curves."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox, TransformedBbox
from PIL import Image

from src.comparison.group import Group
from src.comparison.runs import MISSING, Run, sample_points
from src.core.atomic import write_atomically
from src.pictures.figures import (
    LIGHT,
    draw_panel,
    figure_png,
)
from src.pictures.grids import try_crop

# Laid out by hand, in inches from the upper-left corner, so that a crop of 4 by 4 tiles of 32 px (134 px) comes out
# at exactly twice its size.
CELL, GAP, MARGIN, LABEL, WIDTH = 1.34, 0.1, 0.3, 1.3, 10.72
TITLE, HEADING, LEGEND_ROW = 0.5, 0.3, 0.2
PANEL_LEFT, PANEL_BETWEEN, PANEL_HEIGHT, PANEL_STEP = 0.4, 0.7, 1.6, 2.3
CURVES_TOP, ABOVE_LEGEND, BELOW_LEGEND = 0.6, 0.6, 0.2
ROWS = 24  # of samples, at most
SOFT = "#70767f"


class _Sheet:
    """A page of fixed width that is drawn from top to bottom; positions in inches."""

    def __init__(self, height: float) -> None:
        self.height = round(height, 2)  # whole pixels
        self.figure = Figure(figsize=(WIDTH, self.height))
        self.top = MARGIN

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - top - height
        return self.figure.add_axes((left / WIDTH, bottom / self.height, width / WIDTH, height / self.height))

    def text(self, left: float, top: float, text: str, **options: Any) -> None:
        defaults: dict[str, Any] = {"color": LIGHT.text, "fontsize": 10, "va": "center", "parse_math": False}
        self.figure.text(left / WIDTH, 1 - top / self.height, text, **(defaults | options))

    def picture(self, left: float, top: float, picture: Image.Image | None) -> None:
        if picture is None:
            self.text(left, top + 0.1, MISSING, color=SOFT)
            return
        scale = CELL / max(picture.size)
        width, height = (side * scale for side in picture.size)
        place = Bbox.from_bounds(left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        self.figure.add_artist(BboxImage(TransformedBbox(place, self.figure.transFigure), data=np.asarray(picture)))


def save_comparison(groups: Sequence[Group], path: Path) -> None:
    """Write the comparison of runs as one PNG: per data set, samples over training beside real images, then curves.

    Runs with neither samples nor metrics take no room; where there are no others, the picture says so.
    """
    drawn = [group for group in groups if _height(group)]
    sheet = _Sheet(2 * MARGIN + sum(TITLE + _height(group) for group in drawn) + (not drawn) * TITLE)
    for group in drawn:
        sheet.text(MARGIN, sheet.top + 0.1, group.title, fontsize=13, fontweight="bold")
        sheet.top += TITLE
        _draw_samples(sheet, group)
        _draw_curves(sheet, group)
    if not drawn:
        sheet.text(MARGIN, sheet.top + TITLE / 2, "No run has metrics.")
    write_atomically(path, figure_png(sheet.figure, facecolor="white"))


def _height(group: Group) -> float:
    rows = len(_rows(group))
    return (HEADING + rows * (CELL + GAP) if rows else 0) + _curves_height(group)


def _rows(group: Group) -> list[int]:
    """Places of the runs whose samples are drawn: all, or of very many one of each configuration, the first."""
    places = [place for place, run in enumerate(group.runs) if run.samples]
    if len(places) > ROWS:
        firsts = {group.configurations[place]: place for place in reversed(places)}
        places = sorted(firsts.values())[:ROWS]
    return places


def _curves_height(group: Group) -> float:
    if not group.panels:
        return 0
    return _legend_top(group) + _legend_rows(group) * LEGEND_ROW + BELOW_LEGEND


def _draw_samples(sheet: _Sheet, group: Group) -> None:
    points, rows = sample_points(group.runs), _rows(group)
    if not points:
        return
    lefts = [MARGIN + LABEL + column * (CELL + GAP) for column in range(len(points))]
    if (count := sum(bool(run.samples) for run in group.runs)) > len(rows):
        text = f"samples of {len(rows)} of {count} runs"
        sheet.text(WIDTH - MARGIN, sheet.top + 0.1 - TITLE, text, color=SOFT, ha="right")
    sheet.text(MARGIN, sheet.top + HEADING / 2, "images shown", color=SOFT)
    for left, point in zip(lefts, points, strict=True):
        sheet.text(left, sheet.top + HEADING / 2, f"{point:,}", color=SOFT)
    _draw_real(sheet, lefts[-1] + CELL + 4 * GAP, group.runs)
    sheet.top += HEADING
    for run, label in ((group.runs[place], group.labels[place]) for place in rows):
        _draw_label(sheet, label if run.state == "done" else (*label, run.state))
        for left, point in zip(lefts, points, strict=True):
            sheet.picture(left, sheet.top, try_crop(run.samples.get(point)))
        sheet.top += CELL + GAP


def _draw_real(sheet: _Sheet, left: float, runs: Sequence[Run]) -> None:
    real = next((picture for run in runs if (picture := try_crop(run.real))), None)
    if real:
        sheet.text(left, sheet.top + HEADING / 2, "real images", color=SOFT)
        sheet.picture(left, sheet.top + HEADING, real)


def _draw_label(sheet: _Sheet, label: Sequence[str]) -> None:
    model = _wrap(label[0], 13)
    rest = [line for part in label[1:] for line in _wrap(part, 17)]
    sheet.text(MARGIN, sheet.top, "\n".join(model), fontsize=11, fontweight="bold", va="top", linespacing=1.3)
    sheet.text(MARGIN, sheet.top + 0.06 + 0.2 * len(model), "\n".join(rest), color=SOFT, va="top", linespacing=1.4)


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` characters, broken after an underscore where there is one."""
    return [line.replace("_ ", "_") for line in textwrap.wrap(text.replace("_", "_ "), width)]


def _draw_curves(sheet: _Sheet, group: Group) -> None:
    if not group.panels:
        return
    width = (WIDTH - 2 * MARGIN - PANEL_LEFT - PANEL_BETWEEN) / 2
    for index, panel in enumerate(group.panels):
        row, side = divmod(index, 2)
        left = MARGIN + PANEL_LEFT + side * (width + PANEL_BETWEEN)
        axes = sheet.axes(left, sheet.top + CURVES_TOP + row * PANEL_STEP, width, PANEL_HEIGHT)
        draw_panel(axes, panel)
        if index + 2 >= len(group.panels):  # nothing below it
            axes.set_xlabel("images shown", color=SOFT, fontsize=9)
    _draw_legend(sheet, sheet.top + _legend_top(group), group)
    sheet.top += _curves_height(group)


def _legend_top(group: Group) -> float:
    """Inches from the top of the curves."""
    return CURVES_TOP + (math.ceil(len(group.panels) / 2) - 1) * PANEL_STEP + PANEL_HEIGHT + ABOVE_LEGEND


def _legend_columns(group: Group) -> int:
    longest = max(len(label) for label, _ in group.legend)
    return max(1, min(4, len(group.legend), 135 // (longest + 10)))


def _legend_rows(group: Group) -> int:
    return math.ceil(len(group.legend) / _legend_columns(group))


def _draw_legend(sheet: _Sheet, top: float, group: Group) -> None:
    legend = sheet.figure.legend(
        [Line2D([], [], linewidth=1.8, **style.line) for _, style in group.legend],
        [label for label, _ in group.legend],
        loc="upper left",
        bbox_to_anchor=((MARGIN + PANEL_LEFT) / WIDTH, 1 - top / sheet.height),
        ncols=_legend_columns(group),
        borderpad=0,
        borderaxespad=0,
        frameon=False,
        fontsize=9,
        handlelength=2.6,
        labelcolor=LIGHT.text,
        columnspacing=2.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
