"""Scores the generators of a study, all by one judge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from src.data.base import ImageData
from src.scoring.judge import Judge
from src.scoring.passport import Passport
from src.scoring.scores import Rules
from src.training.restore import TrainedRun

Scored = tuple[float, float, float]  # value, low and high of the 95% interval


def score_generators(
    generators: Mapping[str, TrainedRun], data: ImageData, classifier: Path | None, count: int, cache: str
) -> dict[str, tuple[dict[str, Scored], Passport]]:
    """By name of the generator: its scores that have an interval, and their passport.

    Args:
        data: prepared; the training split are the real images.
        classifier: run folder of a classifier of the data, None where the data have no classes.
        count: images of each generator.

    FID is left out where there are too few images for it.

    Raises:
        UserError: the classifier is one of other data.
    """
    judge = Judge(data, None if classifier is None else str(classifier), "classifier", 0, 256, Rules(), cache)
    found = {}
    for name, run in generators.items():
        seen = judge.observe(judge.generated(run.module, count))
        values, intervals = judge.scores(seen), judge.intervals(seen)
        scores = {key: (values[key], *bounds) for key, bounds in intervals.items()}
        found[name] = scores, judge.passport(count, run.module)
    return found
