"""Images beside the nearest of each set, and the confusion matrix of held-out images, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from src.core.atomic import write_atomically
from src.identification.answers import Answer
from src.identification.evaluation import Evaluation
from src.identification.sets import ImageSet
from src.pictures.figures import LIGHT, figure_png

ROWS = 6  # images shown, of each answer in turn


def save_picture(
    answers: Sequence[Answer], images: Tensor, sets: Sequence[ImageSet], evaluation: Evaluation, path: Path
) -> None:
    """Args: ``images`` (N, C, H, W) in [0, 1] that the answers are of, in order; none: the matrix alone."""
    rows = _spread(answers)
    count = len(sets) + 1
    figure = Figure(figsize=(max(1.6 * count, 6), 1.75 * len(rows) + 3.4), layout="constrained")
    heights = [1.75 * len(rows), 3.4] if rows else [3.4]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if rows:
        panels = parts[0].subplots(len(rows), count, squeeze=False)
        for line, row in zip(panels, rows, strict=True):
            each = answers[row]
            _show(line[0], images[row], f"{Path(each.file).name[:22]}\n{each.named}", bold=True)
            for axes, own in zip(line[1:], sets, strict=True):
                nearest = own.references[own.reference_files.index(each.nearest[own.name])]
                _show(axes, nearest, f"{own.name}\nmean {each.mean[own.name]:.3f}, best {each.best[own.name]:.3f}")
    _draw_confusion(parts[-1].subplots(), evaluation, [own.name for own in sets])
    write_atomically(path, figure_png(figure, facecolor="white"))


def _spread(answers: Sequence[Answer]) -> list[int]:
    """Places of some answers, those of each kind in turn."""
    turns: dict[str, int] = {}
    ranked = []
    for place, each in enumerate(answers):
        turns[each.named] = turns.get(each.named, -1) + 1
        ranked.append((turns[each.named], place))
    return [place for _, place in sorted(ranked)[:ROWS]]


def _show(axes: Axes, image: Tensor, title: str, bold: bool = False) -> None:
    pixels = image.permute(1, 2, 0).numpy()
    axes.imshow(pixels if pixels.shape[2] == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=7, color=LIGHT.text, weight="bold" if bold else "normal")
    axes.set_axis_off()


def _draw_confusion(axes: Axes, evaluation: Evaluation, names: Sequence[str]) -> None:
    counts = evaluation.confusion.numpy()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.4)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.5 else LIGHT.text
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(names)), names, fontsize=8, color=LIGHT.text)
    axes.set_yticks(range(len(names)), names, fontsize=8, color=LIGHT.text)
    axes.set_xlabel("named as", fontsize=8, color=LIGHT.text)
    axes.set_title("Held-out images, by the set they are of", fontsize=9, color=LIGHT.text, loc="left")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
