"""The rows of an evaluation: a set of images between its floor, unseen real images, and its ceiling, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from src.data.base import ImageData
from src.metrics.intervals import differs
from src.scoring.evaluator import Evaluator
from src.scoring.image_features import ImageFeatures, noise_batches, shuffled, split_batches
from src.scoring.image_source import ImageSource
from src.scoring.passport import MEASURED
from src.scoring.reference import held_out
from src.scoring.report import Row, by_size
from src.scoring.scores import FEWEST, compute_intervals
from src.scoring.titles import LOWER_IS_BETTER

SHOWN = 64  # images in a picture


def sizes(data: ImageData, count: int) -> list[int]:
    """The numbers of images that ``score_beside`` scores, the most first."""
    unseen = held_out(data)
    fewer = 0 if unseen is None else len(data.split(unseen))
    return [count, fewer] if FEWEST <= fewer < count else [count]


def check_against(evaluator: Evaluator, source: ImageSource, count: int, others: Sequence[Sequence[Row]]) -> None:
    """Raise UserError where the scores of ``score_beside`` will not be comparable with ``others``, scored earlier.

    Before anything is scored: all but the classifier's accuracies are known by then.
    """
    passports = [evaluator.passport(size, source.module, measured=False) for size in sizes(evaluator.data, count)]
    by_size([Row(source.name, {}, {}, passport) for passport in passports], others, unknown=MEASURED)


def score_beside(
    evaluator: Evaluator, source: ImageSource, count: int, with_intervals: bool
) -> tuple[list[Row], dict[str, Tensor]]:
    """Rows of scores, and by title images (N, C, H, W) uint8 to show.

    Where there are fewer unseen real images than ``count``, all sets are scored a second time with as many: scores
    depend on the number of images, and the floor is one for its own number only.
    """
    shape = evaluator.data.description.shape
    found = evaluator.extract(source.batches(evaluator, count), source.name)
    noise = evaluator.extract(noise_batches(count, evaluator.seed, shape, evaluator.batch_size), "noise")
    samples = {source.name: found.pictures[:SHOWN]}

    def row(name: str, seen: ImageFeatures, module: object = None) -> Row:
        return scored_row(evaluator, name, seen, with_intervals, module)

    rows = [row(source.name, found, source.module), row("noise", noise)]
    real = extract_unseen(evaluator, count)
    if real is not None:
        title = f"real ({held_out(evaluator.data)})"
        samples[title] = real.pictures[:SHOWN]
        floor, size = row(title, real), len(real.features)
        if size == count:
            rows = [beside(rows[0], floor), floor, beside(rows[1], floor)]
        else:
            fewer = row(source.name, found.take(size), source.module), row("noise", noise.take(size))
            rows = [rows[0], floor, *(beside(other, floor) for other in fewer), rows[1]]
    return rows, samples


def scored_row(
    evaluator: Evaluator, name: str, seen: ImageFeatures, with_intervals: bool = True, module: object = None
) -> Row:
    """The scores of a set of images; ``module`` is the GAN that made them, None for images without one."""
    scores = evaluator.scores(seen)
    resampled = evaluator.resample(seen, scores) if with_intervals else {}
    intervals, passport = compute_intervals(scores, resampled), evaluator.passport(len(seen.features), module)
    halves = evaluator.between_halves if with_intervals else {}
    return Row(name, scores, intervals, passport, resampled=resampled, between_halves=halves)


def extract_unseen(evaluator: Evaluator, count: int) -> ImageFeatures | None:
    """``count`` real images that nothing learned from, or all; None where they are too few to be scored."""
    unseen = held_out(evaluator.data)
    if unseen is None or len(evaluator.data.split(unseen)) < FEWEST:
        return None
    split = shuffled(evaluator.data.split(unseen), evaluator.seed, count)
    return evaluator.extract(split_batches(split, evaluator.batch_size), f"real {unseen}", split.cases)


def beside(row: Row, floor: Row) -> Row:
    """``row``, with the scores in which it is better than ``floor``, unseen real images, by more than chance."""

    def better(name: str) -> bool:
        ours, theirs = row.scores[name], floor.scores[name]
        ahead = ours < theirs if LOWER_IS_BETTER[name] else ours > theirs
        return ahead and differs(ours, row.resampled[name], theirs, floor.resampled[name])

    return replace(row, better_than_real=[name for name in row.resampled if better(name)])
