"""JPEG: small and lossy, for images alone; their masks are PNG. The label is XMP in APP1, and a comment."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from src.release.formats.base import Format
from src.release.formats.png import HUB, Png, torchvision_loader
from src.release.label import Label


class Jpeg(Format):
    """``quality``: 1 to 100; colour is not subsampled."""

    suffix = ".jpg"
    media_type = "image/jpeg"
    in_croissant = True
    on_hubs = True
    signable = True
    label = "XMP in APP1, a comment"
    loaders = (
        torchvision_loader(".jpg"),
        HUB,
    )

    def __init__(self, quality: int = 95) -> None:
        self.quality = quality

    @property
    def for_masks(self) -> Format:
        return Png()

    def encode(self, pixels: np.ndarray, label: Label) -> bytes:
        content = io.BytesIO()
        Image.fromarray(pixels).save(
            content,
            format="JPEG",
            quality=self.quality,
            subsampling=0,
            xmp=label.xmp(),
            comment=f"{label.sentence}\n{label.as_json()}".encode(),
        )
        return content.getvalue()

    def decode(self, content: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
            return np.array(picture)
