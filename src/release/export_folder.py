"""The folder of an exported data set: whose it is, whether it is whole, and who is writing it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from src.core import aside
from src.core.atomic import PARTIAL, remove_partials, write_atomically
from src.core.errors import UserError
from src.core.identity import first_difference

CARD = "dataset.json"
WRITTEN = ("images", "masks", "manifest.csv", "rejected.csv", "preview.png", "README.md", "croissant.json", CARD)


class DataSetFolder:
    """``card`` is the content of ``dataset.json``: ``complete``, the identity of the export, and facts about it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, made where it is missing; the system lets go of it when the process ends, however it ends.

        Raises:
            UserError: it cannot be written, or another process holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY)
        except OSError as problem:
            raise UserError(
                f"{self.path} cannot be written ({problem.strerror}): choose another out=<folder>"
            ) from problem
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._settle()
            yield
            self._settle()
        except BlockingIOError:
            raise UserError(
                f"{self.path} is in use by another process: wait for it, or choose another out=<folder>"
            ) from None
        except BaseException:
            with suppress(OSError):
                self._settle()
            raise
        finally:
            os.close(handle)

    def card(self) -> dict[str, Any]:
        path = self.path / CARD
        try:
            if not path.exists():
                return {}
            return {"units": "pixels", **json.loads(path.read_text())}  # which earlier versions did not say
        except (ValueError, TypeError) as problem:
            raise UserError(
                f"{path} is damaged: restore it, delete {self.path} to export anew, or choose another out=<folder>"
            ) from problem

    def write_card(self, card: Mapping[str, Any]) -> None:
        write_atomically(self.path / CARD, json.dumps(card, indent=1))

    def claim(self, identity: Mapping[str, Any], force: bool) -> None:
        """Make sure that the folder is new or holds the export of this ``identity``; ``force`` clears another.

        One without an image, of which all were rejected, is cleared too.

        Raises:
            UserError: it holds another export, or, ``force`` or not, anything that is no export.
        """
        card = self.card()
        found = first_difference({key: card.get(key) for key in identity}, identity) if card else None
        replaces = bool(card) and (force or (found is not None and not self._has_images()))
        others = [path.name for path in self.path.iterdir() if not (card and path.name in WRITTEN)]
        others = [name for name in others if not name.endswith(PARTIAL)]  # left by a kill
        if others and (replaces or not card):
            raise UserError(f"{self.path} holds {others[0]}, which no export wrote: choose another out=<folder>")
        remove_partials(self.path)
        if replaces:
            aside.set_aside(self.path, ())
        elif found:
            key, was, now = found
            raise UserError(
                f"{self.path} holds another data set ({key} was {was}, now {now}): choose another out=<folder>, "
                "or replace it with force=true"
            )

    def _settle(self) -> None:
        """What ``force`` replaces is deleted when its successor has an image, else it comes back."""
        if aside.is_pending(self.path):
            aside.settle(self.path, (), self._has_images())

    def _has_images(self) -> bool:
        return (self.path / "images").is_dir() and any((self.path / "images").iterdir())
