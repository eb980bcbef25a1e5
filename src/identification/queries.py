"""The images that are asked about, read as those of a set are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from src.core.errors import UserError
from src.data.build import Builder, DecodeSettings
from src.data.formats import read_slices, require_packages
from src.data.formats.base import Reading
from src.data.listing import Sample, list_samples
from src.data.store import Store
from src.identification.sets import to_unit
from src.metrics.diversity import WINDOW


def read_queries(path: Path, cache: Path, resolution: int, channels: int) -> tuple[list[str], Tensor]:
    """Files, and images (N, channels, H, W) in [0, 1], of a file, a folder, or what src.generate wrote.

    Raises:
        UserError: there is none, one cannot be read, or is smaller than the window in which SSIM compares.
    """
    samples = _samples(path)
    _check_sizes(samples)
    require_packages([sample.image for sample in samples])
    frame = (resolution, resolution)
    settings = DecodeSettings(frame, channels, "pad", None, (), "fail", no_masks=True, questions=False)
    builder = Builder(samples, [0] * len(samples), (), settings, os.cpu_count() or 1)
    store = Store.open_or_build(cache / f"identified-{builder.key()}", builder.build)
    return list(store.meta["files"]), to_unit(store.images, channels)


def _samples(path: Path) -> Sequence[Sample]:
    if not path.exists():
        raise UserError(f"images={path} does not exist: give an image or a folder of images")
    is_export = (path / "dataset.json").exists() and (path / "images").is_dir()
    return list_samples(path, "images" if is_export else None, {}, None, None).samples


def _check_sizes(samples: Sequence[Sample]) -> None:
    for sample in samples:
        try:
            with Image.open(sample.image) as image:
                width, height = image.size
        except OSError:  # a format that Pillow does not know, or a file that the decoder will complain of
            height, width = next(read_slices(sample.image, Reading())).shape[:2]
        if min(width, height) < WINDOW:
            raise UserError(
                f"{sample.image} is of {width}x{height} pixels, smaller than the window of {WINDOW} in which SSIM "
                "compares: leave it out"
            )
