"""PNG files that say of themselves that they are synthetic."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from src.core.atomic import atomic_write, write_atomically

SOFTWARE = "GAN augmentation (src.generate)"
COMPRESSION = 1  # of 9: twice the speed of the usual 6, for a few per cent of the size


def save_synthetic(pixels: np.ndarray, path: Path, facts: Mapping[str, str]) -> None:
    """Write pixels (H, W) or (H, W, 3), uint8, or (H, W) uint16, with the label and ``facts`` in the file's text."""
    content = io.BytesIO()
    picture = Image.fromarray(pixels)
    picture.save(content, format="PNG", compress_level=COMPRESSION, pnginfo=_label(facts))
    write_atomically(path, content.getvalue(), durable=False)  # an export waits for the disk once, at its end


def is_whole(path: Path) -> bool:
    """Whether a PNG is there, with its checksums."""
    try:
        with Image.open(path) as picture:
            picture.verify()
    except Exception:  # whatever a damaged file makes its reader stumble over
        return False
    return True


def label_synthetic(path: Path, facts: Mapping[str, str]) -> None:
    """Write the label and ``facts`` into a PNG that is there already."""
    with Image.open(path) as picture:
        picture.load()
        with atomic_write(path) as file:
            picture.save(file, format="PNG", pnginfo=_label(facts))


def _label(facts: Mapping[str, str]) -> PngInfo:
    info = PngInfo()
    for key, value in {"Synthetic": "true", "Software": SOFTWARE, **facts}.items():
        info.add_text(key, value)
    return info
