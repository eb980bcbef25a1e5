"""Reads NumPy's .npy and .npz: an image, several, or the splits of a data set with labels, as MedMNIST has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.core.errors import UserError
from src.data.formats import values
from src.data.formats.base import Header, Reading

SUFFIXES = (".npy", ".npz")
PACKAGE = None
IMAGES = ("images", "image", "pixels", "img", "imgs", "data", "x", "arr_0")  # names of arrays, the likeliest first


class Part(NamedTuple):
    """A split in an .npz."""

    split: str
    array: str
    labels: tuple[str, ...] | None  # of its images


def parts_of(path: Path) -> list[Part]:
    """The splits of an .npz whose arrays are named "<split>_images"; none of any other file.

    Raises UserError where labels are several of one image.
    """
    if path.suffix.lower() != ".npz":
        return []
    with np.load(path) as arrays:
        names = {split: f"{split}_images" for split in ("train", "val", "test") if f"{split}_images" in arrays}
        return [Part(split, name, _labels(arrays, f"{split}_labels", path)) for split, name in names.items()]


def read_header(path: Path, how: Reading) -> Header:
    array = _load(path, how)
    return Header(values.is_deep(array.dtype, how), array.shape[3] == 3, len(array), volume=None)


def read_slices(path: Path, how: Reading) -> Iterator[np.ndarray]:
    array = _load(path, how)
    single = array[..., 0] if array.shape[3] == 1 else array
    yield from values.kept(iter(single), how, path)


def read_labels(path: Path, how: Reading) -> Iterator[np.ndarray]:
    array = _load(path, how)
    yield from array[..., 0] if array.shape[3] == 1 else array


def _load(path: Path, how: Reading) -> np.ndarray:
    """(N, H, W, 1 or 3)."""
    content = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None)
    array = content if isinstance(content, np.ndarray) else _choose(content, path, how)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it holds {array.dtype}, no pixels")
    if array.ndim == 2:
        array = array[None, ..., None]
    elif array.ndim == 3:
        array = array[None] if array.shape[2] in (1, 3, 4) else array[..., None]
    if array.ndim != 4:
        raise ValueError(f"it is of shape {array.shape}, neither an image nor several")
    if array.shape[3] == 4:
        array = array[..., :3]
    if how.channel is not None and how.channel < array.shape[3]:
        array = array[..., how.channel : how.channel + 1]
    if array.shape[3] not in (1, 3):
        raise UserError(f"{path} has {array.shape[3]} channels that are no colours: data.channel=0 takes the first")
    return array


def _choose(content: np.lib.npyio.NpzFile, path: Path, how: Reading) -> np.ndarray:
    names = list(content)
    wanted = how.array or next((name for like in IMAGES for name in names if name.lower() == like), None)
    wanted = names[0] if wanted is None and len(names) == 1 else wanted
    if wanted not in names:
        raise UserError(f"{path} holds the arrays {', '.join(names)}: data.array=<name> says which are the images")
    return content[wanted]


def _labels(arrays: np.lib.npyio.NpzFile, name: str, path: Path) -> tuple[str, ...] | None:
    if name not in arrays:
        return None
    labels = arrays[name]
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise UserError(
            f"{path} has {labels.shape[1]} labels an image in {name}, and one is wanted: save the array of images alone"
        )
    width = len(str(int(labels.max()))) if labels.dtype.kind in "iu" and labels.size else 0
    return tuple(f"{label:0{width}d}" if width else str(label) for label in labels.ravel().tolist())
