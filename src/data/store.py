"""Images decoded once: a folder of memory-mapped arrays, from which a batch is one gather."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import ArrayLike, DTypeLike
from torch import Tensor

from src.core.atomic import PARTIAL, sync_folder
from src.core.errors import UserError, of_the_system
from src.core.locks import Lock

log = logging.getLogger(__name__)

BLOCK = 1 << 20  # bytes written at once
LOCK = ".lock"  # ends the name of the file that who builds a store holds
CHUNK = 256  # images averaged at once
FORMAT = 1  # part of every key: raise it when the layout of a store changes
UNKNOWN = -1  # label of an image whose class is not known


class Batch(TypedDict, total=False):
    """What every network here trains on; pixels are as stored (uint8 or uint16)."""

    image: Tensor  # (B, C, H, W)
    label: Tensor  # (B,) int64
    mask: Tensor  # (B, K, H, W) uint8, 0 or 1; absent where the data has no masks


@dataclass(frozen=True)
class Store:
    """Arrays of one data set. ``meta`` is what its builder wrote about it (JSON)."""

    images: np.ndarray  # (N, C, H, W) uint8 or uint16
    labels: np.ndarray  # (N,) int64, UNKNOWN where the class is not known
    masks: np.ndarray | None  # (N, K, H, W) uint8, 0 or 1
    meta: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Store:
        masks = folder / "masks.npy"
        return cls(
            images=np.load(folder / "images.npy", mmap_mode="r"),
            labels=np.load(folder / "labels.npy"),
            masks=np.load(masks, mmap_mode="r") if masks.exists() else None,
            meta=json.loads((folder / "meta.json").read_text()),
        )

    @classmethod
    def open_or_build(cls, folder: Path, build: Callable[[Path], Mapping[str, Any]], resumable: bool = False) -> Store:
        """Open ``folder``, or let ``build`` fill it first, also where it is damaged.

        ``build(partial)`` writes ``images.npy``, ``labels.npy`` and, where there are masks, ``masks.npy`` into the
        folder it is given, with ``create_array`` or ``np.save``, and returns the meta data. A store appears whole or
        not at all; of several processes one builds it while the others wait. What killed ones left is deleted.

        Args:
            resumable: ``build`` goes on in what a stopped one has left of the same store, which is kept for it until a
                store is built in this cache.

        Raises:
            UserError: the cache has no room for the store, or cannot be written.
        """
        try:
            return cls._open_whole(folder) or cls._build(folder, build, resumable)
        except OSError as problem:
            if not (line := of_the_system(problem)):
                raise
            raise UserError(
                f"the decoded data cannot be kept in {folder.parent} ({line}); paths.cache=<folder> names another place"
            ) from problem

    @classmethod
    def _open_whole(cls, folder: Path) -> Store | None:
        """None where it is absent, or a file of it is damaged."""
        if not folder.exists():
            return None
        try:
            return cls.open(folder)
        except Exception as problem:  # whatever a damaged file makes its reader stumble over
            log.warning(f"the decoded data in {folder} are damaged ({type(problem).__name__}), and are made anew")
            return None

    @classmethod
    def _build(cls, folder: Path, build: Callable[[Path], Mapping[str, Any]], resumable: bool) -> Store:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock, partial = _own(folder)
        try:
            if store := cls._open_whole(folder):  # another process was faster
                return store
            _remove_left_over(folder.parent)
            if partial.exists() and not resumable:  # of a killed process, whose lock this one has
                shutil.rmtree(partial)
            partial.mkdir(exist_ok=True)
            meta = build(partial)
            (partial / "meta.json").write_text(json.dumps(meta, indent=1))
            for path in partial.iterdir():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
            if folder.exists():
                folder.rename(partial / "damaged")
                shutil.rmtree(partial / "damaged")
            partial.rename(folder)
            sync_folder(folder.parent)
        except BaseException as problem:
            if not resumable or isinstance(problem, Exception):  # not the user, or a signal
                shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            lock.remove()
        return cls.open(folder)


def create_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """An array on disk to be filled, for which all room is taken: a full disk is an OSError here, not a crash later."""
    array = npy.open_memmap(path, "w+", np.dtype(dtype), shape)
    with open(path, "rb+") as file:
        size = os.fstat(file.fileno()).st_size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:  # macOS: what follows the header is written
            file.seek(array.offset)
            for start in range(array.offset, size, BLOCK):
                file.write(bytes(min(BLOCK, size - start)))
    return array


class RowWriter:
    """Writes rows of an array on disk, in any order; half the time of mapped memory, none of which is held."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb+")  # noqa: SIM115 - closed by __exit__
        npy.read_magic(self._file)
        (_, *shape), _, self.dtype = npy.read_array_header_1_0(self._file)
        self.shape, self._start = tuple(shape), self._file.tell()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, row: int, values: ArrayLike) -> None:
        """``values``: of a row's shape, or such that they can be broadcast to it."""
        content = np.empty(self.shape, self.dtype)
        content[...] = values
        self._file.seek(self._start + row * content.nbytes)
        self._file.write(content.data)


