"""Folders of made images, as a user may have them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.data.folder import FolderData

SIDE = 16


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 250, (SIDE, SIDE), np.uint8)


def blob(seed: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[seed % 8 : seed % 8 + 5, 3 : 7 + seed % 4] = 255
    return mask


def write(path: Path, pixels: Any, side: int = 12) -> Path:
    """Save an image of one value, or of an array."""
    array = np.full((side, side), pixels, np.uint8) if np.isscalar(pixels) else np.asarray(pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def flat(root: Path, count: int = 10) -> Path:
    for number in range(count):
        write(root / f"{number}.png", number * 10)
    return root


def with_masks(root: Path, count: int = 10) -> Path:
    for number in range(count):
        write(root / "images" / f"{number}.dcm.jpg", 50)
        mask = np.zeros((12, 12), np.uint8)
        mask[: number + 1] = 255
        write(root / "masks" / f"{number}.dcm.png", mask)
    return root


def folder_data(root: Path, **options: Any) -> FolderData:
    return FolderData(str(root), **{"cache": str(root.parent / "cache"), "resolution": 8, **options})


def everything(data: FolderData) -> dict[str, np.ndarray]:
    """All rows of the data in the order of the files."""
    store = data.split("train").store
    masks = {} if store.masks is None else {"mask": store.masks}
    return {"image": store.images, "label": store.labels, **masks}


def snapshot(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def assert_nothing_written(root: Path) -> None:
    cache = root.parent / "cache"
    assert not cache.exists() or not list(cache.iterdir())
