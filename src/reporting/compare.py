"""The side-by-side page: one HTML file that needs nothing else, and the same comparison as one picture."""

from __future__ import annotations

import io
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from src.errors import UserError
from src.metrics.diversity import WINDOW, mean_pairwise_ssim
from src.reporting import figures
from src.reporting.page import data_url, render
from src.reporting.runs import (
    MISSING,
    UNFINISHED,
    Run,
    differing_settings,
    format_lr,
    group_by_data,
    label_parts,
    sample_points,
)
from src.reporting.sheet import save_comparison
from src.scoring.passport import check_same_passports
from src.scoring.report import TITLES, read_rows

CELL = 150  # CSS pixels of a sample on a wide screen, at most
LARGEST = 400  # pixels a side that a sample is embedded with, at most
LINE = 2  # CSS pixels that a line of the legend is wide
VALUES = {"loss_d": "loss D", "loss_g": "loss G", "d_real": "D(x)", "d_fake": "D(G(z))"}
SIMILARITY = ("SSIM between samples", "between real")
NO_SCORES = {"images", "images_per_s", "lr", *VALUES}  # numbers of a run that have their own column, or none


class Embedded(NamedTuple):
    """A picture inside the page."""

    src: str
    size: int  # its longer side, in pixels


def write_comparison(runs: Sequence[Run], folder: Path) -> Path:
    """Write ``compare.html`` and ``compare.png`` into ``folder`` (made if absent); returns the page's path.

    Runs of different data sets get sections of their own. A value that a run's files do not hold is shown as a dash.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = [run for run in runs if run.state not in UNFINISHED or run.samples or run.final]
    labelled = [(" · ".join(label), run) for label, run in zip(label_parts(runs), runs, strict=True)]
    states = Counter(run.state for run in runs)
    html = render(
        "compare.html.jinja",
        heading=" · ".join(dict.fromkeys(run.model for run in runs)),
        states=", ".join(f"{count} {state}" for state, count in states.most_common()),
        groups=[_group(title, members) for title, members in group_by_data(shown).items()],
        unfinished=[(label, run) for label, run in labelled if run.state in UNFINISHED],
        warned=[(label, run) for label, run in labelled if run.warnings],
        origins=[_origin(run) for run in runs],
        missing=MISSING,
        images_of=lambda run: count(run.images),
    )
    page = folder / "compare.html"
    figures.write_atomically(page, html.encode())
    save_comparison(shown, folder / "compare.png")
    return page


def _group(title: str, runs: Sequence[Run]) -> dict[str, Any]:
    """What the template shows of the runs of one data set."""
    labels = label_parts(runs)
    points = sample_points(runs)
    real = next((picture for run in runs if (picture := figures.try_crop(run.real))), None)
    rows = [
        (label, run.state, [_embedded(figures.try_crop(run.samples.get(point))) for point in points])
        for run, label in zip(runs, labels, strict=True)
        if run.samples
    ]
    size = max((cell.size for _, _, cells in rows for cell in cells if cell), default=CELL)
    return {
        "title": title,
        "points": [count(point) for point in points],
        "rows": rows,
        "real": _embedded(real),
        "cell": size * (CELL // size) if size <= CELL else CELL,
        "scaling": "pixelated" if size <= CELL else "auto",
        "panels": _panels(runs),
        "legend": [_legend_entry(index, label) for index, label in enumerate(labels)],
        "table": _table(runs),
    }


def _embedded(picture: Image.Image | None) -> Embedded | None:
    if picture is None:
        return None
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return Embedded(data_url(buffer.getvalue()), max(picture.size))


def _legend_entry(index: int, label: Sequence[str]) -> dict[str, str]:
    style = figures.run_style(index)
    dashes = " ".join(f"{LINE * length:g}" for length in style.dashes)
    return {"label": " · ".join(label), "colour": style.colour, "dashes": dashes or "none"}


def _panels(runs: Sequence[Run]) -> list[dict[str, str]]:
    return [
        {
            "title": title,
            "light": data_url(figures.panel_png(runs, column, figures.LIGHT)),
            "dark": data_url(figures.panel_png(runs, column, figures.DARK)),
        }
        for column, title in figures.PANELS.items()
        if any(len(run.metrics.get(column, ())) for run in runs)
    ]


def _table(runs: Sequence[Run]) -> dict[str, Any]:
    """Head and rows of the final values; the first column names the model, words stand before numbers."""
    keys = differing_settings(runs)
    unlike = unlike_passports(runs)
    left_out = NO_SCORES | (TITLES.keys() if unlike else set())
    scores = list(dict.fromkeys(key for run in runs for key in run.final if key not in left_out))
    labels = label_parts(runs)
    named = any(label[-1] == run.folder.name for run, label in zip(runs, labels, strict=True))
    words = ["lr", *(key.rpartition(".")[2] for key in keys), *(["folder"] if named else [])]
    numbers = ["images", *VALUES.values(), "sd of loss D", "sd of loss G", *SIMILARITY, *scores, "images/s", "time"]
    rows = [
        {
            "model": run.model,
            "words": [format_lr(run.lr), *(str(run.setting(key)) for key in keys), *([run.folder.name] * named)],
            "numbers": [
                count(run.images),
                *(fixed(run.final.get(column)) for column in VALUES),
                fixed(run.variability("loss_d")),
                fixed(run.variability("loss_g")),
                *(fixed(similarity(path)) for path in (last_sample(run), run.real)),
                *(significant(run.final.get(score)) for score in scores),
                significant(run.speed),
                duration(run.summary.get("seconds")),
            ],
            "state": run.state,
        }
        for run in runs
    ]
    return {"words": words, "numbers": numbers, "rows": rows, "unlike": unlike}


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
        tiles = figures.grid_tiles(grid) if grid else np.empty(0)
    except (OSError, ValueError):
        return None
    if len(tiles) < 2 or tiles.shape[1] < WINDOW:
        return None
    return mean_pairwise_ssim(torch.from_numpy(tiles.copy()).permute(0, 3, 1, 2).float() / 255)


def _origin(run: Run) -> dict[str, str]:
    """The command of a run, and what its summary says of when and from which source it came."""
    environment, git = run.summary.get("environment"), run.summary.get("git")
    date = run.summary.get("date") or (environment.get("date") if isinstance(environment, dict) else None)
    if isinstance(git, dict):
        commit = git.get("commit")
        git = commit and f"{str(commit)[:10]}{' with uncommitted changes' if git.get('changed') else ''}"
    return {
        "command": shlex.join(["python", "-m", "src.train", *run.overrides]),
        "date": str(date or MISSING),
        "git": str(git or MISSING),
    }


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
