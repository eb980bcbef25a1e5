"""The numbers that runs end with, side by side and over seeds, as text for a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from src.comparison.group import Group
from src.comparison.labels import folder_names, short_names
from src.comparison.runs import MISSING, Run, format_lr, is_number
from src.comparison.seeds import group_by_seed, mean_and_margin
from src.core.errors import UserError
from src.pictures.similarity import REAL, SAMPLES, grid_similarity
from src.scoring.passport import check_same_passports
from src.scoring.report import read_rows
from src.scoring.titles import TITLES

VALUES = {"loss": "training loss", "loss_d": "loss D", "loss_g": "loss G", "d_real": "D(x)", "d_fake": "D(G(z))"}
NO_SCORES = {"images", "images_per_s", "lr", *VALUES}  # numbers of a run that have their own column, or none
UNLIKE = 1.1  # logging intervals that differ by more than this factor do not give comparable spreads


class Column(NamedTuple):
    """A number that a run ends with."""

    title: str
    value: Callable[[Run], float | None]
    show: Callable[[float | None], str]
    averaged: bool = True  # over seeds


def final_values(group: Group) -> dict[str, Any]:
    """Head and rows of the final values; the first column names the model, words stand before numbers."""
    unlike, intervals = unlike_passports(group.runs), unlike_intervals(group.runs)
    columns = [
        column
        for column in _columns(group.runs, without_scores=bool(unlike), without_spread=bool(intervals))
        if any(column.value(run) is not None for run in group.runs)
    ]
    words = [_words(group, place) for place in range(len(group.runs))]
    folders = folder_names(group.runs)
    named = any(label[-1] == folder for folder, label in zip(folders, group.labels, strict=True))
    rows = [
        {
            "model": run.model,
            "words": [*own.values(), *([folder] * named)],
            "numbers": [column.show(column.value(run)) for column in columns],
            "state": run.state,
        }
        for run, own, folder in zip(group.runs, words, folders, strict=True)
    ]
    return {
        "words": [*words[0], *(["folder"] if named else [])],
        "numbers": [column.title for column in columns],
        "rows": rows,
        "unlike": unlike,
        "intervals": intervals,
        "seeds": _seeds(group, words, [column for column in columns if column.averaged]),
    }


def _columns(runs: Sequence[Run], without_scores: bool, without_spread: bool) -> list[Column]:
    left_out = NO_SCORES | (TITLES.keys() if without_scores else set())
    scores = dict.fromkeys(key for run in runs for key in run.final if key not in left_out)

    def final(key: str, title: str, show: Callable[[float | None], str]) -> Column:
        return Column(title, lambda run: run.final.get(key), show)

    spread = [
        Column("sd of loss D", lambda run: run.variability("loss_d"), fixed),
        Column("sd of loss G", lambda run: run.variability("loss_g"), fixed),
    ]
    return [
        Column("images shown", lambda run: run.images, count, averaged=False),
        *(final(key, title, fixed) for key, title in VALUES.items()),
        *([] if without_spread else spread),
        Column("SSIM between samples", lambda run: similarity(run, SAMPLES, last_sample(run)), fixed),
        Column("between real", lambda run: similarity(run, REAL, run.real), fixed),
        *(final(key, key, significant) for key in scores),
        Column("images/s", lambda run: run.speed, significant, averaged=False),
        Column("time", lambda run: run.seconds, duration, averaged=False),
    ]


def _words(group: Group, place: int) -> dict[str, str]:
    """What tells the run apart, by the head of its column."""
    run, settings = group.runs[place], group.settings[place]
    loss = {"loss": run.loss.text if run.loss else MISSING} if len(group.losses) > 1 and "loss" not in settings else {}
    return {
        "lr": format_lr(run.lr),
        **loss,
        **{name: settings[key] for key, name in short_names(group.keys).items()},
    }


def _seeds(group: Group, words: Sequence[Mapping[str, str]], columns: Sequence[Column]) -> dict[str, Any]:
    """Head and rows of the means over seeds; no rows where no two runs differ in their seed alone."""
    heads = [head for head in words[0] if head != "seed"]
    rows = []
    for places in group_by_seed(group):
        first, numbers = places[0], []
        for column in columns:
            numbers.append(_over_seeds(column, [column.value(group.runs[place]) for place in places]))
        own = [words[first][head] for head in heads]
        rows.append({"model": group.runs[first].model, "words": [*own, len(places)], "numbers": numbers})
    return {"words": [*heads, "seeds"], "numbers": [column.title for column in columns], "rows": rows}


def _over_seeds(column: Column, found: Sequence[float | None]) -> str:
    """The mean over the seeds that have a value, with its margin and, where some have none, their number."""
    values = [value for value in found if value is not None]
    infinite = sum(not math.isfinite(value) for value in values)
    if infinite:  # a mean of the rest would be of the better seeds
        return f"not finite in {infinite} of {len(found)}"
    share = f" ({len(values)} of {len(found)})" if 0 < len(values) < len(found) else ""
    if len(values) < 2:
        return column.show(values[0] if values else None) + share
    mean, margin = mean_and_margin(values)
    return f"{column.show(mean)} ± {significant(margin)}{share}"


def unlike_intervals(runs: Sequence[Run]) -> str:
    """Why the spreads of the losses of these runs may not stand in one table; empty where they may."""
    spread = [run for run in runs if run.variability("loss_d") is not None or run.variability("loss_g") is not None]
    steps = [run.interval for run in spread]
    known = [interval for interval in steps if interval is not None]
    if len(spread) < 2:
        return ""
    if len(known) < len(steps):
        return "not all runs say after how many steps they log"
    low, high = min(known), max(known)
    return f"some runs log every {low:.3g} steps and some every {high:.3g}" if high > UNLIKE * low else ""


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


def similarity(run: Run, name: str, grid: Path | None) -> float | None:
    """SSIM between the images of a run's ``grid``: as its summary says, or, of one that is older, computed."""
    kept = run.summary.get("ssim")
    if isinstance(kept, dict) and name in kept:
        return float(kept[name]) if is_number(kept[name]) else None
    return grid_similarity(grid)


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


def duration(seconds: float | None) -> str:
    """Seconds as people read them: 42 s, 12 min 05 s, 3 h 07 min."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
