"""Scores the generators of a study, all by one evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from src.data.base import ImageData
from src.scoring.evaluator import Evaluator
from src.scoring.passport import Passport
from src.scoring.report import Row
from src.scoring.rows import beside, extract_unseen, scored_row
from src.scoring.scores import Rules
from src.training.restore import TrainedRun

Scored = tuple[float, float, float]  # value, low and high of the 95% interval


class ScoredGenerator(NamedTuple):
    """What a generator is worth to the evaluator of a study."""

    scores: Mapping[str, Scored]  # those that have an interval
    passport: Passport
    better_than_real: Sequence[str]  # scores that beat those of as many unseen real images, beyond chance


def score_generators(
    generators: Mapping[str, TrainedRun], data: ImageData, classifier: Path | None, count: int, cache: str
) -> dict[str, ScoredGenerator]:
    """By name of the generator.

    Args:
        data: prepared; the training split are the real images.
        classifier: run folder of a classifier of the data, None where the data have no classes.
        count: images of each generator.

    FID is left out where there are too few images for it.

    Raises:
        UserError: the classifier is one of other data.
    """
    evaluator = Evaluator(data, None if classifier is None else str(classifier), "classifier", 0, 256, Rules(), cache)
    found: dict[str, ScoredGenerator] = {}
    floor: Row | None = None
    for name, run in generators.items():
        seen = evaluator.extract(evaluator.generated(run.module, count), name)  # moves the network to where the GAN is
        row = scored_row(evaluator, name, seen, module=run.module)
        if floor is None and (real := extract_unseen(evaluator, count)) is not None:
            floor = scored_row(evaluator, "real", real)
        fewer = row
        if floor is not None:
            if floor.passport.n_fake < count:
                fewer = scored_row(evaluator, name, seen.take(floor.passport.n_fake))
            fewer = beside(fewer, floor)
        scores = {key: (row.scores[key], *bounds) for key, bounds in row.intervals.items()}
        found[name] = ScoredGenerator(scores, row.passport, fewer.better_than_real)
    return found
