"""Which generated masks are fit to train on: neither empty nor full nor speckled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from torch import Tensor

from src.errors import UserError


@dataclass(frozen=True)
class MaskLimits:
    """What a mask may look like (``conf/generate.yaml``); the defaults are made for lungs (``real_masks``).

    Args:
        smallest: share of the image that a mask covers at least; below, it is ``empty``.
        largest: share of the image that a mask covers at most; above, it is ``full``.
        speckle: share of the mask that may lie outside its largest connected parts; above, it is ``speckle``.
        parts: how many connected parts are the structure itself; two, as lungs come in pairs.
        may_be_empty: names of masks that an image may lack altogether, such as lesions.

    Raises:
        UserError: a value out of its range.
    """

    smallest: float = 0.001
    largest: float = 0.95
    speckle: float = 0.1
    parts: int = 2
    may_be_empty: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.smallest < self.largest <= 1:
            raise UserError(
                f"masks.smallest={self.smallest} and masks.largest={self.largest} are shares of the image: "
                "set 0 <= smallest < largest <= 1"
            )
        if not 0 <= self.speckle <= 1:
            raise UserError(f"masks.speckle={self.speckle} is a share of the mask: set it between 0 and 1")
        if not (isinstance(self.parts, int) and self.parts >= 1):
            raise UserError(f"masks.parts={self.parts} must be an integer of at least 1")


def binary(masks: Tensor) -> np.ndarray:
    """Generated masks in [-1, 1] → bool of the same shape; inside is above 0."""
    return (masks > 0).cpu().numpy()


def find_faults(masks: np.ndarray, names: Sequence[str], limits: MaskLimits) -> list[str | None]:
    """What is wrong with the first bad mask of each image, as in "lung: empty"; None where all are good.

    ``masks`` (N, K, H, W) bool; ``names`` of the K masks.
    """
    covered = masks.mean((2, 3))
    outside = outside_share(masks.reshape(-1, *masks.shape[2:]), limits.parts).reshape(covered.shape)
    faults: list[str | None] = []
    for shares, speckles in zip(covered, outside, strict=True):
        found = (
            f"{name}: {fault}"
            for name, share, speckle in zip(names, shares, speckles, strict=True)
            if (fault := _fault(share, speckle, name in limits.may_be_empty, limits))
        )
        faults.append(next(found, None))
    return faults


def _fault(share: float, speckle: float, may_be_empty: bool, limits: MaskLimits) -> str | None:
    if share == 0:
        return None if may_be_empty else "empty"
    if share < limits.smallest:
        return "empty"
    if share > limits.largest:
        return "full"
    return "speckle" if speckle > limits.speckle else None


def outside_share(masks: np.ndarray, parts: int) -> np.ndarray:
    """Share of each mask (N, H, W) that lies outside its ``parts`` largest connected parts; 0 where it is empty."""
    shares = np.zeros(len(masks))
    for i, mask in enumerate(masks):
        labels, count = ndimage.label(mask)
        if count > parts:
            sizes = np.sort(np.bincount(labels.ravel())[1:])
            shares[i] = sizes[:-parts].sum() / sizes.sum()
    return shares
