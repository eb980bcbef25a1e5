"""What the scores of two halves of the real patients are: no distance of generated images means anything below it."""

from __future__ import annotations

import torch

from src.metrics.intervals import halves
from src.scoring.image_features import ImageFeatures
from src.scoring.reference import Reference, reference_of
from src.scoring.scores import FEWEST, Rules, compute_scores

REPEATS = 5


def between_halves(real: Reference, rules: Rules, seed: int) -> dict[str, float]:
    """The mean of every score over random halvings of the real cases, and as ``images`` that of a half's size.

    Halves have half the images, which raises FID. Empty where a half is too small, or of no case.
    """
    found: list[dict[str, float]] = []
    for first in halves(real.neighbour_groups, REPEATS, seed):
        sides = [_part(real, kept) for kept in (first, ~first)]
        if min(len(side.features) for side in sides) < FEWEST:
            return {}
        half = reference_of(sides[0], standard=real.standard)
        rules_there = Rules(None, rules.allow_small)
        scores = compute_scores(half, sides[1], rules_there, seed)
        found.append(scores | {"images": len(sides[1].features)})
    shared = [name for name in found[0] if all(name in scores for scores in found)]
    return {name: sum(scores[name] for scores in found) / len(found) for name in shared}


def _part(real: Reference, kept: torch.Tensor) -> ImageFeatures:
    probabilities = real.neighbour_probabilities
    return ImageFeatures(
        None if probabilities is None else probabilities[kept],
        real.neighbours[kept],
        torch.empty(0, 1, 1, 1),  # no pictures are kept of real images: no SSIM diversity
        real.neighbour_groups[kept],
    )
