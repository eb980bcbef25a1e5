"""Runs as the reports see them: read from the files of a run folder (docs/run-folder.md), and nothing but those."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from omegaconf import OmegaConf

from src.errors import UserError
from src.run_folder import FREE_SETTINGS

MISSING = "\N{EN DASH}"  # stands wherever a run has no such value
UNFINISHED = ("failed", "interrupted", "damaged")
IDENTITY = ("root", "images", "classes")  # keys of a data set that, where asked for, make it another


@dataclass(frozen=True, eq=False)
class Run:
    """One run folder. What its files do not say is empty; an unreadable file makes the state ``damaged``."""

    folder: Path
    config: dict[str, Any]
    overrides: list[str]
    metrics: dict[str, np.ndarray]  # column name → one float per row, NaN where the row has no number
    summary: dict[str, Any]  # of a run that is done; what an earlier, shorter visit left counts for nothing
    status: dict[str, Any]
    samples: dict[int, Path]  # real images shown → sample grid, in that order

    @property
    def asked(self) -> dict[str, str]:
        """The overrides by key, as on the command line."""
        pairs = (override.lstrip("+").partition("=") for override in self.overrides)
        return {key: value for key, equals, value in pairs if equals}

    @property
    def model(self) -> str:
        return self._choice("model")

    @property
    def lr(self) -> float | None:
        """The learning rate, or None where neither the configuration nor an override gives ``optim.lr``."""
        try:
            return float(str(self.setting("optim.lr")))
        except ValueError:
            return None

    @property
    def data(self) -> tuple[str, ...]:
        """What identifies the data set: its name, its location where one was asked for, its resolution."""
        asked = tuple(self.asked[key] for key in (f"data.{name}" for name in IDENTITY) if key in self.asked)
        resolution = self.setting("data.resolution")
        return (self._choice("data"), *asked, *([f"{resolution} px"] if resolution != MISSING else []))

    @property
    def state(self) -> str:
        return str(self.status.get("state", "unknown"))

    @property
    def reason(self) -> str:
        return str(self.status.get("reason") or "no reason was recorded")

    @property
    def warnings(self) -> list[str]:
        warnings = self.status.get("warnings") or []
        return [str(warning) for warning in (warnings if isinstance(warnings, list) else [warnings])]

    @property
    def real(self) -> Path | None:
        """The grid of real images, or None."""
        path = self.folder / "samples" / "real.png"
        return path if path.is_file() else None

    @property
    def final(self) -> dict[str, float]:
        """The numbers of ``summary["final"]``; of a run that is not done, the last row of its metrics."""
        final = self.summary.get("final")
        if isinstance(final, dict):
            return {str(key): float(value) for key, value in final.items() if is_number(value)}
        return {key: float(column[-1]) for key, column in self.metrics.items() if np.isfinite(column[-1:]).any()}

    @property
    def images(self) -> float | None:
        """Real images shown, or None where no file says."""
        candidates = (self.summary.get("images"), self.status.get("images"), self.final.get("images"))
        return next((float(value) for value in candidates if is_number(value)), None)

    @property
    def speed(self) -> float | None:
        """Images per second: the median over the logging intervals, so that one of them with a pause says little."""
        values = self.metrics.get("images_per_s", np.empty(0))
        return float(np.nanmedian(values)) if np.isfinite(values).any() else None

    def setting(self, key: str) -> Any:
        """The value of a dotted key: from the configuration where it is a plain value there, else as asked for."""
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return self.asked.get(key, MISSING) if value is None or isinstance(value, dict) else value

    def variability(self, column: str) -> float | None:
        """Standard deviation of a column over the second half of the images shown; None with fewer than two rows."""
        if column not in self.metrics or not len(self.metrics[column]):
            return None
        images, values = self.metrics["images"], self.metrics[column]
        late = values[(images >= images.max() / 2) & np.isfinite(values)]
        return float(late.std()) if len(late) > 1 else None

    def _choice(self, group: str) -> str:
        section = self.config.get(group)
        if isinstance(section, str):
            return section
        section = section if isinstance(section, dict) else {}
        target = str(section.get("_target_", "")).rpartition(".")[2]
        return str(section.get("name") or self.asked.get(group) or target or MISSING)


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def format_lr(lr: float | None) -> str:
    """A learning rate as people write it: 2e-4."""
    if lr is None or not math.isfinite(lr) or lr == 0:
        return MISSING if lr is None else f"{lr:g}"
    digits, _, exponent = f"{lr:.3e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def find_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Every run in or below the paths, once each, ordered by data set, model, learning rate and folder.

    A run folder has a ``config.yaml`` and a ``status.json``; hidden folders are skipped. Raises UserError where a path
    is no folder.
    """
    folders: dict[Path, Path] = {}  # resolved → as given
    for path in map(Path, paths):
        if not path.is_dir():
            raise UserError(f"{path} is no folder: give a run folder, or a folder with runs such as outputs/<sweep>")
        folders.update((folder.resolve(), folder) for folder in _run_folders(path))
    runs = [read_run(folder) for folder in folders.values()]
    return sorted(runs, key=lambda run: (run.data, run.model, run.lr or 0.0, str(run.folder)))


