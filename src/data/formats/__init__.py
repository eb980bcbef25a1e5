"""The formats that files are read in: each a module of this package, chosen by suffix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np

from src.core.errors import UserError
from src.data.formats import arrays, dicom, metaimage, nifti, raster
from src.data.formats.base import BadFile, Format, Header, Reading, bad_file
from src.data.tree import suffix_of

__all__ = ["BadFile", "Format", "Header", "Reading"]

FORMATS = [cast(Format, module) for module in (raster, dicom, nifti, metaimage, arrays)]
BY_SUFFIX = {suffix: kind for kind in FORMATS for suffix in kind.SUFFIXES}


def format_of(path: Path) -> Format | None:
    """By suffix; a file without one is DICOM where its content says so."""
    if suffix := suffix_of(path.name):
        return BY_SUFFIX.get(suffix)
    return cast(Format, dicom) if dicom.is_dicom(path) else None


def is_readable(path: Path) -> bool:
    return format_of(path) is not None


def tells_case(path: Path) -> bool:
    """Whether files of this format name their patient."""
    return format_of(path) is dicom


def readable_suffixes() -> list[str]:
    return sorted(BY_SUFFIX)


def require_packages(paths: Sequence[Path]) -> None:
    """Raise UserError where a file needs a package that is not installed."""
    for kind in FORMATS:
        if kind.PACKAGE is None or find_spec(kind.PACKAGE) is not None:
            continue
        if files := [path for path in paths if format_of(path) is kind]:
            more = f" and {len(files) - 1} more files" if len(files) > 1 else ""
            raise UserError(
                f"{files[0]}{more} need {kind.PACKAGE}: pip install {kind.PACKAGE}, or all formats: "
                "pip install -c constraints.txt -e '.[medical]'"
            )


def read_header(path: Path, how: Reading) -> Header:
    """Raises BadFile where the file is no image."""
    with bad_file(path):
        kind = _of(path)
        header = kind.read_header(path, how)
        return header if kind is dicom else replace(header, hounsfield=how.values == "hounsfield")


def read_slices(path: Path, how: Reading) -> Iterator[np.ndarray]:
    """The images of a file. Raises BadFile where it cannot be read."""
    with bad_file(path):
        yield from _of(path).read_slices(path, how)


def read_labels(path: Path, how: Reading) -> Iterator[np.ndarray]:
    """The masks or label maps of a file, as they are stored. Raises BadFile where it cannot be read."""
    with bad_file(path):
        yield from _of(path).read_labels(path, how)


def _of(path: Path) -> Format:
    kind = format_of(path)
    if kind is None:
        raise BadFile(f"{path} is of no format that is read here ({', '.join(readable_suffixes())})")
    return kind
