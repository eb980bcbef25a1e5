"""The side-by-side page: one HTML file that needs nothing else, and the same comparison as one picture."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from src.comparison.group import Group
from src.comparison.labels import differing_settings, label_parts
from src.comparison.runs import (
    MISSING,
    UNFINISHED,
    Run,
    group_by_data,
    sample_points,
)
from src.comparison.sheet import save_comparison
from src.comparison.tables import count, final_values
from src.core.atomic import write_atomically
from src.pictures.figures import DARK, LIGHT, OUTPUTS, Panel, panel_png
from src.pictures.grids import try_crop
from src.pictures.page import data_url, embedded, legend_entry, render

CELL = 150  # CSS pixels of a sample on a wide screen, at most
CELLS = 120  # samples in a gallery, or one of each run where there are more runs than that
LARGEST = 400  # pixels a side that a sample is embedded with, at most


def write_comparison(runs: Sequence[Run], folder: Path) -> Path:
    """Write ``compare.html`` and ``compare.png`` into ``folder`` (made if absent); returns the page's path.

    Runs of different data sets get sections of their own. A value that a run's files do not hold is shown as a dash.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = [run for run in runs if run.state not in UNFINISHED or run.samples or run.final]
    groups = [Group(title, members) for title, members in group_by_data(shown).items()]
    labelled = [
        (" · ".join(label), run) for label, run in zip(label_parts(runs, differing_settings(runs)), runs, strict=True)
    ]
    states = Counter(run.state for run in runs)
    html = render(
        "comparison/compare.html.jinja",
        heading=" · ".join(dict.fromkeys(run.model for run in runs)),
        states=", ".join(f"{count} {state}" for state, count in states.most_common()),
        groups=[_group(group) for group in groups],
        unfinished=[(label, run) for label, run in labelled if run.state in UNFINISHED],
        warned=[(label, run) for label, run in labelled if run.warnings],
        origins=[_origin(run) for run in runs],
        missing=MISSING,
        images_of=lambda run: count(run.images),
    )
    page = folder / "compare.html"
    write_atomically(page, html.encode())
    save_comparison(groups, folder / "compare.png")
    return page


def _group(group: Group) -> dict[str, Any]:
    """What the template shows of the runs of one data set."""
    runs = group.runs
    points = sample_points(runs, most=min(5, max(1, CELLS // max(1, sum(bool(run.samples) for run in runs)))))
    real = next((picture for run in runs if (picture := try_crop(run.real))), None)
    rows = [
        (label, run.state, [embedded(try_crop(run.samples.get(point)), LARGEST) for point in points])
        for run, label in zip(runs, group.labels, strict=True)
        if run.samples
    ]
    size = max((cell.size for _, _, cells in rows for cell in cells if cell), default=CELL)
    return {
        "title": group.title,
        "points": [count(point) for point in points],
        "rows": rows,
        "real": embedded(real, LARGEST),
        "cell": size * (CELL // size) if size <= CELL else CELL,
        "scaling": "pixelated" if size <= CELL else "auto",
        "no_samples": not rows and any(run.makes_images for run in runs),
        "panels": [_panel(panel) for panel in group.panels],
        "legend": [legend_entry(label, style) for label, style in group.legend],
        "notes": list(_notes(group)),
        "table": final_values(group),
    }


def _panel(panel: Panel) -> dict[str, str]:
    return {
        "title": panel.title,
        "light": data_url(panel_png(panel, LIGHT)),
        "dark": data_url(panel_png(panel, DARK)),
    }


def _notes(group: Group) -> Iterator[str]:
    """What the curves mean with the losses of these runs."""
    losses = dict.fromkeys(run.loss for run in group.runs if run.loss and run.makes_images)
    probable = ", ".join(dict.fromkeys(loss.name for loss in losses if loss.gives_probabilities))
    others = ", ".join(dict.fromkeys(loss.name for loss in losses if not loss.gives_probabilities))
    if any(panel.column in OUTPUTS for panel in group.panels):
        kinds = []
        if probable:
            kinds.append(f"probabilities with {probable}, near 0.5 where it cannot tell real from generated")
        if others:
            kinds.append(f"scores without bounds with {others}")
        note = "D(x) and D(G(z)) are the discriminator's mean outputs in its own step"
        yield f"{note}: {'; '.join(kinds)}." if kinds else f"{note}."
    if len(group.losses) > 1:
        yield "Runs of unlike losses have panels of their own, and their values cannot be compared."


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
