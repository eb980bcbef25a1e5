"""Which images belong together, and splits that no group crosses."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from src.core.errors import UserError

SPLITS = ("train", "val", "test")


def natural_key(text: str) -> list[tuple[int, int | str]]:
    """A sort key under which "img2" comes before "img10"."""
    parts = re.split(r"(\d+)", text)  # digits are at the odd places
    return [(0, int(part)) if place % 2 else (1, part) for place, part in enumerate(parts)]


def match_groups(files: Sequence[str], pattern: str) -> list[str]:
    """The group of each file: the first group of ``pattern`` in its stem, or the whole match where it has no groups.

    Raises UserError where a file has no group, or an empty one.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"data.group={pattern!r} is no regular expression: {error}") from error
    groups = []
    for file in files:
        match = compiled.search(PurePosixPath(file).stem)
        group = match and match[1 if compiled.groups else 0]
        if not group:
            raise UserError(f"data.group={pattern!r} does not match {file}: widen it, every file needs a group")
        groups.append(group)
    return groups


def number_groups(files: Sequence[str], starts: Sequence[int]) -> list[str]:
    """The group of each file: the one of ``starts``, ascending, that its number has reached, as video frames are kept.

    The number is the last one in the file's stem. Raises UserError where there is none, or one below the first start.
    """
    if list(starts) != sorted(set(starts)):
        raise UserError(f"data.group_starts={list(starts)} must ascend")
    groups = []
    for file in files:
        numbers = re.findall(r"\d+", PurePosixPath(file).stem)
        place = bisect_right(starts, int(numbers[-1])) if numbers else 0
        if place == 0:
            raise UserError(f"data.group_starts: {file} has no number from {starts[0]} on")
        groups.append(f"from {starts[place - 1]}")
    return groups


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raise UserError unless ``fractions`` are the shares of train, val and test and add up to 1."""
    unknown = [name for name in fractions if name not in SPLITS]
    if unknown:
        raise UserError(f"data.splits has no split {unknown[0]!r}: use {', '.join(SPLITS)}")
    total = sum(fractions.values())
    if min(fractions.values(), default=-1) < 0 or abs(total - 1) > 1e-6:
        raise UserError(f"data.splits must be fractions that add up to 1: they add up to {total:g}")


def split_rows(
    groups: Sequence[str], strata: Sequence[int], fractions: Mapping[str, float], split_by: str, seed: int
) -> dict[str, np.ndarray]:
    """Rows of each split, by shares of the groups of each stratum (class); no group is in two splits.

    ``split_by``: "random" ranks the groups by a hash of (seed, group), so a new file moves few others; "order" cuts
    them into contiguous ranges in the order of the rows. Splits of fraction 0 are absent. Where a group is of several
    strata, or a stratum has fewer groups than there are splits, "random" ranks all groups together.
    Raises UserError where there are fewer groups than splits.
    """
    shares = {name: share for name, share in fractions.items() if share > 0}
    first_stratum: dict[str, int] = {}
    for group, stratum in zip(groups, strata, strict=True):
        first_stratum.setdefault(group, stratum)
    pure = all(first_stratum[group] == stratum for group, stratum in zip(groups, strata, strict=True))
    enough = min(Counter(first_stratum.values()).values(), default=0) >= len(shares)
    ranked: dict[int, list[str]] = {}
    for group, stratum in first_stratum.items():
        ranked.setdefault(stratum if split_by == "order" or (pure and enough) else 0, []).append(group)
    members: dict[str, str] = {}
    for names in ranked.values():
        if split_by == "random":
            names.sort(key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
        members.update(_cut(names, shares))
    owner = np.array([members[group] for group in groups])
    return {name: np.flatnonzero(owner == name) for name in shares}


def _cut(names: list[str], shares: Mapping[str, float]) -> dict[str, str]:
    """Assign contiguous stretches of ``names`` to the splits, at least one name each."""
    if len(names) < len(shares):
        raise UserError(
            f"{len(names)} group(s) of images cannot fill the splits {', '.join(shares)}: "
            "add images, use a finer data.group, or set a fraction of data.splits to 0"
        )
    members: dict[str, str] = {}
    start, passed = 0, 0.0
    for place, (split, share) in enumerate(shares.items()):
        passed += share
        still_to_fill = len(shares) - place - 1
        stop = min(max(round(passed * len(names)), start + 1), len(names) - still_to_fill)
        members.update(dict.fromkeys(names[start:stop], split))
        start = stop
    return members
