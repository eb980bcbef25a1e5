"""Reads DICOM: one image, or the frames of a file, without losing values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from src.core.errors import UserError
from src.data.formats.base import BadFile, Header, Reading
from src.data.formats.values import TOP, kept

SUFFIXES = (".dcm", ".dicom", ".ima")
PACKAGE = "pydicom"
CT_OFFSET = 1024  # Hounsfield units start at -1024 (air); decoded values at 0
PREAMBLE = 128  # bytes before the letters DICM


def is_dicom(path: Path) -> bool:
    """Whether a file without suffix is DICOM, by the letters that follow its preamble; a DICOMDIR is a table."""
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        with path.open("rb") as file:
            return file.read(PREAMBLE + 4)[PREAMBLE:] == b"DICM"
    except OSError:
        return False


def read_header(path: Path, how: Reading) -> Header:
    data = _read(path, stop_before_pixels=True)
    if "Rows" not in data:
        raise BadFile(f"{path} holds no image (it is of the modality {data.get('Modality') or 'unknown'})")
    slices = int(data.get("NumberOfFrames") or 1)
    colour = (data.SamplesPerPixel > 1 or _has_palette(data)) and how.channel is None
    case = str(data.get("PatientID") or data.get("StudyInstanceUID") or "").strip() or None
    deep = _is_deep(data) or (how.values not in (None, "stored") and not colour)
    hounsfield = how.values in (None, "stored", "hounsfield") and not _has_palette(data) and _is_hounsfield(data)
    return Header(deep, colour, slices, case, _spacing(data), hounsfield=hounsfield)


def read_slices(path: Path, how: Reading) -> Iterator[np.ndarray]:
    """Bright on dark.

    As it is stored, CT becomes Hounsfield units + 1024, with 0 for all below; every other modality keeps its stored
    values, or those that its lookup table gives. ``how.values`` displayed: as its own window (VOI LUT) shows it; the
    others start from real units, by slope and intercept. Raises ValueError where values do not fit, and what pydicom
    raises.
    """
    data = _read(path)
    frames = _frames(data)
    if how.values == "hounsfield" and data.get("Modality") != "CT":
        raise UserError(f"data.values=hounsfield is for CT, and {path} is of the modality {data.get('Modality')}")
    in_units = how.values in ("rescaled", "percentile", "zscore") and frames.ndim == 3 and not _has_palette(data)
    if in_units:
        yield from kept((_in_units(values, data, number) for number, values in enumerate(frames)), how, path)
        return
    if frames.dtype.kind == "f":
        raise ValueError("it holds floating-point values: data.values=rescaled, percentile or zscore takes them")
    for number, values in enumerate(frames):
        shown = how.values == "displayed" and values.ndim == 2 and not _has_palette(data)
        pixels = _displayed(values, data) if shown else _values(values, data, number)
        yield pixels[..., how.channel] if how.channel is not None and pixels.ndim == 3 else pixels


def read_labels(path: Path, how: Reading) -> Iterator[np.ndarray]:
    yield from _frames(_read(path))


def _in_units(values: np.ndarray, data: Any, number: int) -> np.ndarray:
    """What the modality measures: Hounsfield units, Bq/ml …; negative where dark is stored on bright."""
    from pydicom.pixels import apply_modality_lut

    if data.get("ModalityLUTSequence"):
        units = apply_modality_lut(values, data)
    else:
        slope, intercept = _rescale(data, number)
        units = values.astype(np.float64) * slope + intercept
    return -units if data.PhotometricInterpretation == "MONOCHROME1" else units


def _displayed(values: np.ndarray, data: Any) -> np.ndarray:
    """Of 16 bits: the range that its window or lookup table gives, as a viewer shows it."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    shown = np.asarray(apply_voi_lut(apply_modality_lut(values, data), data), np.float64)
    table = data.get("VOILUTSequence")
    if table:
        low, high = 0.0, float(2 ** table[0].LUTDescriptor[2] - 1)
    elif data.get("WindowCenter") is not None:
        ends = apply_voi_lut(np.array([-1e9, 1e9]), data)  # all that the window maps to
        low, high = float(ends[0]), float(ends[1])
    else:
        raise UserError("data.values=displayed: the file has neither a window nor a lookup table")
    share = ((shown - low) / (high - low)).clip(0, 1)
    return np.rint((1 - share if data.PhotometricInterpretation == "MONOCHROME1" else share) * TOP).astype(np.uint16)


