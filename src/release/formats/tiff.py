"""TIFF: lossless, 8 or 16 bits; the label is XMP in tag 700, and the image's description."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import IMAGEDESCRIPTION, SOFTWARE, XMP, TiffImageFile

from src.release import label as labels
from src.release.formats.base import Format, Loader
from src.release.label import Label


class Tiff(Format):
    """``compression``: Pillow's name of one."""

    suffix = ".tif"
    media_type = "image/tiff"
    on_hubs = True
    bits = (8, 16)
    signable = True
    holds_units = True
    label = "XMP in tag 700, `ImageDescription`"
    loaders = (
        Loader(
            "tifffile",
            ("tifffile",),
            "from pathlib import Path\n"
            "from tifffile import imread\n\n"
            'images = [imread(path) for path in sorted(Path("images").glob("*.tif"))]',
        ),
    )

    def __init__(self, compression: str = "tiff_adobe_deflate") -> None:
        self.compression = compression

    def encode(self, pixels: np.ndarray, label: Label) -> bytes:
        content = io.BytesIO()
        if label.scale is not None:
            pixels = label.scale.values(pixels)
        tags = {XMP: label.xmp(), IMAGEDESCRIPTION: label.sentence, SOFTWARE: labels.SOFTWARE}
        Image.fromarray(pixels).save(content, format="TIFF", compression=self.compression, tiffinfo=tags)
        return content.getvalue()

    def decode(self, content: bytes) -> np.ndarray:
        with TiffImageFile(io.BytesIO(content)) as picture:
            return np.array(picture)
