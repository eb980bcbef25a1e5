"""Figures of runs: losses, and what the discriminator believes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from src.core.atomic import write_atomically

DPI = 200

# Okabe and Ito's colour-blind-safe colours, without the two that vanish on a white or a black page.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))  # a run past the sixth takes the next pattern

PANELS = {  # column of the metrics → title
    "loss": "Training loss",
    "loss_d": "Discriminator loss",
    "loss_g": "Generator loss",
    "d_real": "D(x), real images",
    "d_fake": "D(G(z)), generated images",
}
OUTPUTS = ("d_real", "d_fake")  # columns of what the discriminator says


class Theme(NamedTuple):
    """Colours of a figure's text and lines."""

    text: str
    faint: str


LIGHT = Theme(text="#3d4147", faint="#e3e5e8")
DARK = Theme(text="#b9bec6", faint="#33363c")


class Style(NamedTuple):
    """How a run is drawn wherever it is drawn."""

    colour: str
    dashes: tuple[float, ...]  # in line widths; () is a solid line

    @property
    def line(self) -> dict[str, Any]:
        return {"color": self.colour, "linestyle": (0, self.dashes) if self.dashes else "solid"}


class Panel(NamedTuple):
    """One column of the metrics of several runs."""

    column: str
    title: str
    lines: Sequence[tuple[Mapping[str, np.ndarray], Style]]  # metrics of each run, which have the column
    probabilities: bool  # whether D(x) and D(G(z)) are such


def run_style(index: int) -> Style:
    """The style of what stands at ``index`` of a legend: 24 of them differ."""
    return Style(COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)])


def save_losses(metrics: Mapping[str, np.ndarray], path: Path, probabilities: bool) -> None:
    """Write a run's losses and, below them, D(x) and D(G(z)), over real images shown.

    ``metrics`` has columns of equal length: ``images`` and any of ``loss_d``, ``loss_g``, ``d_real``, ``d_fake``; or
    ``loss`` alone. ``probabilities``: whether D(x) and D(G(z)) are such, or scores without bounds.
    """
    if "loss" in metrics:
        _save_loss(metrics, path)
        return
    figure = Figure(figsize=(8, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    _draw_columns(upper, metrics, {"loss_d": "discriminator", "loss_g": "generator"})
    _draw_columns(lower, metrics, {"d_real": "D(x)", "d_fake": "D(G(z))"})
    _dress(upper, "Loss", LIGHT)
    _dress(lower, "Mean probability of being real" if probabilities else "Mean output of the discriminator", LIGHT)
    if probabilities:
        _fit_probabilities(lower)
    lower.set_xlabel("real images shown", color=LIGHT.text)
    write_atomically(path, figure_png(figure, facecolor="white"))


def _save_loss(metrics: Mapping[str, np.ndarray], path: Path) -> None:
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    _draw_line(axes, metrics, "loss", color=COLOURS[0], linewidth=1.4)
    _dress(axes, "Loss", LIGHT)
    axes.set_xlabel("real images shown", color=LIGHT.text)
    write_atomically(path, figure_png(figure, facecolor="white"))


def _draw_columns(axes: Axes, metrics: Mapping[str, np.ndarray], labels: Mapping[str, str]) -> None:
    present = [column for column in labels if len(metrics.get(column, ()))]
    for index, column in enumerate(present):
        _draw_line(axes, metrics, column, color=COLOURS[index], linewidth=1.4, label=labels[column])
    if present:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelcolor=LIGHT.text)


def _draw_line(axes: Axes, metrics: Mapping[str, np.ndarray], column: str, **style: Any) -> None:
    values = _finite(metrics, column)
    marker = "o" if np.isfinite(values).sum() == 1 else None
    axes.plot(metrics["images"], values, marker=marker, markersize=4, **style)


def _finite(metrics: Mapping[str, np.ndarray], column: str) -> np.ndarray:
    """The values of a column, NaN in the place of infinite ones."""
    values = np.asarray(metrics[column], dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def draw_panel(axes: Axes, panel: Panel, theme: Theme = LIGHT) -> None:
    """Draw a panel over real images shown, each run in its own style."""
    width = 1.5 if len(panel.lines) <= 6 else 0.9
    by_style: dict[Style, list[np.ndarray]] = {}
    for metrics, style in panel.lines:
        values = _finite(metrics, panel.column)
        if np.isfinite(values).sum() == 1:  # a point, which no line shows
            _draw_line(axes, metrics, panel.column, linewidth=width, **style.line)
        else:
            by_style.setdefault(style, []).append(np.column_stack([metrics["images"], values]))
    for style, lines in by_style.items():  # one collection of many lines, which matplotlib draws several times as fast
        axes.add_collection(
            LineCollection(lines, linewidths=width, colors=style.colour, linestyles=[style.line["linestyle"]])
        )
    axes.autoscale_view()
    _dress(axes, panel.title, theme)
    if panel.probabilities and panel.column in OUTPUTS:
        _fit_probabilities(axes)


def panel_png(panel: Panel, theme: Theme) -> bytes:
    """One panel as a transparent PNG, for a page in that theme."""
    figure = Figure(figsize=(4.9, 2.7))
    draw_panel(figure.add_axes((0.09, 0.11, 0.875, 0.77)), panel, theme)
    return figure_png(figure, transparent=True)


def _dress(axes: Axes, title: str, theme: Theme) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=theme.text, pad=8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(colors=theme.text, labelsize=9, length=0, pad=5)
    plain_frame(axes, theme)
    axes.margins(x=0.01)
    axes.set_xlim(left=0)


def plain_frame(axes: Axes, theme: Theme) -> None:
    """Faint horizontal lines, and of the frame its base alone."""
    axes.grid(axis="y", color=theme.faint, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.faint)


def _fit_probabilities(axes: Axes) -> None:
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks((0, 0.5, 1))


def short_count(value: float) -> str:
    """An image count for an axis: 800, 12k, 1.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def figure_png(figure: Figure, **options: Any) -> bytes:
    """A figure as PNG; ``options`` as for matplotlib's ``savefig``."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, **options)
    return buffer.getvalue()
