"""Files in which the watermark is looked for: those of exports, and pictures that others saved of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from src.core.errors import UserError
from src.release.formats.base import Format
from src.release.formats.dicom import Dicom
from src.release.formats.nifti import Nifti
from src.release.formats.npz import Npz

OURS: tuple[type[Format], ...] = (Dicom, Nifti, Npz)  # formats that Pillow does not read
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", *(form.suffix for form in OURS))


def image_files(path: Path) -> list[Path]:
    """An image, or those in a folder and below it, in order, but for masks. Raises UserError where there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"images={path} does not exist: give an image or a folder of images")
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name.lower().endswith(SUFFIXES)]
    files = [file for file in files if file.name[0] != "." and "masks" not in file.relative_to(path).parts]
    if not files:
        raise UserError(f"images={path} holds no images ({', '.join(SUFFIXES)}): check the path")
    return files


def read_pixels(file: Path) -> np.ndarray:
    """(H, W) or (H, W, 3), uint8 or uint16. Raises UserError where that fails."""
    try:
        pixels = _decoded(file)
    except UserError:
        raise
    except Exception as problem:  # whatever a damaged file makes its reader stumble over
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise UserError(f"cannot read {file}: {reason}") from problem
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(f"cannot read {file}: its values are {pixels.dtype}, those of an export are of 8 or 16 bits")
    return pixels


def _decoded(file: Path) -> np.ndarray:
    for form in OURS:
        if file.name.lower().endswith(form.suffix):
            return form().decode(file.read_bytes())
    with Image.open(file) as picture:
        if picture.mode.startswith("I;16"):
            return np.array(picture)
        return np.array(picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"))
