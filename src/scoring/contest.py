"""An evaluation: a set of images between its floor, unseen real images, and its ceiling, noise."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from src.data.base import ImageData
from src.scoring.judge import Judge
from src.scoring.observation import Observation, noise_batches, shuffled, split_batches
from src.scoring.reference import held_out
from src.scoring.report import Row, by_size
from src.scoring.scores import FEWEST
from src.scoring.subject import Subject

SHOWN = 64  # images in a picture


def sizes(data: ImageData, count: int) -> list[int]:
    """The numbers of images that ``hold`` scores, the most first."""
    unseen = held_out(data)
    fewer = 0 if unseen is None else len(data.split(unseen))
    return [count, fewer] if FEWEST <= fewer < count else [count]


def check_against(judge: Judge, subject: Subject, count: int, others: Sequence[Sequence[Row]]) -> None:
    """Raise UserError where the scores that ``hold`` will give are not comparable with ``others``, scored earlier.

    Before anything is scored: all but the classifier's accuracy is known by then.
    """
    passports = [judge.passport(size, subject.module, measured=False) for size in sizes(judge.data, count)]
    by_size([Row(subject.name, {}, {}, passport) for passport in passports], others, unknown=("accuracy",))


def hold(judge: Judge, subject: Subject, count: int, with_intervals: bool) -> tuple[list[Row], dict[str, Tensor]]:
    """Rows of scores, and by title images (N, C, H, W) uint8 to show.

    Where there are fewer unseen real images than ``count``, all sets are scored a second time with as many: scores
    depend on the number of images, and the floor is one for its own number only.
    """
    shape = judge.data.description.shape
    subjects = judge.observe(subject.batches(judge, count))
    noise = judge.observe(noise_batches(count, judge.seed, shape, judge.batch_size))
    samples = {subject.name: subjects.pictures[:SHOWN]}

    def row(name: str, seen: Observation, module: object = None) -> Row:
        size = len(seen.features)
        intervals = judge.intervals(seen) if with_intervals else {}
        return Row(name, judge.scores(seen), intervals, judge.passport(size, module))

    rows = [row(subject.name, subjects, subject.module)]
    unseen = held_out(judge.data)
    if unseen is not None and len(judge.data.split(unseen)) >= FEWEST:
        split = shuffled(judge.data.split(unseen), judge.seed, count)
        real = judge.observe(split_batches(split, judge.batch_size))
        samples[f"real ({unseen})"] = real.pictures[:SHOWN]
        rows.append(row(f"real ({unseen})", real))
        if len(split) < count:
            rows += [row(subject.name, subjects.take(len(split)), subject.module), row("noise", noise.take(len(split)))]
    rows.append(row("noise", noise))
    return rows, samples
