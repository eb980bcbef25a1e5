"""Reads one image or mask file into arrays, without losing bits, and fits them into a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from src.data import formats
from src.data.formats.base import BadFile, Header, Reading

DECODER_VERSION = 6  # part of a folder's key: raise it when decoded pixels change
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as Pillow's convert("L")
NEARLY_SQUARE = 0.01  # pixels whose sides differ by less are taken as square
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Resize = Callable[[np.ndarray, tuple[int, int], Box], np.ndarray]  # part of an image, at (width, height)

__all__ = ["BadFile", "Header", "Reading"]


def read_header(path: Path, how: Reading | None = None) -> Header:
    """Read the header of an image file. Raises BadFile where it is not an image."""
    return formats.read_header(path, how or Reading())


def read_image(path: Path, how: Reading | None = None) -> np.ndarray:
    """Decode the only image of a file to (H, W) or (H, W, 3), uint8 or uint16. Raises BadFile where that fails."""
    first, *others = formats.read_slices(path, how or Reading())
    if others:
        raise BadFile(f"{path} holds {1 + len(others)} images: give a file of one")
    return first


def is_grey(image: np.ndarray) -> bool:
    """Whether an (H, W) or (H, W, 3) image has no colour."""
    return image.ndim == 2 or bool((image == image[..., :1]).all())


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """(H, W) or (H, W, 3) → (channels, H, W); colour becomes luminance where one channel is asked for."""
    if image.ndim == 2:
        return image[None] if channels == 1 else np.broadcast_to(image, (channels, *image.shape))
    if channels == 3:
        return image.transpose(2, 0, 1)
    grey = image[..., 0] if is_grey(image) else np.rint(image @ LUMA).astype(image.dtype)
    return grey[None]


def resize_image(image: np.ndarray, size: tuple[int, int], box: Box) -> np.ndarray:
    """The part ``box`` of (H, W[, C]) uint8 or uint16 at ``size`` (width, height), antialiased (Lanczos)."""
    if size == image.shape[1::-1] and box == (0, 0, *size):
        return image
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, box=box))
    if image.ndim == 3:
        return np.stack([resize_image(image[..., c], size, box) for c in range(image.shape[2])], axis=2)
    real = Image.fromarray(image.astype(np.float32))  # Pillow filters no 16-bit mode
    real = real.resize(size, Image.Resampling.LANCZOS, box=box)
    return np.rint(np.asarray(real)).clip(0, 65535).astype(np.uint16)


@lru_cache(maxsize=1)
def _tables(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    values = np.arange(65536)
    windowed = np.rint(((values - low) / (high - low)).clip(0, 1) * 65535).astype(np.uint16)
    return windowed, (values * 257).clip(0, 65535).astype(np.uint16)  # 255 → 65535


def windowed(image: np.ndarray, window: tuple[float, float], deep: bool) -> np.ndarray:
    """uint16: values from ``window``, where they are ``deep``, or those of 8 bits, on the whole range."""
    return _tables(*window)[0 if deep else 1].take(image)


def square_pixels(spacing: Sequence[float]) -> tuple[float, float]:
    """By how much rows and columns are to be stretched so that pixels of (down, right) mm become square ones."""
    down, right = spacing[:2]
    finer = min(down, right)
    unlike = finer > 0 and max(down, right) / finer > 1 + NEARLY_SQUARE
    return (down / finer, right / finer) if unlike else (1.0, 1.0)


def stretch(image: np.ndarray, by: tuple[float, float], resize: Resize = resize_image) -> np.ndarray:
    """(H, W[, C]) with rows and columns multiplied by factors of 1 and more."""
    if by == (1.0, 1.0):
        return image
    height, width = image.shape[:2]
    return resize(image, (round(width * by[1]), round(height * by[0])), (0, 0, width, height))


def fit_frame(image: np.ndarray, frame: tuple[int, int], fit: str, resize: Resize = resize_image) -> np.ndarray:
    """Fit (H, W[, 3]) into a frame of (height, width[, 3]), aspect kept.

    ``fit``: "pad" scales the whole image into the frame and centres it on black; "crop" keeps the centre that fills it.
    ``resize``: for masks, ``mask_reduction.resize_mask``.
    """
    height, width = image.shape[:2]
    high, wide = frame
    if fit == "crop":
        scale = min(height / high, width / wide)
        kept_height, kept_width = scale * high, scale * wide
        left, top = (width - kept_width) / 2, (height - kept_height) / 2
        return resize(image, (wide, high), (left, top, left + kept_width, top + kept_height))
    scale = min(high / height, wide / width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    resized = resize(image, (new_width, new_height), (0, 0, width, height))
    if (new_height, new_width) == frame:
        return resized
    top, left = (high - new_height) // 2, (wide - new_width) // 2
    fitted = np.zeros((high, wide, *image.shape[2:]), image.dtype)
    fitted[top : top + new_height, left : left + new_width] = resized
    return fitted
