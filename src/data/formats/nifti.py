"""Reads NIfTI: a volume, as slices."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from src.core.errors import UserError
from src.data.formats import values, volume
from src.data.formats.base import Header, Reading

SUFFIXES = (".nii", ".nii.gz")
PACKAGE = "nibabel"
DEFLATED = 1032  # bytes that gzip can pack into one, at most


def read_header(path: Path, how: Reading) -> Header:
    image = _open(path, how)
    dtype = image.get_data_dtype()
    scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)
    count, spacing = volume.slice_shape(_cube(image.shape), image.affine, how.axis)
    deep = values.is_deep(np.dtype(np.uint8) if dtype.names else dtype, how) or scaled
    return Header(deep, dtype.names is not None, count, None, spacing, volume.place_of(image.affine))


def read_slices(path: Path, how: Reading) -> Iterator[np.ndarray]:
    image = _open(path, how)
    array = _array(image, path)
    if array.dtype.names:  # of colours
        array = np.stack([array[name] for name in array.dtype.names[:3]], -1)
    elif array.ndim > 3:
        array = array.reshape(*array.shape[:3], -1)[..., how.channel or 0]
    array = array.reshape(*_cube(array.shape), *array.shape[3:])
    yield from values.kept(volume.slices_of(array, image.affine, how.axis), how, path)


def read_labels(path: Path, how: Reading) -> Iterator[np.ndarray]:
    image = _open(path, how)
    array = _array(image, path)
    array = array.reshape(*_cube(array.shape), -1)[..., how.channel or 0]
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        array = array > array.max() / 2  # probabilities
    yield from volume.slices_of(array.astype(np.int64), image.affine, how.axis)


def _open(path: Path, how: Reading) -> Any:
    """Raises UserError for several volumes, of which ``how`` chooses none, ValueError for too few bytes."""
    import nibabel

    image: Any = nibabel.load(path)
    said, held = math.prod(image.shape) * image.get_data_dtype().itemsize, path.stat().st_size
    if said > held * (DEFLATED if path.suffix == ".gz" else 1):  # before so much memory is asked for
        raise ValueError(f"its header speaks of {said:,} bytes, which a file of {held:,} cannot hold")
    several = math.prod(image.shape[3:])
    if several > 1 and how.channel is None:
        raise UserError(f"{path} holds {several} volumes: data.channel=0 takes the first, and so on")
    if several > 1 and how.channel is not None and how.channel >= several:
        raise UserError(f"data.channel={how.channel}: {path} has the channels 0 to {several - 1}")
    return image


def _array(image: Any, path: Path) -> np.ndarray:
    """The values of ``image``, which is that of ``path``; compressed ones are unpacked at once, three times as fast."""
    stored = image.dataobj
    if path.suffix.lower() == ".gz":
        size = stored.offset + math.prod(image.shape) * stored.dtype.itemsize
        content = _unpacked(path, size)
        if len(content) >= size and (stored.slope, stored.inter) == (1.0, 0.0):  # as they are, without a copy
            values = np.frombuffer(content, stored.dtype, math.prod(image.shape), stored.offset)
            return values.reshape(image.shape, order=stored.order)
        stored = type(image).from_bytes(content).dataobj
    return np.asanyarray(stored)


def _unpacked(path: Path, size: int) -> bytes:
    """At least ``size`` bytes, or whatever gzip says of a file that is damaged."""
    packed = path.read_bytes()
    with suppress(ImportError, RuntimeError, ValueError):  # one of several parts, or damaged
        from imagecodecs import gzip_decode

        if len(content := gzip_decode(packed)) >= size:
            return bytes(content)
    return gzip.decompress(packed)


def _cube(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1, 1)[:3]