def _run_folders(top: Path) -> list[Path]:
    found = []
    for folder, below, files in os.walk(top):
        below[:] = [name for name in below if not name.startswith(".")]
        if {"config.yaml", "status.json"} <= set(files):
            found.append(Path(folder))
            below.clear()
    return found


def read_run(folder: Path) -> Run:
    """Read one run folder. Never raises for what is in it: a file that cannot be read becomes the run's reason."""
    problems: list[str] = []

    def read(name: str, reader: Callable[[Path], Any], kind: type) -> Any:
        path = folder / name
        if not path.is_file():
            return kind()
        try:
            content = reader(path)
            if not isinstance(content, kind):
                raise ValueError(f"holds no {kind.__name__}")
        except Exception as error:  # the run is listed with it
            problems.append(f"{name} cannot be read: {' '.join(str(error).split())}")
            return kind()
        return content

    status = read("status.json", _read_json, dict)
    summary = read("summary.json", _read_json, dict)
    run = Run(
        folder=folder,
        config=read("config.yaml", _read_yaml, dict),
        overrides=[str(override) for override in read("overrides.json", _read_json, list)],
        metrics=read("metrics.csv", _read_metrics, dict),
        summary=summary if status.get("state") == "done" else {},
        status=status,
        samples=_find_samples(folder / "samples"),
    )
    if problems:
        run.status.update(state="damaged", reason="; ".join(problems))
    return run


def _read_yaml(path: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_metrics(path: Path) -> dict[str, np.ndarray]:
    """Columns of floats; rows without an image count (an unfinished last line) are left out."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    if "images" not in header:
        return {}
    rows = [[_float(line[i]) if i < len(line) else math.nan for i in range(len(header))] for line in lines]
    table = np.array(rows, dtype=float).reshape(len(rows), len(header))
    table = table[np.isfinite(table[:, header.index("images")])]
    return {name: table[:, i] for i, name in enumerate(header)}


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _find_samples(folder: Path) -> dict[int, Path]:
    paths = (path for path in folder.glob("*.png") if path.stem.isdecimal())
    return {int(path.stem): path for path in sorted(paths, key=lambda path: int(path.stem))}


def group_by_data(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by data set, in the order given: what is not of one data set is not compared."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(run.data, []).append(run)
    return {" · ".join(data): members for data, members in groups.items()}


def differing_settings(runs: Sequence[Run]) -> list[str]:
    """Keys, beside model, learning rate and data set, that were overridden to values that differ among the runs.

    Those that change nothing of what is trained are left out: where a run lies, what is written, how it is scored.
    """
    ignored = {"model", "optim.lr", "data", *(f"data.{name}" for name in IDENTITY)}
    keys = dict.fromkeys(key for run in runs for key in run.asked if key not in ignored)
    trained = [key for key in keys if re.split(r"[./]", key)[0] not in {"hydra", *FREE_SETTINGS}]
    return [key for key in trained if len({str(run.setting(key)) for run in runs}) > 1]


def label_parts(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Per run: model, learning rate, settings that differ, and the folder's name where that is not enough."""
    keys = differing_settings(runs)
    labels = [
        (
            run.model,
            f"lr {format_lr(run.lr)}",
            *(f"{key.rpartition('.')[2]} {run.setting(key)}" for key in keys),
        )
        for run in runs
    ]
    return [
        (*label, run.folder.name) if labels.count(label) > 1 else label for run, label in zip(runs, labels, strict=True)
    ]


def sample_points(runs: Sequence[Run], most: int = 5) -> list[int]:
    """At most ``most`` image counts at which the finished runs all have samples; the first and the last always."""
    every = [set(run.samples) for run in runs if run.samples]
    if not every:
        return []
    finished = [set(run.samples) for run in runs if run.samples and run.state == "done"] or every
    shared, union = set.intersection(*finished), set.union(*every)
    points = sorted(shared | {min(union), max(union)} if len(shared) > 1 else union)
    if len(points) <= most:
        return points
    targets = np.linspace(points[0], points[-1], most)
    return sorted({min(points, key=lambda point: abs(point - target)) for target in targets})
