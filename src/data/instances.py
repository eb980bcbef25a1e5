"""Masks whose instances touch, such as nuclei: kept apart by a line of one pixel, so that each stays a part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))  # to half of a pixel's neighbours; the others have it as theirs


def fit_instances(ids: np.ndarray, fit: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Instances (H, W), 0 outside, each fitted by ``fit`` (uint8, 0 or 1) → a mask, uint8, in which none touch."""
    numbers = np.unique(ids[ids != 0])
    owner: np.ndarray | None = None
    for place, number in enumerate(numbers, 1):
        part = fit((ids == number).astype(np.uint8))
        owner = np.zeros(part.shape, np.int64) if owner is None else owner
        owner[(part > 0) & (owner == 0)] = place
    return fit(np.zeros(ids.shape, np.uint8)) if owner is None else separated(owner)


def separated(owner: np.ndarray) -> np.ndarray:
    """Without the pixels that touch, also at a corner, one of another instance: uint8, 0 or 1."""
    kept = owner > 0
    height, width = owner.shape
    for down, right in STEPS:
        here = np.s_[: height - down, max(0, -right) : width - max(0, right)]
        there = np.s_[down:, max(0, right) : width - max(0, -right)]
        touch = (owner[here] != owner[there]) & kept[here] & kept[there]
        kept[here] &= ~touch
    return kept.astype(np.uint8)
