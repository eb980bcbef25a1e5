"""Chest-like phantoms, drawn procedurally: a data set that needs no download and carries exact masks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from src.core.errors import UserError
from src.data.base import ImageData
from src.data.description import Description
from src.data.phantom_drawing import CLASSES, MASKS, VERSION, draw
from src.data.store import FORMAT, Split, Store, create_array

FIRST = {"train": 0, "val": 1 << 32, "test": 2 << 32}  # index of a split's first image: sizes never move another split
CHUNK = 1 << 15  # pixels drawn at once: a float32 plane of them stays in the processor's cache


class PhantomData(ImageData):
    """Chest-like phantoms with the masks ``lung`` and ``lesion``, drawn once into ``cache``.

    Args:
        resolution: pixels a side, at least 8.
        channels: 1 (grey) or 3 (slightly tinted).
        classes: any of normal, nodule, consolidation, effusion; their order numbers the labels.
        masks: any of lung, lesion; their order numbers the mask channels.
        sizes: images in each split, by name: train, val, test.
        seed: of every image; another seed draws others.
        cache: folder that keeps drawn data sets.
        name: what reports call the data set.

    Raises:
        UserError: a setting is out of range or unknown.
    """

    def __init__(
        self,
        resolution: int,
        channels: int,
        classes: Iterable[str],
        masks: Iterable[str],
        sizes: Mapping[str, int],
        seed: int,
        cache: str | Path,
        name: str = "phantom",
    ) -> None:
        super().__init__()
        if not isinstance(resolution, int) or resolution < 8:
            raise UserError(f"data.resolution is {resolution}: set it to the pixels a side, 8 or more")
        if channels not in (1, 3):
            raise UserError(f"data.channels is {channels}: set it to 1 (grey) or 3 (colour)")
        self.name, self.seed, self.cache = name, seed, Path(cache).expanduser()
        named = _check_names("data.sizes", sizes, FIRST)
        self.sizes = {split: sizes[split] for split in FIRST if split in named}  # the order of the rows in the store
        for split, size in self.sizes.items():
            if not isinstance(size, int) or size < 1:
                raise UserError(f"data.sizes.{split} is {size}: set it to the number of images, 1 or more")
        self._description = Description(
            channels=channels,
            resolution=resolution,
            classes=_check_names("data.classes", classes, CLASSES),
            masks=_check_names("data.masks", masks, MASKS, at_least=0),
        )

    @property
    def description(self) -> Description:
        return self._description

    def prepare(self) -> None:
        _ = self._store

    @property
    def splits(self) -> dict[str, Split]:
        ends = np.cumsum(list(self.sizes.values())).tolist()
        return {
            split: Split(self._store, np.arange(end - self.sizes[split], end))
            for split, end in zip(self.sizes, ends, strict=True)
        }

    @cached_property
    def _store(self) -> Store:
        settings = self.description.as_config() | {"sizes": self.sizes, "seed": self.seed}
        key = json.dumps([FORMAT, VERSION, settings])
        folder = self.cache / f"phantom-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        return Store.open_or_build(folder, lambda partial: self._build(partial) | settings)

    def _build(self, folder: Path) -> dict[str, Any]:
        resolution, masks = self.description.resolution, self.description.masks
        index = np.concatenate([FIRST[split] + np.arange(size) for split, size in self.sizes.items()])

        def create(file: str, planes: int) -> np.ndarray:
            shape = len(index), planes, resolution, resolution
            return create_array(folder / file, np.uint8, shape)

        images = create("images.npy", self.description.channels)
        planes = create("masks.npy", len(masks)) if masks else None
        labels = np.empty(len(index), np.int64)
        step = max(1, CHUNK // resolution**2)
        for start in range(0, len(index), step):
            part = slice(start, start + step)
            drawn = draw(
                index[part],
                seed=self.seed,
                resolution=resolution,
                channels=self.description.channels,
                classes=self.description.classes,
            )
            images[part], labels[part] = drawn["image"], drawn["label"]
            if planes is not None:
                planes[part] = np.stack([drawn[mask] for mask in masks], axis=1)
        np.save(folder / "labels.npy", labels)
        return {"source": "drawn by src.data.phantom_drawing", "version": VERSION}


def _check_names(key: str, names: Iterable[str], known: Iterable[str], at_least: int = 1) -> tuple[str, ...]:
    """The names, each of them known and given once."""
    names, known = tuple(names), tuple(known)
    if len(names) < at_least:
        raise UserError(f"{key} is empty: name one or more of {', '.join(known)}")
    for name in names:
        if name not in known:
            nearest = get_close_matches(str(name), known, n=1, cutoff=0)[0]
            raise UserError(f"{key}: unknown {name!r}, did you mean {nearest!r}? It takes {', '.join(known)}")
    if len(set(names)) < len(names):
        raise UserError(f"{key} names one twice: {', '.join(names)}; remove the repetition")
    return names
