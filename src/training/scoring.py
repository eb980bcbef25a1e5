"""What a model is scored by while it learns and when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from src.data.base import ImageData
from src.errors import UserError


class Scorer(Protocol):
    """Made once a run; it must not change what is trained.

    Attributes:
        identity: of what it scores by; scores of another are not to be compared.
    """

    identity: str

    def during(self, module: Any) -> Mapping[str, float]:
        """Scores by name, at an interval of images shown."""
        ...

    def final(self, module: Any, folder: Path) -> Mapping[str, float]:
        """Scores by name of the trained model; what else is to be told goes into ``folder``."""
        ...


class HeldOut:
    """Scores of a supervised model: ``val_…`` while it learns, where there are such images, ``test_…`` at the end."""

    identity = "held out"

    def __init__(self, data: ImageData) -> None:
        self.splits = data.splits

    def during(self, module: Any) -> dict[str, float]:
        return self._evaluate(module, "val")

    def final(self, module: Any, folder: Path) -> dict[str, float]:
        tests = [name for name in self.splits if name.startswith("test")]
        return self._evaluate(module, "val") | {
            key: value for name in tests for key, value in self._evaluate(module, name, folder).items()
        }

    def _evaluate(self, module: Any, name: str, folder: Path | None = None) -> dict[str, float]:
        if name not in self.splits:
            return {}
        split = self.splits[name]
        predictions = list(module.predictions(split))
        if folder is not None:
            module.task.report(predictions, split, folder, name, module.evaluated)
        return {f"{name}_{score}": value for score, value in module.task.evaluate(predictions).items()}


def pick(scores: Mapping[str, float], name: str) -> float:
    """The score of that name. Raises UserError with the names there are."""
    if name not in scores:
        raise UserError(f"there is no score {name!r}: this run has {', '.join(sorted(scores)) or 'none'}")
    return scores[name]
