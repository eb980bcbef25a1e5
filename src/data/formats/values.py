"""From the values that a file says to the 8 or 16 bits that are kept, without losing any in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from src.core.errors import UserError
from src.data.formats.base import Reading

TOP = 65535
HU_OFFSET = 1024  # Hounsfield units start at -1024 (air); kept values at 0
TAILS = (0.5, 99.5)  # percentiles of a file that become black and white
SPREAD = 4  # standard deviations on each side of the mean that are kept
WINDOWS = {  # of CT, Hounsfield units: width and level as they are common in radiology
    "lung": (-1350, 150),
    "bone": (-450, 1050),
    "brain": (0, 80),
    "soft": (-160, 240),
}


def kept(slices: Iterable[np.ndarray], how: Reading, path: Path) -> Iterator[np.ndarray]:
    """Slices of any type as uint8 or uint16, by ``how.values``.

    stored: as they are, where they are whole numbers from 0 to 65535; hounsfield: plus 1024, with 0 for all below;
    rescaled: ``how.range`` becomes the whole range, on one scale in all files; percentile, zscore: of each file.
    Raises UserError for values that do not fit.
    """
    if how.values in (None, "stored", "displayed"):
        yield from (_stored(pixels, path) for pixels in slices)
    elif how.values == "hounsfield":
        yield from (_hounsfield(pixels) for pixels in slices)
    else:
        several = [pixels.astype(np.float32) for pixels in slices]
        low, high = _range(several, how, path)
        yield from (_stretched(pixels, low, high) for pixels in several)


def is_deep(dtype: np.dtype, how: Reading) -> bool:
    """Whether files of a type are kept in 16 bits."""
    return dtype not in (np.uint8, np.bool_) or how.values not in (None, "stored")


def _stored(pixels: np.ndarray, path: Path) -> np.ndarray:
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    if not np.isfinite([low, high]).all():
        raise UserError(f"{path} has values that are no numbers: data.on_error=skip does not help, write it anew")
    if low < 0 or high > TOP or (pixels.dtype.kind == "f" and not np.array_equal(pixels, np.rint(pixels))):
        kind = "fractions" if pixels.dtype.kind == "f" and not np.array_equal(pixels, np.rint(pixels)) else "values"
        raise UserError(
            f"{path} has {kind} from {low:g} to {high:g}, not whole numbers from 0 to 65535: data.values=hounsfield "
            "for CT, data.values=percentile or zscore where each file has a scale of its own (MRI), "
            "data.values=rescaled data.window='[low, high]' for one scale in all"
        )
    return pixels.astype(np.uint16)


def _hounsfield(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.int16:  # the usual type: all of its sums fit into 16 bits
        return np.maximum(pixels, -HU_OFFSET).view(np.uint16) + np.uint16(HU_OFFSET)
    if pixels.dtype in (np.uint16, np.uint8):  # without fractions, which take four times as long
        return (pixels.astype(np.int32) + HU_OFFSET).clip(0, TOP).astype(np.uint16)
    return np.rint(pixels.astype(np.float64) + HU_OFFSET).clip(0, TOP).astype(np.uint16)


def _range(slices: list[np.ndarray], how: Reading, path: Path) -> tuple[float, float]:
    if how.values == "rescaled":
        if how.range is None:
            raise UserError(
                "data.values=rescaled needs the values that become black and white: data.window='[low, high]'"
            )
        return how.range
    values = np.concatenate([pixels.ravel() for pixels in slices])
    if not np.isfinite(values).all():
        raise UserError(f"{path} has values that are no numbers: write it anew")
    inside = values[values > values.min()]  # without what lies around the body
    inside = inside if len(inside) else values
    if how.values == "zscore":
        middle, spread = float(inside.mean()), float(inside.std()) * SPREAD
        return middle - spread, middle + spread
    low, high = np.percentile(inside, TAILS)
    return min(float(low), float(values.min())) if low == high else float(low), float(high)


def _stretched(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    share = (pixels - low) / (high - low if high > low else 1)
    return np.rint(share.clip(0, 1) * TOP).astype(np.uint16)
