"""Makes masks smaller without losing what is thinner than a pixel of the result: vessels, membranes, single nuclei."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from src.data.decode import Box

FINE = 4  # pixels a side, within one of the result, that thin parts are looked for on, at most: enough, and fast
TIE = 1e-4  # how far a share may lie from a half and count as one
NEIGHBOURS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # north, then clockwise
SIDES = (0, 4, 2, 6)  # of them: north, south, east, west


def resize_mask(mask: np.ndarray, size: tuple[int, int], box: Box) -> np.ndarray:
    """The part ``box`` (left, top, right, bottom) of a mask (H, W) uint8, 0 or 1, at ``size`` (width, height).

    A pixel of a smaller mask is inside where the mask covers more than half of it, or just half and its centre, so that
    the area of compact masks stays; and where the centre line of a part passes that is thinner than the pixel, so that
    no part is lost or torn. Such a part becomes one pixel wide, and so gains area. A larger mask repeats pixels.
    """
    centre = _sample(mask, size, box, Image.Resampling.NEAREST) > 0
    width, height = size
    factor = max((box[2] - box[0]) / width, (box[3] - box[1]) / height)
    if factor <= 1:
        return centre.astype(np.uint8)
    share = _sample(mask.astype(np.float32), size, box, Image.Resampling.BOX)
    inside = (share > 0.5 + TIE) | ((share > 0.5 - TIE) & centre)
    stride = max(1, int(factor / FINE))
    line = thin(_pool(mask, stride), math.ceil(factor / stride / 2))
    inside[_places(line, stride, size, box)] = True
    return inside.astype(np.uint8)


def reduce_masks(masks: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """``resize_mask`` of whole masks (N, K, H, W), bool or 0 and 1, to ``frame`` (height, width): uint8, 0 or 1."""
    count, kinds, height, width = masks.shape
    small = np.empty((count, kinds, *frame), np.uint8)
    for place in np.ndindex(count, kinds):
        small[place] = resize_mask(masks[place].astype(np.uint8), frame[::-1], (0, 0, width, height))
    return small


def thin(mask: np.ndarray, steps: int) -> np.ndarray:
    """Peel ``steps`` layers off a mask (H, W), 0 or 1, on every side, but no pixel that connects others or ends a line.

    What is up to 2 × ``steps`` wide becomes a line of one pixel; parts, 8-connected, stay parts (Rosenfeld, 1975).
    """
    for _ in range(steps):
        before = mask
        for removable in REMOVABLE:
            mask = mask & ~removable[_codes(mask)]
        if np.array_equal(mask, before):
            break
    return mask


def _codes(mask: np.ndarray) -> np.ndarray:
    """Which neighbours of each pixel are inside, a bit for each."""
    height, width = mask.shape
    padded, codes = np.pad(mask, 1), np.zeros_like(mask)
    for bit, (down, right) in enumerate(NEIGHBOURS):
        codes |= padded[1 + down : 1 + down + height, 1 + right : 1 + right + width] << bit
    return codes


def _removable(side: int) -> np.ndarray:
    """(256,) by code of the neighbours: 1 where a pixel open to ``side`` neither connects others nor ends a line."""
    bits = (np.arange(256)[:, None] >> np.arange(9) % 8) & 1  # the first neighbour again behind the last
    groups = sum((bits[:, i] == 0) & ((bits[:, i + 1] | bits[:, i + 2]) == 1) for i in (0, 2, 4, 6))
    return ((bits[:, side] == 0) & (groups == 1) & (bits[:, :8].sum(1) > 1)).astype(np.uint8)


REMOVABLE = [_removable(side) for side in SIDES]


def _pool(mask: np.ndarray, stride: int) -> np.ndarray:
    """The largest of ``stride`` × ``stride`` pixels."""
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % stride), (0, -width % stride)))
    return padded.reshape(len(padded) // stride, stride, -1, stride).max((1, 3))


def _places(line: np.ndarray, stride: int, size: tuple[int, int], box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, in the result, of the pixels of ``line`` that lie in ``box``."""
    left, top, right, bottom = box
    width, height = size
    row, column = ((place + 0.5) * stride for place in np.nonzero(line))
    row = np.floor((row - top) * height / (bottom - top)).astype(int)
    column = np.floor((column - left) * width / (right - left)).astype(int)
    within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return row[within], column[within]


def _sample(mask: np.ndarray, size: tuple[int, int], box: Box, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).resize(size, how, box=box))
