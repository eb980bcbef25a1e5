"""CIFAR-10, whole or some of its classes, in torchvision's layout."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10

from src.core.errors import UserError
from src.core.locks import Lock
from src.data.base import ImageData
from src.data.description import Description
from src.data.store import FORMAT, Split, Store

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class _Unverified(CIFAR10):
    """Takes the files as they are: a partial or re-encoded copy has other checksums than the original."""

    def _check_integrity(self) -> bool:
        return (Path(self.root) / self.base_folder).is_dir()


class CifarData(ImageData):
    """Images of ``classes``, labelled by their position in it.

    Args:
        root: the folder above ``cifar-10-batches-py``; the original is downloaded there where it is absent.
        verify: check the files against the original's checksums.
        cache: where decoded arrays are kept.
    """

    def __init__(
        self, name: str, root: str, classes: Sequence[str], channels: int, resolution: int, verify: bool, cache: str
    ) -> None:
        super().__init__()
        unknown = [c for c in classes if c not in CLASSES]
        if unknown or not classes:
            raise UserError(f"data.classes={list(classes)}: CIFAR-10 has only {', '.join(CLASSES)}")
        if len(set(classes)) < len(classes):
            raise UserError(f"data.classes={list(classes)} names one twice: remove the repetition")
        if (channels, resolution) != (3, 32):
            raise UserError(
                f"data.resolution={resolution}, data.channels={channels}: CIFAR-10 has 32 px and 3 channels; "
                "leave both as they are"
            )
        self.name, self.root, self.verify = name, Path(root).expanduser(), verify
        self.cache = Path(cache).expanduser()
        self._description = Description(channels, resolution, tuple(classes), ())
        self._store: Store | None = None

    @property
    def description(self) -> Description:
        return self._description

    @property
    def splits(self) -> dict[str, Split]:
        assert self._store is not None, "prepare() comes first"
        first_test = self._store.meta["train"]
        rows = np.arange(len(self._store.labels))
        return {"train": Split(self._store, rows[:first_test]), "test": Split(self._store, rows[first_test:])}

    def prepare(self) -> None:
        if self._store is not None:
            return
        lock = Lock(self.cache / ".cifar-10.lock")
        with suppress(OSError):  # of a cache that can only be read: what it lacks is refused where it is made
            lock.acquire(wait=True)  # one process downloads, verifies and decodes; those beside it wait
        try:
            if not self._folder.is_dir():
                self._load(train=True)
            batches = sorted(self._folder.glob("*_batch*"))
            stamps = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in batches]
            facts = (FORMAT, self._description.classes, stamps, self.verify)
            key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
            self._store = Store.open_or_build(self.cache / f"{self.name}-{key}", self._build)
        finally:
            lock.release()

    @property
    def _folder(self) -> Path:
        return self.root / CIFAR10.base_folder

    def _load(self, train: bool) -> CIFAR10:
        loader = CIFAR10 if self.verify else _Unverified
        absent = not self._folder.is_dir()
        try:
            return loader(str(self.root), train=train, download=absent)
        except OSError as problem:  # also of urllib
            if not absent:
                raise UserError(
                    f"CIFAR-10 in data.root={self.root} lacks a file or it cannot be read ({problem}): complete "
                    f"{self._folder}, or delete it to download it anew"
                ) from problem
            raise UserError(
                f"CIFAR-10 is not in data.root={self.root} and could not be downloaded ({problem}): connect to the "
                "internet, or point data.root to the folder above cifar-10-batches-py"
            ) from problem
        except RuntimeError as problem:
            raise UserError(
                f"CIFAR-10 in data.root={self.root} is not the original (checksums differ or files are missing): "
                "delete it to download it anew, or accept it as it is with data.verify=false"
            ) from problem

    def _build(self, out: Path) -> dict[str, Any]:
        wanted = np.array([CLASSES.index(c) for c in self._description.classes])
        images, labels = [], []
        for train in (True, False):
            part = self._load(train)
            targets = np.asarray(part.targets)
            keep = np.isin(targets, wanted)
            images.append(part.data[keep].transpose(0, 3, 1, 2))
            labels.append((targets[keep][:, None] == wanted).argmax(1))
        np.save(out / "images.npy", np.ascontiguousarray(np.concatenate(images)))
        np.save(out / "labels.npy", np.concatenate(labels))
        return {"train": len(labels[0])}
