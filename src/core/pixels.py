"""Between stored pixels and what networks see."""

from __future__ import annotations

import torch
from torch import Tensor


def to_unit_range(image: Tensor) -> Tensor:
    """Stored pixels (uint8 or uint16) → [-1, 1] in the default dtype, channels last in memory."""
    half = torch.iinfo(image.dtype).max / 2
    return image.to(torch.get_default_dtype()).div_(half).sub_(1).contiguous(memory_format=torch.channels_last)


def to_bytes(images: Tensor) -> Tensor:
    """[-1, 1] → uint8, rounded; what lies beyond is clipped."""
    return images.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
