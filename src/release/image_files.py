"""The files of the images of an export: one for an image, one for each of its masks, and what goes beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from src.core.pixels import to_unit_range
from src.data.scale import Scale
from src.release.content_credentials import ContentCredentials
from src.release.formats.base import Format
from src.release.label import Label


@dataclass(frozen=True)
class ImageFiles:
    """In ``root``: ``images/`` and ``masks/<name>/``, in them a folder for ``class_name`` where the format has those.

    Args:
        masks: their names.
        credentials: to sign the files with; None: they are not signed.
        scale: of which the files hold the values; None: the pixels.
    """

    root: Path
    format: Format
    masks: Sequence[str]
    class_name: str = ""
    credentials: ContentCredentials | None = None
    scale: Scale | None = None

    def image(self, index: int) -> Path:
        return self._place("images", index, self.format)

    def mask(self, name: str, index: int) -> Path:
        return self._place(f"masks/{name}", index, self.format.for_masks)

    def make_folders(self) -> None:
        for file in (self.image(0), *(self.mask(name, 0) for name in self.masks)):
            file.parent.mkdir(parents=True, exist_ok=True)

    def save(self, index: int, image: np.ndarray, masks: np.ndarray, label: Callable[[str], Label]) -> None:
        """Write ``image`` and ``masks`` (K, H, W) bool; ``label`` is that of an image or a mask, by kind."""
        for name, mask in zip(self.masks, masks, strict=True):
            pixels = mask.astype(np.uint8) * 255
            self.format.for_masks.save(pixels, self.mask(name, index), label(name), self.credentials)
        self.format.save(image, self.image(index), label("image"), self.credentials)

    def sha256(self, index: int) -> str:
        """Of all files of an image, one after the other; empty where one is missing."""
        total = hashlib.sha256()
        files = self.format.files(self.image(index))
        files += [file for name in self.masks for file in self.format.for_masks.files(self.mask(name, index))]
        for file in files:
            if not file.is_file():
                return ""
            total.update(file.read_bytes())
        return total.hexdigest()

    def pixels(self, index: int) -> np.ndarray:
        """Of an image that is written."""
        pixels = self.format.decode(self.image(index).read_bytes())
        return pixels if self.scale is None or pixels.dtype.kind != "f" else self.scale.pixels(pixels)

    def read(self, index: int) -> Tensor:
        """An image and its masks, (C + K, H, W) in [-1, 1]."""
        masks = [self.format.for_masks.decode(self.mask(name, index).read_bytes()) for name in self.masks]
        planes = [to_unit_range(torch.from_numpy(np.atleast_3d(plane))[None]) for plane in (self.pixels(index), *masks)]
        return torch.cat([plane[0].permute(2, 0, 1) for plane in planes])

    def _place(self, part: str, index: int, form: Format) -> Path:
        folder = self.root / part / (self.class_name if self.format.folder_per_class else "")
        return folder / f"{index:06d}{form.suffix}"
