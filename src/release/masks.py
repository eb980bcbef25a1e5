"""Which generated masks are fit to train on: neither empty nor full nor speckled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from torch import Tensor

from src.core.errors import UserError


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


@dataclass(frozen=True)
class Shape:
    """What the limits ask of a mask."""

    parts: tuple[int, ...]  # pixels of each connected part, the smallest first
    pixels: int  # of the image

    @classmethod
    def of(cls, mask: np.ndarray) -> Shape:
        """Of (H, W) bool."""
        labels, _ = ndimage.label(mask)
        return cls(tuple(np.sort(np.bincount(labels.ravel())[1:]).tolist()), mask.size)

    @property
    def covered(self) -> float:
        """Share of the image."""
        return sum(self.parts) / self.pixels

    def outside(self, parts: int) -> float:
        """Share of the mask that lies outside its ``parts`` largest connected parts; 0 where it is empty."""
        return sum(self.parts[:-parts]) / max(1, sum(self.parts))


def find_faults(masks: np.ndarray, names: Sequence[str], limits: MaskLimits) -> list[str | None]:
    """What is wrong with the first bad mask of each image, as in "lung: empty"; None where all are good.

    ``masks`` (N, K, H, W) bool; ``names`` of the K masks.
    """
    return [fault_of([Shape.of(mask) for mask in image], names, limits) for image in masks]


def fault_of(shapes: Sequence[Shape], names: Sequence[str], limits: MaskLimits) -> str | None:
    """``find_faults`` of one image, by the shapes of its masks."""
    for shape, name in zip(shapes, names, strict=True):
        if fault := _fault(shape, name in limits.may_be_empty, limits):
            return f"{name}: {fault}"
    return None


def _fault(shape: Shape, may_be_empty: bool, limits: MaskLimits) -> str | None:
    if not shape.parts:
        return None if may_be_empty else "empty"
    if shape.covered < limits.smallest:
        return "empty"
    if shape.covered > limits.largest:
        return "full"
    return "speckle" if shape.outside(limits.parts) > limits.speckle else None
