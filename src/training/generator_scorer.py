"""Scores a GAN while it learns and when it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from src.atomic import write_atomically
from src.data.base import ImageData
from src.scoring.judge import Judge
from src.scoring.report import Row, as_json
from src.scoring.scores import Rules


class GeneratorScorer:
    """A ``Scorer`` (``src.training.scoring``): images of always the same latents against the training split.

    Args:
        count: images generated each time.
        kid_subset, allow_small: see ``Rules``.

    The others are those of ``Judge``.

    Raises:
        UserError: the classifier does not fit the data, or there are too few images: at the start, not after hours.
    """

    def __init__(
        self,
        data: ImageData,
        classifier: str | None,
        features: str,
        count: int,
        seed: int,
        batch_size: int,
        kid_subset: int | None,
        allow_small: bool,
        cache: str,
    ) -> None:
        rules = Rules(kid_subset, allow_small, prefix="scores.")
        self.count = count
        self.judge = Judge(data, classifier, features, seed, batch_size, rules, cache)
        self.judge.check(count)
        self.identity = f"{self.judge.space.digest()} count={count} seed={seed} kid_subset={kid_subset}"

    def names(self, module: Any) -> tuple[list[str], list[str]]:
        names = self.judge.names(self.count)
        return names, names

    def during(self, module: Any) -> dict[str, float]:
        return self.judge.scores(self.judge.observe(self.judge.generated(module, self.count)))

    def final(self, module: Any, folder: Path) -> dict[str, float]:
        """As ``during``; ``folder`` gets ``scores.json``, with intervals and passport."""
        seen = self.judge.observe(self.judge.generated(module, self.count))
        scores = self.judge.scores(seen)
        passport = self.judge.passport(self.count, module)
        row = Row(folder.absolute().name, scores, self.judge.intervals(seen), passport)
        write_atomically(folder / "scores.json", json.dumps(as_json([row]), indent=1))
        return scores
