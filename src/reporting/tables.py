"""The numbers that runs end with, side by side and over seeds, as text for a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from src.errors import UserError
from src.metrics.diversity import WINDOW, mean_pairwise_ssim
from src.reporting.grids import grid_tiles
from src.reporting.runs import MISSING, Run, differing_settings, format_lr, label_parts
from src.reporting.seeds import group_by_seed, mean_and_margin, settings_beside_seed
from src.scoring.passport import check_same_passports
from src.scoring.report import TITLES, read_rows

VALUES = {"loss_d": "loss D", "loss_g": "loss G", "d_real": "D(x)", "d_fake": "D(G(z))"}
NO_SCORES = {"images", "images_per_s", "lr", *VALUES}  # numbers of a run that have their own column, or none


def final_values(runs: Sequence[Run]) -> dict[str, Any]:
    """Head and rows of the final values; the first column names the model, words stand before numbers."""
    keys = differing_settings(runs)
    unlike = unlike_passports(runs)
    columns = _columns(runs, bool(unlike))
    labels = label_parts(runs)
    named = any(label[-1] == run.folder.name for run, label in zip(runs, labels, strict=True))
    rows = [
        {
            "model": run.model,
            "words": [*_words(run, keys), *([run.folder.name] * named)],
            "numbers": [
                count(run.images),
                *(column.show(column.value(run)) for column in columns),
                significant(run.speed),
                duration(run.summary.get("seconds")),
            ],
            "state": run.state,
        }
        for run in runs
    ]
    return {
        "words": ["lr", *map(last_part, keys), *(["folder"] if named else [])],
        "numbers": ["images", *(column.title for column in columns), "images/s", "time"],
        "rows": rows,
        "unlike": unlike,
        "seeds": _seeds(runs, columns),
    }


class Column(NamedTuple):
    """A number that a run ends with."""

    title: str
    value: Callable[[Run], float | None]
    show: Callable[[float | None], str]


def _columns(runs: Sequence[Run], without_scores: bool) -> list[Column]:
    left_out = NO_SCORES | (TITLES.keys() if without_scores else set())
    scores = dict.fromkeys(key for run in runs for key in run.final if key not in left_out)

    def final(key: str, title: str, show: Callable[[float | None], str]) -> Column:
        return Column(title, lambda run: run.final.get(key), show)

    return [
        *(final(key, title, fixed) for key, title in VALUES.items()),
        Column("sd of loss D", lambda run: run.variability("loss_d"), fixed),
        Column("sd of loss G", lambda run: run.variability("loss_g"), fixed),
        Column("SSIM between samples", lambda run: similarity(last_sample(run)), fixed),
        Column("between real", lambda run: similarity(run.real), fixed),
        *(final(key, key, significant) for key in scores),
    ]


def _words(run: Run, keys: Sequence[str]) -> list[str]:
    return [format_lr(run.lr), *(str(run.setting(key)) for key in keys)]


def _seeds(runs: Sequence[Run], columns: Sequence[Column]) -> dict[str, Any]:
    """Head and rows of the means over seeds; no rows where no two runs differ in their seed alone."""
    keys = settings_beside_seed(runs)
    rows = []
    for group in group_by_seed(runs):
        numbers = []
        for column in columns:
            values = [value for run in group if (value := column.value(run)) is not None and math.isfinite(value)]
            mean, margin = mean_and_margin(values) if len(values) > 1 else (None, None)
            numbers.append(column.show(mean) + (f" ± {significant(margin)}" if margin is not None else ""))
        rows.append({"model": group[0].model, "words": [*_words(group[0], keys), len(group)], "numbers": numbers})
    return {
        "words": ["lr", *map(last_part, keys), "seeds"],
        "numbers": [column.title for column in columns],
        "rows": rows,
    }


def last_part(key: str) -> str:
    return key.rpartition(".")[2]


def unlike_passports(runs: Sequence[Run]) -> str:
    """Why the scores of these runs may not stand in one table; empty where they may."""
    passports = []
    for run in runs:
        if (run.folder / "scores.json").is_file():
            try:
                passports += [(run.folder.name, row.passport) for row in read_rows(run.folder)]
            except UserError as problem:
                return str(problem)
    try:
        check_same_passports(passports)
    except UserError as problem:
        return str(problem)
    return ""


def last_sample(run: Run) -> Path | None:
    return list(run.samples.values())[-1] if run.samples else None


@lru_cache
def similarity(grid: Path | None) -> float | None:
    """Mean pairwise SSIM between the images of a sample grid; None where it cannot be computed."""
    try:
        tiles = grid_tiles(grid) if grid else np.empty(0)
    except (OSError, ValueError):
        return None
    if len(tiles) < 2 or tiles.shape[1] < WINDOW:
        return None
    return mean_pairwise_ssim(torch.from_numpy(tiles.copy()).permute(0, 3, 1, 2).float() / 255)


def count(value: float | None) -> str:
    """A whole number with its thousands apart: 50,000."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:,.0f}"


def fixed(value: float | None) -> str:
    """Three decimals, so that a column of losses or probabilities lines up."""
    return MISSING if value is None else f"{value:,.3f}".replace("-", "\N{MINUS SIGN}")


def significant(value: float | None) -> str:
    """Four significant digits, or all digits before the point: 12.35, 1,234."""
    if value is None or not math.isfinite(value):
        return fixed(value)
    decimals = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{decimals}f}" if decimals <= 6 else f"{value:.3e}"
    return text.replace("-", "\N{MINUS SIGN}")


def duration(seconds: Any) -> str:
    """Seconds as people read them: 42 s, 12 min 05 s, 3 h 07 min."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
