"""PNG: lossless, read by everything; the label is XMP in an iTXt chunk, and text beside it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from src.release.content_credentials import ContentCredentials
from src.release.formats.base import Format, Loader
from src.release.label import Label

XMP_KEYWORD = "XML:com.adobe.xmp"  # XMP part 3, 1.1.5
HUB = Loader(
    "datasets",
    ("datasets",),
    "from datasets import load_dataset\n\n"
    'images = load_dataset("imagefolder", data_dir="images", split="train")["image"]',
)


def torchvision_loader(suffix: str) -> Loader:
    return Loader(
        "torchvision",
        ("torchvision",),
        "from pathlib import Path\n"
        "from torchvision.io import decode_image\n\n"
        f'images = [decode_image(str(path)) for path in sorted(Path("images").glob("*{suffix}"))]',
    )


class Png(Format):
    """``compression``: 0 to 9; 1 has twice the speed of the usual 6, for a few per cent of the size."""

    suffix = ".png"
    media_type = "image/png"
    in_croissant = True
    on_hubs = True
    bits = (8, 16)
    signable = True
    label = "XMP in an iTXt chunk (`XML:com.adobe.xmp`), text chunks"
    loaders = (
        torchvision_loader(".png"),
        HUB,
    )

    def __init__(self, compression: int = 1) -> None:
        self.compression = compression

    def encode(self, pixels: np.ndarray, label: Label) -> bytes:
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, format="PNG", compress_level=self.compression, pnginfo=_chunks(label))
        return content.getvalue()

    def decode(self, content: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            return np.array(picture)


def relabel(path: Path, label: Label, credentials: ContentCredentials | None = None) -> None:
    """Write the label into a PNG that is there already, and sign it where there are ``credentials``."""
    with Image.open(path) as picture:
        pixels = np.array(picture)
    Png().save(pixels, path, label, credentials)


def _chunks(label: Label) -> PngInfo:
    info = PngInfo()
    info.add_itxt(XMP_KEYWORD, label.xmp().decode())
    for key, value in {**label.facts(), "Description": label.sentence}.items():
        info.add_text(key, value)
    return info
