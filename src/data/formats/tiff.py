"""What Pillow does not read of TIFF: 16 bits a colour, stacks of slices, channels that are no colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import SOFTWARE, TiffImageFile

from src.core.errors import UserError
from src.data.formats.base import Header, Reading
from src.data.formats.values import is_deep, kept


@dataclass(frozen=True)
class Layout:
    """How the largest image series of a file is stored."""

    axes: str  # a letter for each axis, as tifffile names them: Z slices, C channels, Y down, X right, S samples
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Those that are no colours: axes C, or samples that are neither one nor three nor have alpha."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return sizes.get("C", 1) if "C" in sizes else sizes.get("S", 1)

    @property
    def slices(self) -> int:
        return int(np.prod([n for axis, n in zip(self.axes, self.shape, strict=True) if axis not in "CYXS"], dtype=int))


def wrote_bool(image: Image.Image) -> bool:
    """Whether a TIFF of 1 bit was saved from an array of truths, of which true is meant bright, by tifffile."""
    return isinstance(image, TiffImageFile) and str(image.tag_v2.get(SOFTWARE, "")).startswith("tifffile")


def read_header(path: Path, how: Reading) -> Header:
    """Raises UserError where channels would be dropped that ``how`` does not choose from."""
    import tifffile

    with _opened(path) as file:
        series = _largest(file)
        layout = _layout(series, path, how)
        colour = ("S" in layout.axes and how.channel is None) or series.pages[
            0
        ].photometric == tifffile.PHOTOMETRIC.PALETTE
        return Header(is_deep(series.dtype, how), colour, layout.slices)


def read_stack(path: Path, how: Reading) -> Iterator[np.ndarray]:
    """Slices (H, W) or (H, W, 3), uint8 or uint16."""
    import tifffile

    with _opened(path) as file:
        series = _largest(file)
        layout = _layout(series, path, how)
        values, white_zero = series.asarray(), series.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
        was_bool = values.dtype == bool
    if was_bool:
        values, white_zero = values.astype(np.uint8) * 255, white_zero and not _by_tifffile(file)
    if white_zero and values.dtype in (np.uint8, np.uint16):
        values = np.iinfo(values.dtype).max - values
    axes = layout.axes
    if "C" in axes:
        values, axes = np.take(values, how.channel or 0, axes.index("C")), axes.replace("C", "")
    order = [axes.index(axis) for axis in (*(a for a in axes if a not in "YXS"), *(a for a in "YXS" if a in axes))]
    values = values.transpose(order)
    if "S" in axes and how.channel is not None:
        values, axes = values[..., how.channel], axes.replace("S", "")
    tail = 3 if "S" in axes else 2
    slices = values.reshape(-1, *values.shape[-tail:])
    yield from kept((pixels[..., :3] if tail == 3 else pixels for pixels in slices), how, path)  # without alpha


def read_deep(path: Path) -> np.ndarray:
    """(H, W, C) of 16 bits, turned as its orientation says."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.photometric not in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK):
            raise ValueError("it has 16-bit colours that are not RGB, save it as RGB")
        image = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:  # planes stored one after the other
            image = image.transpose(1, 2, 0)
        tag = page.tags.get(ExifTags.Base.Orientation)
    orientation = 1 if tag is None else tag.value
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def _opened(path: Path) -> Any:
    """Raises ValueError where it is no TIFF."""
    import tifffile

    try:
        return tifffile.TiffFile(path)
    except tifffile.TiffFileError as error:
        raise ValueError("it is not an image that its suffix names") from error


def _largest(file: Any) -> Any:
    """The series of the full-size page; others are its reductions. Raises ValueError where they are not."""
    series = sorted(file.series, key=lambda one: -int(np.prod(one.shape)))
    sizes = [dict(zip(one.axes, one.shape, strict=True)) for one in series]
    high, wide = sizes[0].get("Y", 1), sizes[0].get("X", 1)
    for size in sizes[1:]:
        if size.get("Y", 1) >= high or size.get("X", 1) >= wide:
            raise ValueError(f"it holds {len(series)} images of unlike kinds, save each as a file of its own")
    return series[0]


def _layout(series: Any, path: Path, how: Reading) -> Layout:
    layout = Layout(series.axes, series.shape)
    colours = "C" not in layout.axes and layout.channels in (1, 3, 4) and series.pages[0].photometric in (2, 6)
    if layout.channels > 1 and not colours and how.channel is None:
        raise UserError(
            f"{path} has {layout.channels} channels that are no colours: data.channel=0 takes the first, and so on"
        )
    if how.channel is not None and how.channel >= max(layout.channels, 1):
        raise UserError(f"data.channel={how.channel}: {path} has the channels 0 to {layout.channels - 1}")
    return layout


def _by_tifffile(file: Any) -> bool:
    tag = file.pages.first.tags.get("Software")
    return tag is not None and str(tag.value).startswith("tifffile")
