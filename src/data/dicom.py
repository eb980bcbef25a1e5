"""Reads one DICOM file into an array, without losing values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CT_OFFSET = 1024  # Hounsfield units start at -1024 (air); decoded values at 0


def read_depth_and_colour(path: Path) -> tuple[bool, bool]:
    """Whether a file decodes to uint16, and whether to colour, from its header. Raises what pydicom raises."""
    data = _read(path, stop_before_pixels=True)
    return _is_deep(data), data.SamplesPerPixel > 1 or _has_palette(data)


def read_dicom(path: Path) -> np.ndarray:
    """Decode to (H, W) or (H, W, 3), uint8 or uint16, bright on dark.

    CT becomes Hounsfield units + 1024, with 0 for all below; every other modality keeps its stored values, or those
    that its lookup table gives. Raises ValueError where they do not fit, and what pydicom raises.
    """
    data = _read(path)
    if int(data.get("NumberOfFrames") or 1) > 1:
        raise ValueError(f"it holds {data.NumberOfFrames} frames, save each frame as a file of its own")
    values = data.pixel_array
    if values.dtype.kind == "f":
        raise ValueError("it holds floating-point values, save it with 8 or 16 bits")
    if _has_palette(data):
        values = _colours(values, data)
    elif values.ndim == 2:
        values = _bright_on_dark(values.astype(np.int64), data)
        if _is_hounsfield(data):  # scanners mark what lies outside their circle by less than air
            values = np.maximum(_hounsfield(values, data) + CT_OFFSET, 0)
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


def _hounsfield(values: np.ndarray, data: Any) -> np.ndarray:
    slope, intercept = _rescale(data)
    units = np.rint(values * slope + intercept).astype(np.int64)
    if abs(slope) < 1 and len(np.unique(units)) < len(np.unique(values)):
        raise ValueError(f"its slope of {slope:g} would merge values in whole Hounsfield units, save it as PNG")
    return units


def _rescale(data: Any) -> tuple[float, float]:
    """Slope and intercept; enhanced objects keep them in the groups of their frames, and either may be empty."""
    holders = [data]
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in data.get(name) or ():
            holders += group.get("PixelValueTransformationSequence") or ()
    for holder in holders:
        slope, intercept = holder.get("RescaleSlope"), holder.get("RescaleIntercept")
        if slope or intercept:
            return float(slope or 1), float(intercept or 0)
    return 1, 0
