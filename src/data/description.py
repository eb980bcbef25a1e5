"""What a model has to know of a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from src.core.errors import UserError


def image_size(resolution: int, aspect: Sequence[int]) -> tuple[int, int]:
    """(height, width) in pixels with ``resolution`` on the longer side.

    Raises UserError where an aspect (height, width) has no whole number of pixels.
    """
    height, width = aspect
    longer = max(height, width)
    if min(height, width) < 1:
        raise UserError(f"data.aspect=[{height}, {width}] must be positive, as [3, 4]")
    if resolution * min(height, width) % longer:
        unit = longer // math.gcd(height, width)
        grown = unit * 2 ** max(0, round(math.log2(max(resolution, 1) / unit)))
        raise UserError(
            f"data.aspect=[{height}, {width}] has no whole number of pixels at data.resolution={resolution}: "
            f"take a multiple of {unit}, such as {grown}"
        )
    return resolution * height // longer, resolution * width // longer


@dataclass(frozen=True)
class Description:
    """What a model has to know of a data set; the training configuration refers to it as ``${data.channels}`` etc."""

    channels: int
    resolution: int  # pixels on the longer side
    classes: tuple[str, ...]  # a label is an index into them; () where the data has no classes
    masks: tuple[str, ...]  # a mask channel each; () where the data has no masks
    aspect: tuple[int, int] = (1, 1)  # height : width

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return (self.channels, *image_size(self.resolution, self.aspect))

    def as_config(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
