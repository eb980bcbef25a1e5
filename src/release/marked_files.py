"""Files in which the watermark is looked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from src.core.errors import UserError
from src.data.decode import SUFFIXES, read_image
from src.release.formats.base import Format
from src.release.formats.nifti import Nifti
from src.release.formats.npz import Npz

OURS: tuple[type[Format], ...] = (Nifti, Npz)  # formats of exports that data sets are not read from


def image_files(path: Path) -> list[Path]:
    """An image, or those in a folder and below it, in order. Raises UserError where there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"images={path} does not exist: give an image or a folder of images")
    suffixes = (*SUFFIXES, *(form.suffix for form in OURS))
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name.lower().endswith(suffixes))
    files = [file for file in files if file.name[0] != "." and "masks" not in file.relative_to(path).parts]
    if not files:
        raise UserError(f"images={path} holds no images ({', '.join(sorted(suffixes))})")
    return files


def read_pixels(file: Path) -> np.ndarray:
    """(H, W) or (H, W, 3), uint8 or uint16. Raises UserError where that fails."""
    for form in OURS:
        if file.name.lower().endswith(form.suffix):
            try:
                return form().decode(file.read_bytes())
            except UserError:
                raise
            except Exception as problem:  # whatever a damaged file makes its reader stumble over
                reason = " ".join(str(problem).split()) or type(problem).__name__
                raise UserError(f"cannot read {file}: {reason}") from problem
    return read_image(file)
