"""What every format of files offers: its suffixes, what a file says of itself, and its slices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from src.core.errors import UserError


class BadFile(UserError):
    """A file that cannot be used: an error or, with ``data.on_error=skip``, left out."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are decoded."""

    deep: bool  # more than 8 bits a channel
    colour: bool  # stored with three channels (which may still be equal: a grey image saved as RGB)
    slices: int = 1  # images in it
    case: str | None = None  # the patient, where the file names one
    spacing: tuple[float, ...] | None = None  # mm between pixels: down, right and, in a volume, from slice to slice
    place: tuple[float, ...] | None = None  # where a volume lies; that of its labels must be the same
    volume: bool | None = True  # whether several slices are of one case; None where the format does not say
    hounsfield: bool = False  # whether what is kept are Hounsfield units, plus 1024


@dataclass(frozen=True)
class Reading:
    """What the user says of how files are read. See ``conf/data/folder.yaml``."""

    alpha: str | None = None  # drop | black | white; None where alpha that varies is a question
    channel: int | None = None  # the one to take of several
    axis: str = "axial"  # along which volumes are cut: axial | coronal | sagittal
    values: str | None = None  # stored | hounsfield | rescaled | displayed | percentile | zscore (``values.kept``)
    range: tuple[float, float] | None = None  # of rescaled values: what becomes black and white
    indices: bool = False  # of label maps with a palette: the numbers of the colours, not the colours
    array: str | None = None  # of an .npz: the one with the images


class Format(Protocol):
    """A module of this package. A file's slices are (H, W) or (H, W, 3), uint8 or uint16."""

    SUFFIXES: tuple[str, ...]
    PACKAGE: str | None  # that it needs beyond the ones that are always there

    def read_header(self, path: Path, how: Reading) -> Header: ...

    def read_slices(self, path: Path, how: Reading) -> Iterator[np.ndarray]: ...

    def read_labels(self, path: Path, how: Reading) -> Iterator[np.ndarray]:
        """As they are stored, (H, W) of any integers or (H, W, 3): what a mask or a label map says."""
        ...


@contextmanager
def bad_file(path: Path) -> Iterator[None]:
    """Whatever a decoder raises becomes one line."""
    try:
        yield
    except UserError:
        raise
    except Image.UnidentifiedImageError as error:
        reason = "it is empty (0 bytes)" if path.stat().st_size == 0 else "it is not an image that its suffix names"
        raise BadFile(f"cannot read {path}: {reason}") from error
    except Exception as error:  # decoders raise what they like: OSError, SyntaxError, struct.error, RuntimeError …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadFile(f"cannot read {path}: {reason}") from error
