"""Scores a GAN while it learns and when it is done."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.core.atomic import write_atomically
from src.core.errors import UserError
from src.data.base import ImageData
from src.data.fingerprint import DataRecord
from src.scoring.evaluator import Evaluator
from src.scoring.found_classifier import find_classifier
from src.scoring.image_features import ImageFeatures
from src.scoring.report import as_json
from src.scoring.rows import scored_row
from src.scoring.scores import Rules
from src.scoring.titles import TITLES, FurtherScore

log = logging.getLogger(__name__)


def scorer_if_found(data: ImageData, outputs: str, classifier: str | None, **settings: Any) -> GeneratorScorer | None:
    """A ``GeneratorScorer`` by the classifier of these data that is found in ``outputs``; None where there is none.

    ``classifier`` is one that is named; then none is looked for.
    """
    if classifier is None:
        if len(data.description.classes) < 2:
            return None
        found = find_classifier(Path(outputs), DataRecord.of(data).fingerprint)
        if found is None:
            return None
        classifier = str(found)
    try:
        scorer = GeneratorScorer(data, classifier, **settings)
    except UserError as problem:
        log.warning(f"not scored by {classifier}: {problem}")
        return None
    log.info(f"scored by {classifier}, a classifier of these data (scores=none: not scored)")
    return scorer


class GeneratorScorer:
    """A ``Scorer`` (``src.training.scoring``): images of always the same latents against the training split.

    Args:
        count: images generated each time.
        kid_subset, allow_small: see ``Rules``.

    The others are those of ``Evaluator``.

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
        also: Mapping[str, FurtherScore] | None = None,
    ) -> None:
        rules = Rules(kid_subset, allow_small, prefix="scores.")
        self.count, self.result = count, ""
        self.evaluator = Evaluator(data, classifier, features, seed, batch_size, rules, cache, also)
        if left_out := self.evaluator.check(count):
            log.warning(left_out)
        self.identity = f"{self.evaluator.extractor.digest()} count={count} seed={seed} kid_subset={kid_subset}"
        self.identity += f" also={sorted(self.evaluator.also)}" if also else ""

    @property
    def best(self) -> str:
        """The score that tells the best checkpoint: FID or FRD, or KID where there are too few images for it."""
        return next(name for name in ("fid", "frd", "kid") if name in self.evaluator.names(self.count))

    def names(self, module: Any) -> tuple[list[str], list[str]]:
        """Raises UserError for a module that makes no images."""
        if not hasattr(module, "latent"):
            raise UserError(
                f"scores=generator is for generators; {module.name} makes no images, and has scores=validation"
            )
        names = self.evaluator.names(self.count)
        return names, names

    def during(self, module: Any) -> dict[str, float]:
        return self.evaluator.scores(self._extract(module))

    def final(self, module: Any, folder: Path) -> dict[str, float]:
        """As ``during``; ``folder`` gets ``scores.json``, with intervals and passport."""
        row = scored_row(self.evaluator, folder.absolute().name, self._extract(module), module=module)
        write_atomically(folder / "scores.json", json.dumps(as_json([row]), indent=1))
        self.result = " · ".join(
            f"{TITLES[name]} {value:.4g}{_between(row.intervals.get(name))}" for name, value in row.scores.items()
        )
        return dict(row.scores)

    def _extract(self, module: Any) -> ImageFeatures:
        return self.evaluator.extract(self.evaluator.generated(module, self.count), "generated")


def _between(ends: tuple[float, float] | None) -> str:
    return f" ({ends[0]:.4g} to {ends[1]:.4g})" if ends else ""
