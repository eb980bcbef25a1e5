"""Which images a generator learned from, so that what it makes is neither tested on them nor called new beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.core.atomic import write_atomically
from src.core.errors import UserError
from src.data.base import ImageData
from src.data.folder import FolderData
from src.data.store import Split

FILE = "training_images.json"  # in a run folder


class Divided(NamedTuple):
    learned: Split  # the images that were learned from
    held_out: Split  # those of cases of which none was
    missing: int  # how many were learned from that are not there


@dataclass(frozen=True)
class TrainingRecord:
    """Fingerprints of images, and of the cases they are of where the data are grouped."""

    images: frozenset[str]
    cases: frozenset[str] = frozenset()

    @classmethod
    def of(cls, data: ImageData, split: Split) -> TrainingRecord:
        """Of the images of ``split``, a part of ``data``."""
        return cls(frozenset(fingerprints(data, split)), frozenset(filter(None, case_fingerprints(data, split))))

    @classmethod
    def read(cls, run: Path) -> TrainingRecord | None:
        """That of a run folder; None where it was trained before runs kept one."""
        path = run / FILE
        if not path.exists():
            return None
        try:
            stored = json.loads(path.read_text())
            return cls(frozenset(stored["images"]), frozenset(stored["cases"]))
        except (ValueError, TypeError, KeyError) as problem:
            raise UserError(
                f"{path} is damaged: restore it, or delete it, after which nobody knows what the run learned from"
            ) from problem

    def write(self, run: Path) -> None:
        record = {"images": sorted(self.images), "cases": sorted(self.cases)}
        write_atomically(run / FILE, json.dumps(record, indent=1))

    def __or__(self, other: TrainingRecord) -> TrainingRecord:
        return TrainingRecord(self.images | other.images, self.cases | other.cases)

    def knows(self, data: ImageData, split: Split) -> list[bool]:
        """By position: whether the image, or one of its case, was learned from."""
        images, cases = fingerprints(data, split), case_fingerprints(data, split)
        return [image in self.images or case in self.cases for image, case in zip(images, cases, strict=True)]

    def divide(self, data: ImageData) -> Divided:
        """All images of ``data`` by whether they were learned from."""
        whole = join_splits(data.splits.values())
        images, cases = fingerprints(data, whole), case_fingerprints(data, whole)
        missing = len(self.images.difference(images))
        learned = np.array([image in self.images for image in images])
        known = learned | np.array([case in self.cases for case in cases])
        return Divided(whole.take(np.flatnonzero(learned)), whole.take(np.flatnonzero(~known)), missing)

    def check(self, data: ImageData, generator: str) -> None:
        """Raise UserError where a split of ``data`` but train has images or cases that ``generator`` learned from."""
        for name, split in data.splits.items():
            if name == "train" or not any(known := self.knows(data, split)):
                continue
            # A file that is in both splits says nothing of the generator.
            here = set(fingerprints(data, data.split("train"))) if "train" in data.splits else set()
            images = fingerprints(data, split)
            if count := sum(was and image not in here for was, image in zip(known, images, strict=True)):
                names = "" if self.images & set(images) else " (or data.name, where equal names are other patients)"
                raise UserError(
                    f"{generator} learned from {count} of the {len(split)} {name} images, or from others of their "
                    f"cases: train it with the same data.splits, data.group and data.seed{names}"
                )


def fingerprints(data: ImageData, split: Split) -> list[str]:
    """By position: of the image's file, which stays when images are decoded otherwise, else of its stored pixels."""
    if isinstance(data, FolderData):
        with ThreadPoolExecutor(data.workers) as pool:
            return list(pool.map(lambda file: _digest(data.content(file)), split.files()))
    return [_digest(split.store.images[row].tobytes()) for row in split.rows]


def case_fingerprints(data: ImageData, split: Split) -> list[str | None]:
    """By position: of the name of the image's case; None where each image is its own."""
    if split.cases is None or list(split.cases) == split.files():
        return [None] * len(split)
    name = getattr(data, "name", "")
    return [_digest(f"{name}:{case}".encode()) for case in split.cases]


def join_splits(splits: Iterable[Split]) -> Split:
    """Splits of one data set as one. Raises ValueError where they share no store, or there is none."""
    first, *others = splits
    if any(split.store is not first.store for split in others):
        raise ValueError("the splits are of several stores")
    everything = [first, *others]
    return Split(
        first.store,
        np.concatenate([split.rows for split in everything]),
        None if first.cases is None else [case for split in everything for case in split.cases_or_files()],
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
