"""The images that are asked about, read as those of a set are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from torch import Tensor

from src.core.errors import UserError
from src.data.formats import Reading, is_readable, read_slices, readable_suffixes
from src.identification.sets import open_folder, to_unit
from src.metrics.diversity import WINDOW


def read_queries(path: Path, cache: str, resolution: int, channels: int) -> tuple[list[str], Tensor]:
    """Files, and images (N, channels, H, W) in [0, 1], of a file, a folder, or what src.generate wrote.

    Raises:
        UserError: there is none, one cannot be read, or is smaller than the window in which SSIM compares.
    """
    if not path.exists():
        raise UserError(f"images={path} does not exist: give an image or a folder of images")
    if path.is_dir():
        return _read(path, cache, resolution, channels)
    if not is_readable(path):
        raise UserError(f"images={path} is of no format that is read here: {', '.join(readable_suffixes())}")
    with tempfile.TemporaryDirectory() as folder:  # a folder that holds this file alone
        alone = Path(folder) / path.name
        alone.symlink_to(path.resolve())
        return _read(Path(folder), cache, resolution, channels)


def _read(folder: Path, cache: str, resolution: int, channels: int) -> tuple[list[str], Tensor]:
    data = open_folder(folder, cache, resolution, channels=channels)
    split = data.split("train")
    _check_sizes({data.root / file.rpartition("#")[0] if "#" in file else data.root / file for file in split.files()})
    return split.files(), to_unit(split.store.images[split.rows], channels)


def _check_sizes(files: Iterable[Path]) -> None:
    for file in sorted(files):
        try:
            with Image.open(file) as image:
                width, height = image.size
        except OSError:  # a format that Pillow does not know
            height, width = next(read_slices(file, Reading())).shape[:2]
        if min(width, height) < WINDOW:
            raise UserError(
                f"{file.resolve()} is of {width}x{height} pixels, smaller than the window of {WINDOW} in which SSIM "
                "compares: leave it out"
            )
