"""Images that are there twice, to the pixel: in one split they weigh double, in two they make results too good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from src.core.errors import UserError
from src.data.store import Store

ORDER = ("train", "test", "val")  # the split that keeps an image which several have


def drop_duplicates(store: Store, rows: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The rows of each split without those of duplicates, and why each file is left out.

    Of copies the first is kept, in the order train, test, val and of their rows. Where they are of different classes
    nobody knows which is right: then none is kept.
    """
    files, reasons = store.meta["files"], {}
    dropped: set[int] = set()
    for same in _copies(store, rows):
        if len(set(store.labels[same].tolist())) > 1:
            kept, why = [], "copies of it are of other classes: "
        else:
            kept, why = same[:1], "a copy of "
        for row in same[len(kept) :]:
            others = kept or [other for other in same if other != row]
            reasons[files[row]] = why + ", ".join(files[other] for other in others)
            dropped.add(row)
    return {name: own[~np.isin(own, list(dropped))] for name, own in rows.items()}, reasons


def refuse_duplicates(store: Store, rows: Mapping[str, np.ndarray]) -> None:
    """Raise UserError where images are there twice."""
    if copies := _copies(store, rows):
        files, (first, second, *_) = store.meta["files"], copies[0]
        more = sum(map(len, copies)) - len(copies)
        raise UserError(
            f"{more} images have the same pixels as another one, such as {files[second]} and {files[first]}: remove "
            "them, or data.duplicates=drop leaves them out, keep takes them as they are"
        )


def crossing_copies(store: Store, rows: Mapping[str, np.ndarray]) -> str:
    """How many images have a copy in another split, in words."""
    split_of = {row: split for split, own in rows.items() for row in own.tolist()}
    crossing = [same for same in _copies(store, rows) if len({split_of[row] for row in same}) > 1]
    if not crossing:
        return ""
    first, *others = crossing[0]
    second = next(row for row in others if split_of[row] != split_of[first])
    pair = " and ".join(f"{store.meta['files'][row]} in {split_of[row]}" for row in (first, second))
    return f"{sum(map(len, crossing))} images lie in two splits with the same pixels, such as {pair}"


def _copies(store: Store, rows: Mapping[str, np.ndarray]) -> list[list[int]]:
    """The rows of equal pixels that are in a split, in the order in which they are kept."""
    place = {name: number for number, name in enumerate(ORDER)}
    rank = {row: (place.get(name, len(ORDER)), row) for name, own in rows.items() for row in own.tolist()}
    copies: Sequence[Sequence[int]] = store.meta["copies"]
    used = (sorted((row for row in same if row in rank), key=rank.__getitem__) for same in copies)
    return [same for same in used if len(same) > 1]
