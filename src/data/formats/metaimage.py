"""Reads MetaImage, .mhd with its .raw or .mha: a header of text lines, then a volume, as slices."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.core.errors import UserError
from src.data.formats import values, volume
from src.data.formats.base import Header, Reading

SUFFIXES = (".mhd", ".mha")
PACKAGE = "nibabel"  # for orientations
TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip


@dataclass(frozen=True)
class Meta:
    """What the header says."""

    fields: dict[str, str]
    data: int  # byte of an .mha at which the values begin

    def numbers(self, *names: str) -> list[float] | None:
        text = next((self.fields[name] for name in names if name in self.fields), None)
        return None if text is None else [float(part) for part in text.split()]

    @property
    def shape(self) -> tuple[int, ...]:
        """(X, Y, Z)."""
        return (*map(int, self.fields["DimSize"].split()), 1, 1)[:3]

    @property
    def channels(self) -> int:
        return int(self.fields.get("ElementNumberOfChannels", 1))

    @property
    def dtype(self) -> np.dtype:
        most = self.fields.get("BinaryDataByteOrderMSB", self.fields.get("ElementByteOrderMSB", "False"))
        return np.dtype(TYPES[self.fields["ElementType"]]).newbyteorder(">" if most.lower() == "true" else "<")

    @property
    def affine(self) -> np.ndarray:
        """From voxels to mm in RAS+; the file's own axes are to the left, to the back, to the head."""
        sizes = ((self.numbers("ElementSpacing", "ElementSize") or []) + [1.0] * 3)[:3]
        turn = self.numbers("TransformMatrix", "Rotation", "Orientation")
        origin = ((self.numbers("Offset", "Position", "Origin") or []) + [0.0] * 3)[:3]
        matrix = np.array(turn).reshape(3, 3).T if turn is not None and len(turn) == 9 else np.eye(3)
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = matrix * sizes, origin
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def read_header(path: Path, how: Reading) -> Header:
    meta = _read(path)
    count, spacing = volume.slice_shape(meta.shape, meta.affine, how.axis)
    deep = values.is_deep(np.dtype(meta.dtype.newbyteorder("=")), how)
    return Header(deep, meta.channels == 3 and how.channel is None, count, None, spacing, volume.place_of(meta.affine))


def read_slices(path: Path, how: Reading) -> Iterator[np.ndarray]:
    meta = _read(path)
    yield from values.kept(volume.slices_of(_array(path, meta, how), meta.affine, how.axis), how, path)


def read_labels(path: Path, how: Reading) -> Iterator[np.ndarray]:
    meta = _read(path)
    yield from volume.slices_of(_array(path, meta, how).astype(np.int64), meta.affine, how.axis)


def _read(path: Path) -> Meta:
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for line in file:
            name, _, value = line.decode("latin-1").partition("=")
            fields[name.strip()] = value.strip()
            if name.strip() == "ElementDataFile":
                break
        place = file.tell()
    if missing := [name for name in ("DimSize", "ElementType", "ElementDataFile") if name not in fields]:
        raise ValueError(f"its header has no {missing[0]}")
    if fields["ElementType"] not in TYPES:
        raise ValueError(f"its values are of the unknown type {fields['ElementType']}")
    return Meta(fields, place)


def _array(path: Path, meta: Meta, how: Reading) -> np.ndarray:
    """(X, Y, Z), or (X, Y, Z, 3) of colours."""
    where = meta.fields["ElementDataFile"]
    if where.upper() == "LOCAL":
        content = path.read_bytes()[meta.data :]
    else:
        if not (path.parent / where).is_file():
            raise ValueError(f"its values are in {where}, which is not beside it")
        content = (path.parent / where).read_bytes()
    if meta.fields.get("CompressedData", "False").lower() == "true":
        content = zlib.decompress(content)
    size = int(np.prod(meta.shape)) * meta.channels
    skipped = max(0, len(content) - size * meta.dtype.itemsize) if meta.fields.get("HeaderSize") == "-1" else 0
    if len(content) - skipped < size * meta.dtype.itemsize:
        raise ValueError(f"it has {len(content)} bytes of values, and its header says {size * meta.dtype.itemsize}")
    flat = np.frombuffer(content, meta.dtype, size, skipped)
    array = flat.astype(meta.dtype.newbyteorder("=")).reshape(*meta.shape[::-1], meta.channels)
    array = array.transpose(2, 1, 0, 3)
    if meta.channels == 1:
        return array[..., 0]
    if how.channel is None and meta.channels != 3:
        raise UserError(f"{path} has {meta.channels} channels that are no colours: data.channel=0 takes the first")
    if how.channel is not None and how.channel >= meta.channels:
        raise UserError(f"data.channel={how.channel}: {path} has the channels 0 to {meta.channels - 1}")
    return array if how.channel is None else array[..., how.channel]