def _own(folder: Path) -> tuple[Lock, Path]:
    """The lock of who builds ``folder``, and where it is built."""
    lock = Lock(folder.with_name(f".{folder.name}{LOCK}"))
    if not lock.acquire():
        log.info(f"waiting for the process that makes {folder}")
        lock.acquire(wait=True)
    return lock, folder.with_name(f".{folder.name}{PARTIAL}")


def _remove_left_over(cache: Path) -> None:
    """Delete what killed processes were building: it may hold images of patients."""
    for partial in cache.glob(f".*{PARTIAL}"):
        lock = Lock(partial.with_name(partial.name.removesuffix(PARTIAL) + LOCK))
        if partial.is_dir() and lock.acquire():
            shutil.rmtree(partial, ignore_errors=True)
            lock.remove()


@dataclass(frozen=True)
class Split:
    """The rows of a store that belong to one split (train, val or test)."""

    store: Store
    rows: np.ndarray  # (n,) rows of the store's arrays
    cases: Sequence[str] | None = None  # by position: the patient or sequence; None where each image is its own

    def __len__(self) -> int:
        return len(self.rows)

    def files(self) -> list[str]:
        """By position: the image's file, or its row where the store was made from no files."""
        files = self.store.meta.get("files")
        return [files[row] if files else f"{row:06d}" for row in self.rows]

    def cases_or_files(self) -> list[str]:
        """By position: what the image must not be separated from."""
        return list(self.cases) if self.cases is not None else self.files()

    def take(self, positions: np.ndarray) -> Split:
        """The images at ``positions``."""
        cases = None if self.cases is None else [self.cases[i] for i in positions]
        return Split(self.store, self.rows[positions], cases)

    def draw(self, count: int) -> Split:
        """``count`` of the images, or all where there are fewer; always the same, a smaller draw part of a larger."""
        return self.take(np.sort(np.random.default_rng(0).permutation(len(self))[:count]))

    def at(self, resolution: int) -> Split:
        """This split with images of ``resolution`` px on their longer side, averaged down from the stored ones.

        Masks that are channels become shades, in which thin parts stay: fading in averages once more, and a threshold
        would make the generator's images jump there. The images of the split are held in memory, without masks. Raises
        ValueError where the stored side is no multiple of ``resolution``.
        """
        factor, rest = divmod(max(self.store.images.shape[2:]), resolution)
        if rest or not factor:
            raise ValueError(f"images of {self.store.images.shape[2:]} pixels cannot be averaged to {resolution}")
        if factor == 1:
            return self
        dtype = self.store.images.dtype
        pooled = np.concatenate(
            [
                np.rint(_average(self.store.images[rows], factor)).astype(dtype)
                for rows in np.array_split(self.rows, max(1, len(self) // CHUNK))
            ]
        )
        store = Store(pooled, self.store.labels[self.rows], None, self.store.meta)
        return Split(store, np.arange(len(self)))

    def gather(self, positions: np.ndarray) -> Batch:
        """The batch at ``positions`` (B,), counted within this split."""
        rows = self.rows[positions]
        batch: Batch = {
            "image": torch.from_numpy(self.store.images[rows]),
            "label": torch.from_numpy(self.store.labels[rows]),
        }
        if self.store.masks is not None:
            batch["mask"] = torch.from_numpy(self.store.masks[rows])
        return batch


def count_splits(splits: Mapping[str, Split]) -> str:
    """ "train 805 images of 31 cases, test 154 images of 9 cases": whether images belong together as they should."""
    texts = []
    for name, split in splits.items():
        cases = "" if split.cases is None else f" of {len(set(split.cases)):,} cases"
        texts.append(f"{name} {len(split):,} images{cases}")
    return ", ".join(texts)


def count_classes(split: Split, classes: Sequence[str]) -> str:
    """ "of 126 NORMAL, 969 PNEUMONIA": images of each class that the split has."""
    counts = np.bincount(split.store.labels[split.rows], minlength=len(classes))
    return "of " + ", ".join(f"{count:,} {name}" for name, count in zip(classes, counts, strict=True) if count)


def _average(images: np.ndarray, factor: int) -> np.ndarray:
    """Means over ``factor`` × ``factor`` pixels, (N, C, H, W) → (N, C, H / factor, W / factor)."""
    count, channels, height, width = images.shape
    blocks = images.reshape(count, channels, height // factor, factor, width // factor, factor)
    return blocks.mean(axis=(3, 5), dtype=np.float32)
