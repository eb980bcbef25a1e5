"""How well each test image was segmented: a table, and the best, median and worst as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from src.core.atomic import write_atomically
from src.core.pixels import to_unit_range
from src.pictures.overlay import overlay
from src.pictures.sample_grid import save_grid

TABLE, PICTURE = "{}_cases.csv", "{}_cases.png"  # of a split
SHOWN = 8  # images a row: of the best, of those about the median, of the worst


def write_case_table(
    path: Path, files: Sequence[str], cases: Sequence[str], masks: Sequence[str], dice: Tensor
) -> None:
    """A row per image: file, case, and the Dice coefficient of every mask from ``dice`` (N, K)."""
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["file", "case", *masks])
    for name, case, values in zip(files, cases, dice.tolist(), strict=True):
        writer.writerow([name, case, *(f"{value:.6f}" for value in values)])
    write_atomically(path, table.getvalue())


def read_case_table(path: Path) -> tuple[dict[str, float], dict[str, str]]:
    """By file: the mean Dice coefficient over masks, and the case."""
    with open(path, newline="") as file:
        _, *rows = csv.reader(file)
    dice = {name: sum(map(float, values)) / len(values) for name, _, *values in rows}
    return dice, {name: case for name, case, *_ in rows}


def save_case_picture(path: Path, image: Tensor, truth: Tensor, predicted: Tensor, dice: Tensor) -> None:
    """Best, median and worst images, each row, which says so, with the true masks above the predicted ones.

    ``image`` (N, C, H, W) as stored, ``truth`` and ``predicted`` (N, K, H, W) bool, ``dice`` (N,).
    """
    shown = rows_of(dice.argsort(descending=True))
    columns = max(map(len, shown.values()))
    rows = []
    for chosen in shown.values():
        pixels = to_unit_range(image[chosen])[:, :3]
        for masks in (truth, predicted):
            row = overlay(pixels, masks[chosen])
            blank = row.new_full((columns - len(row), *row.shape[1:]), -1.0)
            rows.append(torch.cat([row, blank]))
    names = [f"{which}, {whose}" for which in shown for whose in ("true", "found")]
    save_grid(torch.cat(rows), path, image_channels=3, columns=columns, names=names)


def rows_of(order: Tensor) -> dict[str, Tensor]:
    """Of images in ``order``, by the name of a row those in it: none is in two, and all are shown where they fit."""
    if len(order) <= SHOWN:
        return {"best to worst": order}
    if len(order) <= 3 * SHOWN:
        best, median, worst = order.tensor_split(3)
    else:
        middle = len(order) // 2 - SHOWN // 2
        best, median, worst = order[:SHOWN], order[middle : middle + SHOWN], order[-SHOWN:]
    return {"best": best, "median": median, "worst": worst}
