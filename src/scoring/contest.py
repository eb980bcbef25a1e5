"""An evaluation: a set of images between its floor, unseen real images, and its ceiling, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from src.data.base import ImageData
from src.metrics.intervals import differs
from src.scoring.judge import Judge
from src.scoring.observation import Observation, noise_batches, shuffled, split_batches
from src.scoring.passport import MEASURED
from src.scoring.reference import held_out
from src.scoring.report import Row, by_size
from src.scoring.scores import FEWEST, compute_intervals
from src.scoring.subject import Subject
from src.scoring.titles import LOWER_IS_BETTER

SHOWN = 64  # images in a picture


def sizes(data: ImageData, count: int) -> list[int]:
    """The numbers of images that ``hold`` scores, the most first."""
    unseen = held_out(data)
    fewer = 0 if unseen is None else len(data.split(unseen))
    return [count, fewer] if FEWEST <= fewer < count else [count]


def check_against(judge: Judge, subject: Subject, count: int, others: Sequence[Sequence[Row]]) -> None:
    """Raise UserError where the scores that ``hold`` will give are not comparable with ``others``, scored earlier.

    Before anything is scored: all but the classifier's accuracies are known by then.
    """
    passports = [judge.passport(size, subject.module, measured=False) for size in sizes(judge.data, count)]
    by_size([Row(subject.name, {}, {}, passport) for passport in passports], others, unknown=MEASURED)


def hold(judge: Judge, subject: Subject, count: int, with_intervals: bool) -> tuple[list[Row], dict[str, Tensor]]:
    """Rows of scores, and by title images (N, C, H, W) uint8 to show.

    Where there are fewer unseen real images than ``count``, all sets are scored a second time with as many: scores
    depend on the number of images, and the floor is one for its own number only.
    """
    shape = judge.data.description.shape
    subjects = judge.observe(subject.batches(judge, count), subject.name)
    noise = judge.observe(noise_batches(count, judge.seed, shape, judge.batch_size), "noise")
    samples = {subject.name: subjects.pictures[:SHOWN]}

    def row(name: str, seen: Observation, module: object = None) -> Row:
        return judged(judge, name, seen, with_intervals, module)

    rows = [row(subject.name, subjects, subject.module), row("noise", noise)]
    real = observe_unseen(judge, count)
    if real is not None:
        title = f"real ({held_out(judge.data)})"
        samples[title] = real.pictures[:SHOWN]
        floor, size = row(title, real), len(real.features)
        if size == count:
            rows = [beside(rows[0], floor), floor, beside(rows[1], floor)]
        else:
            fewer = row(subject.name, subjects.take(size), subject.module), row("noise", noise.take(size))
            rows = [rows[0], floor, *(beside(other, floor) for other in fewer), rows[1]]
    return rows, samples


def judged(judge: Judge, name: str, seen: Observation, with_intervals: bool = True, module: object = None) -> Row:
    """The scores of a set of images; ``module`` is the GAN that made them, None for images without one."""
    scores = judge.scores(seen)
    resampled = judge.resample(seen, scores) if with_intervals else {}
    intervals, passport = compute_intervals(scores, resampled), judge.passport(len(seen.features), module)
    return Row(name, scores, intervals, passport, resampled=resampled)


def observe_unseen(judge: Judge, count: int) -> Observation | None:
    """``count`` real images that nothing learned from, or all; None where they are too few to be scored."""
    unseen = held_out(judge.data)
    if unseen is None or len(judge.data.split(unseen)) < FEWEST:
        return None
    split = shuffled(judge.data.split(unseen), judge.seed, count)
    return judge.observe(split_batches(split, judge.batch_size), f"real {unseen}", split.cases)


def beside(row: Row, floor: Row) -> Row:
    """``row``, with the scores in which it is better than ``floor``, unseen real images, by more than chance."""

    def better(name: str) -> bool:
        ours, theirs = row.scores[name], floor.scores[name]
        ahead = ours < theirs if LOWER_IS_BETTER[name] else ours > theirs
        return ahead and differs(ours, row.resampled[name], theirs, floor.resampled[name])

    return replace(row, better_than_real=[name for name in row.resampled if better(name)])