def _values(values: np.ndarray, data: Any, number: int) -> np.ndarray:
    if _has_palette(data):
        values = _colours(values, data)
    elif values.ndim == 2:
        small = values.dtype.itemsize <= 2 and not data.get("ModalityLUTSequence")
        values = _bright_on_dark(values.astype(np.int32 if small else np.int64), data)
        if _is_hounsfield(data):  # scanners mark what lies outside their circle by less than air
            values = _hounsfield(values, data, number)
            values += CT_OFFSET
            np.maximum(values, 0, out=values)
    deep = _is_deep(data)
    if values.min() < 0 or values.max() > (65535 if deep else 255):
        raise ValueError(
            f"its values from {values.min()} to {values.max()} do not fit into {16 if deep else 8} bits without sign, "
            "save it as a PNG of 16 bits, shifted or scaled alike for all files"
        )
    return values.astype(np.uint16 if deep else np.uint8)


def _read(path: Path, **options: Any) -> Any:
    import pydicom

    return pydicom.dcmread(path, **options)


def _frames(data: Any) -> np.ndarray:
    """(N, H, W) or (N, H, W, 3). As ``data.pixel_array``, without what that does to be kept: half of its time."""
    from pydicom.pixels import pixel_array

    pixels = pixel_array(data)
    return pixels if int(data.get("NumberOfFrames") or 1) > 1 else pixels[None]


def _spacing(data: Any) -> tuple[float, ...] | None:
    pixels = data.get("PixelSpacing") or data.get("ImagerPixelSpacing")
    return tuple(map(float, pixels)) if pixels else None


def _is_deep(data: Any) -> bool:
    if _has_palette(data):
        return _colours(np.zeros((1, 1), np.uint8), data).dtype != np.uint8
    if data.get("ModalityLUTSequence"):
        return data.ModalityLUTSequence[0].LUTDescriptor[2] > 8
    return data.BitsAllocated > 8 or _is_hounsfield(data)


def _has_palette(data: Any) -> bool:
    return data.PhotometricInterpretation == "PALETTE COLOR"


def _colours(indices: np.ndarray, data: Any) -> np.ndarray:
    """(H, W) → (H, W, 3), without alpha."""
    from pydicom.pixels import apply_color_lut

    return apply_color_lut(indices, data)[..., :3]


def _bright_on_dark(values: np.ndarray, data: Any) -> np.ndarray:
    """Stored values, or what their lookup table gives; inverted about the range of their bits, not of one image."""
    from pydicom.pixels import apply_modality_lut

    bits = data.BitsStored - data.PixelRepresentation  # one is the sign
    if data.get("ModalityLUTSequence"):
        values = apply_modality_lut(values, data).astype(np.int64)
        bits = data.ModalityLUTSequence[0].LUTDescriptor[2]
    return 2**bits - 1 - values if data.PhotometricInterpretation == "MONOCHROME1" else values


def _is_hounsfield(data: Any) -> bool:
    if data.get("Modality") != "CT" or data.SamplesPerPixel > 1 or data.get("ModalityLUTSequence"):
        return False
    return data.BitsAllocated > 8 or _rescale(data) != (1, 0)  # 8 bits as they are: a picture of a screen


def _hounsfield(values: np.ndarray, data: Any, number: int) -> np.ndarray:
    slope, intercept = _rescale(data, number)
    if values.dtype == np.int32 and slope == 1 and intercept == int(intercept) and abs(intercept) < 2**16:
        values += int(intercept)  # the usual case, without fractions
        return values
    units = np.rint(values * slope + intercept).astype(np.int64)
    if abs(slope) < 1 and len(np.unique(units)) < len(np.unique(values)):
        raise ValueError(f"its slope of {slope:g} would merge values in whole Hounsfield units, save it as PNG")
    return units


def _rescale(data: Any, number: int = 0) -> tuple[float, float]:
    """Slope and intercept; enhanced objects keep them in the groups of their frames, and either may be empty."""
    holders = [data]
    frames = list(data.get("PerFrameFunctionalGroupsSequence") or ())
    for group in [*(data.get("SharedFunctionalGroupsSequence") or ()), *frames[number : number + 1]]:
        holders += group.get("PixelValueTransformationSequence") or ()
    for holder in holders:
        slope, intercept = holder.get("RescaleSlope"), holder.get("RescaleIntercept")
        if slope or intercept:
            return float(slope or 1), float(intercept or 0)
    return 1, 0
