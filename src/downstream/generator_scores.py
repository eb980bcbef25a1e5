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
Floor = tuple[float, ...]  # likewise, or the value alone
FRECHET = ("fid", "frd")  # whose bias is another one at another number of images


class ScoredGenerator(NamedTuple):
    """What a generator is worth to the evaluator of a study."""

    scores: Mapping[str, Scored]  # those that have an interval
    passport: Passport
    better_than_real: Sequence[str]  # scores that beat those of as many unseen real images, beyond chance
    floors: Mapping[str, Mapping[str, Floor]]  # by what they are, real images' values of the scores


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
        found[name] = ScoredGenerator(scores, row.passport, fewer.better_than_real, _floors(row, floor))
    return found


def _floors(row: Row, real: Row | None) -> dict[str, dict[str, Floor]]:
    """What real images have where ``row`` has a score: unseen ones, and one half of the training images to the other.

    Fréchet distances are left out where they are of another number of images.
    """
    floors: dict[str, dict[str, Floor]] = {}
    if real is not None:
        left_out = () if real.passport.n_fake == row.passport.n_fake else FRECHET
        names = [name for name in row.intervals if name in real.intervals and name not in left_out]
        floors[f"{real.passport.n_fake:,} unseen real images"] = {
            name: (real.scores[name], *real.intervals[name]) for name in names
        }
    if row.between_halves:
        names = [name for name in row.intervals if name in row.between_halves and name not in FRECHET]
        title = f"one half of the training images against the other, {row.between_halves['images']:,.0f} each"
        floors[title] = {name: (row.between_halves[name],) for name in names}
    return floors
