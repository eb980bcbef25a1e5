"""Why a job failed, told to the process that started it: also of a job that was not let into its run folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from src.core.atomic import write_atomically

NOTES = ".failed"  # beside the run folders


def note(run: Path, reason: str) -> None:
    notes = run.parent / NOTES
    notes.mkdir(exist_ok=True)
    write_atomically(notes / run.name, reason)


def reason_of(run: Path) -> str | None:
    """What was noted of a run that was started a moment ago."""
    path = run.parent / NOTES / run.name
    return path.read_text() if path.is_file() else None


def all_below(folder: Path) -> dict[Path, str]:
    """What was noted of the runs anywhere below ``folder``."""
    paths = (path for path in folder.glob(f"**/{NOTES}/*") if not path.name.startswith("."))
    return {path.parents[1] / path.name: path.read_text() for path in sorted(paths)}


def forget(run: Path) -> None:
    """Before it is started, and when its reason was read."""
    notes = run.parent / NOTES
    (notes / run.name).unlink(missing_ok=True)
    if notes.is_dir() and not any(notes.iterdir()):
        shutil.rmtree(notes, ignore_errors=True)
