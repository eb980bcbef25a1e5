"""Scores of several sets of images side by side: as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from src.core.errors import UserError
from src.scoring.passport import Passport, check_same_passports
from src.scoring.titles import LOWER_IS_BETTER, TITLES

if TYPE_CHECKING:
    from src.metrics.intervals import Interval, Resampled

SUSPICIOUS = (
    "better than unseen real images: this space does not see the difference, the images are copies, or the unseen "
    "patients are of another kind"
)
SHORT = 20  # characters: three columns fit a terminal


@dataclass(frozen=True)
class Row:
    """The scores of one set of images."""

    name: str
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]  # 95 %, of some of the scores
    passport: Passport
    better_than_real: Sequence[str] = ()  # scores that beat those of as many unseen real images, beyond chance
    between_halves: Mapping[str, float] = field(default_factory=dict)  # scores of the real patients' halves, ``images``
    resampled: Mapping[str, Resampled] = field(default_factory=dict, repr=False)  # what the intervals rest on


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "scores": dict(row.scores),
            "intervals": {name: list(ends) for name, ends in row.intervals.items()},
            "better_than_real": list(row.better_than_real),
            "between_halves": dict(row.between_halves),
            "passport": row.passport.as_dict(),
        }
        for row in rows
    ]


def read_rows(path: Path) -> list[Row]:
    """The rows of a ``scores.json``, or of the one in a run folder. Raises UserError where there is none."""
    file = path / "scores.json" if path.is_dir() else path
    try:
        entries = json.loads(file.read_text())
        return [
            Row(
                str(entry["name"]),
                {name: float(value) for name, value in entry["scores"].items()},
                {name: (float(low), float(high)) for name, (low, high) in entry["intervals"].items()},
                Passport.from_dict(entry["passport"], str(file)),
                [str(name) for name in entry.get("better_than_real", [])],
                {name: float(value) for name, value in entry.get("between_halves", {}).items()},
            )
            for entry in entries
        ]
    except OSError as problem:
        raise UserError(
            f"there is no {file}: train with scores=generator, or run src.evaluate, to get one"
        ) from problem
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise UserError(f"{file} holds no scores of src.evaluate or src.train: score again") from problem


def by_size(rows: Sequence[Row], others: Sequence[Sequence[Row]], unknown: Collection[str] = ()) -> list[list[Row]]:
    """The rows by number of images, the most first: only within a group are they comparable.

    ``others`` are earlier evaluations, whose rows of the same numbers of images join. ``unknown`` are fields of the
    passports that cannot be compared yet.

    Raises:
        UserError: unlike passports, or an evaluation without any row of the same number of images.
    """
    groups: dict[int, list[Row]] = {row.passport.n_fake: [] for row in rows}
    for row in rows:
        groups[row.passport.n_fake].append(row)
    for evaluation in others:
        fitting = [row for row in evaluation if row.passport.n_fake in groups]
        for row in fitting or evaluation[:1]:
            groups.get(row.passport.n_fake, groups[rows[0].passport.n_fake]).append(row)
    for group in groups.values():
        check_same_passports([(row.name, row.passport) for row in group], unknown)
    return [groups[count] for count in sorted(groups, reverse=True)]


def as_table(rows: Sequence[Row]) -> Table:
    """A column per row of scores; raises UserError for unlike passports."""
    check_same_passports([(row.name, row.passport) for row in rows])
    passport = rows[0].passport
    table = Table(title=heading(passport), title_justify="left")
    table.add_column("score")
    for row in rows:
        table.add_column(short(row.name), justify="right")
    halves = rows[0].between_halves
    if halves:
        table.add_column(f"real halves\n({halves['images']:,.0f} each)", justify="right")
    for name in TITLES:
        if any(name in row.scores for row in rows):
            floor = [f"{halves[name]:.4g}" if name in halves else "–"] if halves else []
            table.add_row(titled(name), *(_cell(row, name) for row in rows), *floor)
    if any(row.better_than_real for row in rows):
        table.caption, table.caption_justify = f"* {SUSPICIOUS}", "left"
    return table


def heading(passport: Passport) -> str:
    return f"{passport.n_fake:,} images against {passport.n_real:,} real ones"


def caption(passport: Passport) -> str:
    """The passport in a line."""
    parts = [passport.data, passport.features, passport.accuracies, f"seed {passport.seed}"]
    return " · ".join(part for part in parts if part)


def short(name: str) -> str:
    """A run folder's name as a column or an axis bears it: its beginning, and its end, which tells runs apart."""
    return name if len(name) <= SHORT else f"{name[: SHORT - 11]}…{name[-10:]}"


def titled(name: str) -> str:
    return f"{TITLES[name]} {'↓' if LOWER_IS_BETTER[name] else '↑'}"


def mark(row: Row, name: str) -> str:
    return "*" if name in row.better_than_real else ""


def _cell(row: Row, name: str) -> str:
    if name not in row.scores:
        return "–"
    text = f"{row.scores[name]:.4g}{mark(row, name)}"
    if name in row.intervals:
        text += "\n[{:.3g}, {:.3g}]".format(*row.intervals[name])
    return text
