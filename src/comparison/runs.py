"""Runs as the reports see them: read from the files of a run folder (docs/run-folder.md), and nothing but those."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import yaml

from src.comparison.loss_text import Loss, loss_of
from src.core.errors import UserError
from src.core.locks import is_held
from src.core.run_folder import LOCK

MISSING = "\N{EN DASH}"  # stands wherever a run has no such value
LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # the one in C reads 150 runs in the time the other takes for ten
UNFINISHED = ("failed", "interrupted", "requeued", "cancelled", "damaged")
KILLED = "its process ended without a word (killed, or a power cut): the same command goes on"
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
    def seconds(self) -> float | None:
        """Time that the whole training took, or None where it is not done."""
        seconds = self.summary.get("seconds")
        return float(seconds) if is_number(seconds) else None

    @property
    def speed(self) -> float | None:
        """Images per second: the median over the logging intervals, so that one of them with a pause says little."""
        values = self.metrics.get("images_per_s", np.empty(0))
        return float(np.nanmedian(values)) if np.isfinite(values).any() else None

    @property
    def loss(self) -> Loss | None:
        """What it minimises, or None where the configuration does not say."""
        model = self.config.get("model")
        return loss_of(model) if isinstance(model, dict) else None

    @property
    def makes_images(self) -> bool:
        model = self.config.get("model")
        return isinstance(model, dict) and "generator" in model

    def setting(self, key: str) -> Any:
        """The value of a dotted key: what the configuration says, else what was asked for.

        Of a choice, which the configuration holds as many values, it is what was asked for; of a loss, its text.
        """
        if key == "loss" and self.loss:
            return self.loss.text
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
        return self.asked.get(key, MISSING) if value == MISSING or self.is_choice(key) else value

    def is_choice(self, key: str) -> bool:
        """Whether ``key`` is a group of ``conf/``, of which the configuration does not say which was chosen."""
        if key == "loss":
            return self.loss is None
        return "." not in key and (key not in self.config or isinstance(self.config[key], dict))

    def variability(self, column: str) -> float | None:
        """Standard deviation of a column over the second half of the images shown; None with fewer than two rows."""
        if column not in self.metrics:
            return None
        values = self.metrics[column][self._late]
        values = values[np.isfinite(values)]
        return float(values.std()) if len(values) > 1 else None

    @property
    def interval(self) -> float | None:
        """Optimisation steps between two rows of the second half of the images shown; None where no file says."""
        images = self.metrics.get("images", np.empty(0))[self._late]
        model = self.config.get("model")
        schedule = model.get("schedule") if isinstance(model, dict) else None
        size = schedule.get("batch_size", schedule.get("batch_sizes")) if isinstance(schedule, dict) else None
        if isinstance(size, dict) and size:  # by resolution: the last one trains for longest
            size = size[max(size)]
        return float(np.diff(images).mean() / size) if is_number(size) and len(images) > 1 else None

    @property
    def _late(self) -> np.ndarray:
        """Which rows of the metrics are of the second half of the images shown."""
        images = self.metrics.get("images", np.empty(0))
        return images >= images.max(initial=0) / 2

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
    if run.state == "running" and (folder / LOCK).exists() and not is_held(folder / LOCK):
        run.status.update(state="interrupted", reason=KILLED)
    if problems:
        run.status.update(state="damaged", reason="; ".join(problems))
    return run


def _read_yaml(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), LOADER)


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


def sample_points(runs: Sequence[Run], most: int = 5) -> list[int]:
    """At most ``most`` image counts at which the finished runs all have samples; the last always, then the first."""
    every = [set(run.samples) for run in runs if run.samples]
    if not every:
        return []
    finished = [set(run.samples) for run in runs if run.samples and run.state == "done"] or every
    shared, union = set.intersection(*finished), set.union(*every)
    points = sorted(shared | {min(union), max(union)} if len(shared) > 1 else union)
    if len(points) <= most:
        return points
    targets = np.linspace(points[-1], points[0], most)
    return sorted({min(points, key=lambda point: abs(point - target)) for target in targets})
