"""Dice against the fraction of real images: one panel a generator, one line a way of using its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, NullLocator

from src.downstream.analysis import ArmSummary
from src.downstream.results import MIXED, REAL, SYNTHETIC, SYNTHETIC_THEN_REAL, UNAUGMENTED, Arm, fraction_text
from src.pictures.figures import DASHES, Style, Theme, figure_png, plain_frame

# Inches, so that text is as large as the page's on a desktop and on a phone.
WIDTH, WIDTH_NARROW, PANEL_HEIGHT = 11.5, 4.9, 3.9


# Of Okabe and Ito's colour-blind-safe ones, a colour and a marker for each regime.
COLOURS = {
    REAL: "#0072B2", UNAUGMENTED: "#56B4E9", SYNTHETIC: "#E69F00", SYNTHETIC_THEN_REAL: "#D55E00", MIXED: "#CC79A7",
}  # fmt: skip
MARKERS = {REAL: "o", UNAUGMENTED: "o", SYNTHETIC: "s", SYNTHETIC_THEN_REAL: "^", MIXED: "D"}


def ways(arms: Sequence[ArmSummary]) -> list[Arm]:
    """The lines of the figure: the arms without their generators."""
    return list(dict.fromkeys(_way(arm) for arm in arms))


def way_styles(arms: Sequence[ArmSummary]) -> dict[Arm, Style]:
    """Of each line: the colour of its regime; mixtures of other ratios differ in their dashes."""
    lines = ways(arms)
    same = {line: [other for other in lines if other.regime == line.regime].index(line) for line in lines}
    dashes = {line: DASHES[2] if line.regime == UNAUGMENTED else DASHES[same[line] % len(DASHES)] for line in lines}
    return {line: Style(COLOURS[line.regime], dashes[line]) for line in lines}


def dice_png(arms: Sequence[ArmSummary], theme: Theme, narrow: bool = False) -> bytes:
    """Mean Dice with 95% bands as a transparent PNG for a page in that theme; ``narrow`` stacks the panels.

    Arms without a generator (real images alone) are drawn in every panel, to compare with.
    """
    generators = list(dict.fromkeys(arm.arm.generator for arm in arms if arm.arm.generator))
    count = max(len(generators), 1)
    down, across = (count, 1) if narrow else (-(-count // 2), min(count, 2))
    size = (WIDTH_NARROW if narrow else WIDTH, PANEL_HEIGHT * down)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.06, hspace=0.06))
    figure.subplots(down, across, sharey=True)
    fractions = sorted({arm.fraction for arm in arms})
    for axes, generator in zip_longest(figure.axes, generators):
        _draw(axes, [arm for arm in arms if arm.arm.generator in (None, generator)], way_styles(arms))
        _dress(axes, fractions, theme)
        axes.set_title(generator or "", loc="left", fontsize=11, color=theme.text, pad=8)
    for axes in figure.axes[count:]:
        axes.remove()
    figure.supylabel("Dice", color=theme.text, fontsize=10)
    figure.supxlabel("real training images", color=theme.text, fontsize=10)
    return figure_png(figure, transparent=True)


def _way(arm: ArmSummary) -> Arm:
    return replace(arm.arm, generator=None)


def _draw(axes: Axes, arms: Sequence[ArmSummary], styles: Mapping[Arm, Style]) -> None:
    for index, (line, style) in enumerate(styles.items()):
        points = sorted((arm for arm in arms if _way(arm) == line), key=lambda arm: arm.fraction)
        if not points:
            continue
        low, high = zip(*(point.interval for point in points), strict=True)
        places = [point.fraction for point in points]
        if len(points) == 1:  # no band: a bar, beside those of the other lines
            places = [places[0] * (1 + 0.03 * (index - (len(styles) - 1) / 2))]
            axes.vlines(places, low, high, linewidth=1.4, color=style.colour)
        axes.fill_between(places, low, high, color=style.colour, alpha=0.09, linewidth=0)
        axes.plot(
            places,
            [point.mean for point in points],
            marker=MARKERS[line.regime],
            markersize=4.5,
            linewidth=1.6,
            **style.line,
        )


def _dress(axes: Axes, fractions: Sequence[float], theme: Theme) -> None:
    axes.set_xscale("log")
    axes.set_xticks(fractions, [fraction_text(fraction) for fraction in fractions])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(fractions[0] / 1.15, fractions[-1] * 1.15)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.tick_params(colors=theme.text, labelsize=10, length=0, pad=6)
    plain_frame(axes, theme)
