"""What a model is scored by while it learns and when it is done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from src.core.errors import UserError
from src.data.base import ImageData
from src.data.training_images import real_images


class Scorer(Protocol):
    """Made once a run; it must not change what is trained.

    Attributes:
        identity: of what it scores by; scores of another are not to be compared.
        best: the score that tells the best checkpoint where the user asks for none; None: none does.
        result: what ``final`` found, in a line for the user; empty before.
    """

    identity: str
    result: str

    @property
    def best(self) -> str | None: ...

    def names(self, module: Any) -> tuple[Collection[str], Collection[str]]:
        """Of the scores that ``during`` gives, and of those that ``final`` gives."""
        ...

    def during(self, module: Any) -> Mapping[str, float]:
        """Scores by name, at an interval of images shown."""
        ...

    def final(self, module: Any, folder: Path) -> Mapping[str, float]:
        """Scores by name of the trained model; what else is to be told goes into ``folder``."""
        ...


class HeldOut:
    """Scores of a supervised model: ``val_…`` while it learns, where there are such images; at the end also ``test_…``,
    and beside them ``train_…``, how well it fits the real images that it learned from, where there are such.

    Args:
        train: real training images scored, at most, always the same of them, without augmentation; 0 for none.
        real_fraction: share of the training cases that is learned from.
        seed: of the choice of cases.
    """

    identity = "held out"
    best = None
    result = ""

    def __init__(self, data: ImageData, train: int, real_fraction: float, seed: int) -> None:
        learned = real_images(data, real_fraction, seed).draw(train)
        rest = {name: split for name, split in data.splits.items() if name != "train"}
        self.splits = rest | ({"train": learned} if len(learned) else {})

    def names(self, module: Any) -> tuple[list[str], list[str]]:
        """Raises UserError for a module that makes images, of which nothing is held out."""
        if not hasattr(module, "task"):
            raise UserError(
                f"scores=validation is for classifiers, U-Nets and detectors; {module.name} has scores=generator"
            )
        val, final = (
            [f"{split}_{score}" for split in splits for score in module.task.scores]
            for splits in (self._named("val"), [*self._named("val"), *self._at_the_end()])
        )
        return val, final

    def during(self, module: Any) -> dict[str, float]:
        return self._evaluate(module, "val")

    def final(self, module: Any, folder: Path) -> dict[str, float]:
        numbers = self._evaluate(module, "val")
        for name in self._at_the_end():
            numbers |= self._evaluate(module, name, folder)
        return numbers

    def _at_the_end(self) -> list[str]:
        return [*self._named("test"), *self._named("train")]

    def _named(self, start: str) -> list[str]:
        return [name for name in self.splits if name.startswith(start)]

    def _evaluate(self, module: Any, name: str, folder: Path | None = None) -> dict[str, float]:
        if name not in self.splits:
            return {}
        split = self.splits[name]
        predictions = list(module.predictions(split))
        if folder is not None:
            module.task.report(predictions, split, folder, name, module.evaluated)
        if folder is not None and (name == "test" or not self.result):
            cases = split.cases_or_files()
            of = f"{len(split):,} {name} images of {len(set(cases)):,} cases"
            self.result = f"{module.task.result(predictions, cases)} on {of}"
        return {f"{name}_{score}": value for score, value in module.task.evaluate(predictions).items()}


def check_names(best: str | None, objective: str | None, module: Any, scorer: Scorer | None) -> None:
    """Raise UserError, before anything is trained, where ``best`` or ``objective`` names nothing that will be known."""
    during, final = scorer.names(module) if scorer else ((), ())
    for key, name, names in (
        ("scores.best", best, set(during)),
        ("objective", objective, {*final, *module.metrics, "images_per_s", "lr"}),
    ):
        if name is not None and name not in names:
            raise UserError(f"{key}={name} is no number of this run: it has {', '.join(sorted(names)) or 'none'}")
