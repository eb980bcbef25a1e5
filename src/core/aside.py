"""Replaces what is in a folder without losing it: it waits in a hidden folder until its successor has saved something.

Each step is one renaming, so that a kill between any two leaves a state from which ``settle`` goes on.
"""

from __future__ import annotations

import shutil
from pathlib import Path

MOVING, ASIDE, GONE = ".moving", ".replaced", ".deleted"  # in this order
STAGES = (MOVING, ASIDE, GONE)


def set_aside(folder: Path, stay: tuple[str, ...]) -> None:
    """Hide all that ``folder`` holds but the names in ``stay``."""
    (folder / MOVING).mkdir()
    _move(folder, folder / MOVING, stay)
    (folder / MOVING).rename(folder / ASIDE)


def settle(folder: Path, stay: tuple[str, ...], has_successor: bool) -> None:
    """Delete what was set aside where it ``has_successor``, else put it back in the place of what was begun."""
    if (folder / GONE).exists():
        shutil.rmtree(folder / GONE)
    if (folder / MOVING).exists():
        _put_back(folder, MOVING)
    if not (folder / ASIDE).exists():
        return
    if has_successor:
        (folder / ASIDE).rename(folder / GONE)
        shutil.rmtree(folder / GONE)
        return
    for path in folder.iterdir():
        if path.name not in (*stay, *STAGES):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (folder / ASIDE).rename(folder / MOVING)  # what is moved back already is not deleted should a kill come in between
    _put_back(folder, MOVING)


def is_pending(folder: Path) -> bool:
    return any((folder / stage).exists() for stage in STAGES)


def _put_back(folder: Path, stage: str) -> None:
    _move(folder / stage, folder, ())
    (folder / stage).rmdir()


def _move(source: Path, target: Path, stay: tuple[str, ...]) -> None:
    for path in list(source.iterdir()):
        if path.name not in (*stay, *STAGES):
            path.rename(target / path.name)
