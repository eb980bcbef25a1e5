"""Which set each image is of, as numbers, as a table and as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from src.identification.evaluation import Evaluation, alike, unknown
from src.identification.rules import RULES, bests, means
from src.identification.sets import ImageSet
from src.metrics.similarity import MEASURES

UNKNOWN = "unknown"
SHOWN = 20  # rows of a table
COPY = 1e-5  # that the SSIM of a copy may lack to 1, by rounding


@dataclass(frozen=True)
class Answer:
    file: str
    named: str  # a set, or ``UNKNOWN``
    nearest_set: str  # the answer, were it not unknown
    margin: float  # by which the rule's score exceeds that of the next set
    copy: bool  # whether a reference has its pixels
    mean: dict[str, float]  # SSIM to the references of each set
    best: dict[str, float]
    nearest: dict[str, str]  # the file of it


def answer(
    files: Sequence[str], images: Tensor, sets: Sequence[ImageSet], measure: str, rule: str, among: Tensor,
    limits: Sequence[float],
) -> list[Answer]:  # fmt: skip
    """Args: ``among``, (M, M) how alike the references are by ``measure``; ``limits``, of each set for "unknown".

    An image with the pixels of a reference is of its set, whatever the rule says of it beside the others.
    """
    references = torch.cat([each.references for each in sets])
    owner = torch.cat([torch.full((len(s.references),), number) for number, s in enumerate(sets)])
    ssim = alike(MEASURES["ssim"], images, references)
    used = ssim if measure == "ssim" else alike(MEASURES[measure], images, references)
    copy = ssim > 1 - COPY
    verdict = RULES[rule](_without(copy, used, owner), among, owner)
    answers = torch.where(copy.any(1), owner[copy.float().argmax(1)], verdict.answers)
    outside = unknown(verdict, limits) & ~copy.any(1)
    mean, best = means(ssim, owner), bests(ssim, owner)
    names, found = [each.name for each in sets], []
    for row, file in enumerate(files):
        named = names[int(answers[row])]
        places = [int(ssim[row, owner == number].argmax()) for number in range(len(sets))]
        found.append(
            Answer(
                file=file,
                named=UNKNOWN if outside[row] else named,
                nearest_set=named,
                margin=float(verdict.margins[row]),
                copy=bool(copy[row].any()),
                mean=dict(zip(names, mean[row].tolist(), strict=True)),
                best=dict(zip(names, best[row].tolist(), strict=True)),
                nearest={own.name: own.reference_files[place] for own, place in zip(sets, places, strict=True)},
            )
        )
    return found


def _without(copy: Tensor, used: Tensor, owner: Tensor) -> Tensor:
    """``used`` (N, M) with the mean of the other references of its set in the place of each ``copy``."""
    filled = used.clone()
    for row, column in copy.nonzero().tolist():
        rest = (owner == owner[column]) & ~copy[row]
        filled[row, column] = used[row, rest].mean() if rest.any() else used[row, column]
    return filled


def counted(answers: Sequence[Answer]) -> dict[str, int]:
    """Images by what they are named, the most first."""
    return dict(Counter(each.named for each in answers).most_common())


def summary(
    evaluation: Evaluation, measure: str, rule: str, sets: Sequence[ImageSet], answers: Sequence[Answer], share: float
) -> list[str]:
    """How far to trust an answer, and the answer, in lines.

    Args:
        share: of a set's own images that may be unknown.
    """
    reached = evaluation.accuracy(measure, rule)
    low, high = (100 * bound for bound in reached.interval)
    lines = [
        f"{reached.right} of {reached.of} held-out images are named rightly, {100 * reached.value:.1f}% (95% interval "
        f"{low:.1f} to {high:.1f}), by {MEASURES[measure].title} and rule={rule}"
    ]
    for own in sets:
        if share and len(own.held_out) < 1 / share:
            lines.append(
                f"{own.name}: {len(own.held_out)} held-out images tell little of where it ends: of its images 1 in "
                f"{len(own.held_out) + 1} may be called unknown"
            )
    if len(answers) == 1:
        each = answers[0]
        named = (
            each.named if each.named != UNKNOWN else f"none of these sets (unknown; the nearest is {each.nearest_set})"
        )
        lines.append(f"{each.file} is of {named}")
    elif answers:
        parts = ", ".join(f"{count} {name}" for name, count in counted(answers).items())
        lines.append(f"{len(answers)} images: {parts}")
    return lines


def answer_table(answers: Sequence[Answer], sets: Sequence[ImageSet]) -> Table:
    table = Table("image", "is of", "margin", *(f"{s.name}\nSSIM mean, best" for s in sets), title="Images")
    for each in answers[:SHOWN]:
        named = each.named if each.named != UNKNOWN else f"{UNKNOWN} (nearest: {each.nearest_set})"
        values = (f"{each.mean[s.name]:.3f}, {each.best[s.name]:.3f}" for s in sets)
        table.add_row(each.file, named, f"{each.margin:.3g}", *values)
    if len(answers) > SHOWN:
        table.caption = f"and {len(answers) - SHOWN} more in identify.json"
    return table


def confusion_table(evaluation: Evaluation, sets: Sequence[ImageSet]) -> Table:
    title = "Held-out images (rows) and what they are named (columns)"
    table = Table("", *(s.name for s in sets), "would be unknown", "unknown where the set is not among", title=title)
    for number, each in enumerate(sets):
        own, foreign = evaluation.unknown[number], evaluation.foreign
        table.add_row(
            each.name, *(str(count) for count in evaluation.confusion[number].tolist()), f"{own.right} of {own.of}",
            f"{foreign[number].right} of {foreign[number].of}" if foreign else "–",
        )  # fmt: skip
    return table


def measure_table(evaluation: Evaluation, truth: Tensor) -> Table:
    table = Table("measure", *RULES, title="Held-out images named rightly, % (95% interval); mean over the sets")
    for name, measure in MEASURES.items():
        cells = []
        for rule in RULES:
            share = evaluation.accuracy(name, rule)
            low, high = share.interval
            balanced = evaluation.balanced(name, rule, truth)
            cells.append(f"{100 * share.value:.1f} ({100 * low:.1f}–{100 * high:.1f})\n{100 * balanced:.1f}")
        table.add_row(measure.title, *cells)
    return table


def as_json(
    settings: Mapping[str, Any],
    sets: Sequence[ImageSet],
    evaluation: Evaluation,
    truth: Tensor,
    answers: Sequence[Answer],
) -> dict[str, Any]:
    """Everything that the tables say, and each image."""
    measure, rule = settings["measure"], settings["rule"]
    share = evaluation.accuracy(measure, rule)
    reached = {
        name: {
            by: {
                "accuracy": evaluation.accuracy(name, by).value,
                "interval": evaluation.accuracy(name, by).interval,
                "balanced_accuracy": evaluation.balanced(name, by, truth),
                "ssim_ahead": evaluation.ahead("ssim", name, by)._asdict(),
            }
            for by in RULES
        }
        for name in MEASURES
    }
    return {
        "settings": dict(settings),
        "sets": {
            s.name: {
                "references": len(s.references),
                "held_out": len(s.held_out),
                "named_rightly": int(evaluation.confusion[number, number]),
                "threshold": evaluation.limits[number] if math.isfinite(evaluation.limits[number]) else None,
                "own_unknown": evaluation.unknown[number].right,
                "unknown_where_not_among": evaluation.foreign[number].right if evaluation.foreign else None,
            }
            for number, s in enumerate(sets)
        },
        "held_out": {"right": share.right, "of": share.of, "accuracy": share.value, "interval": share.interval},
        "confusion": evaluation.confusion.tolist(),
        "measures": reached,
        "counts": counted(answers),
        "images": [vars(each) for each in answers],
    }
