"""From what a generator makes to the pixels of a file: smaller without aliasing, rounded once."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.data.mask_reduction import reduce_masks
from src.release import masks


def shrink(images: Tensor, channels: int, frame: tuple[int, int]) -> Tensor:
    """(N, C + K, H, W) in [-1, 1] at ``frame`` (height, width): images averaged, the masks behind them as real ones."""
    if images.shape[2:] == frame:
        return images
    small = torch.from_numpy(reduce_masks(masks.binary(images[:, channels:]), frame))
    return torch.cat([F.interpolate(images[:, :channels], size=frame, mode="area"), small * 2.0 - 1], 1)


def to_pixels(images: Tensor, bits: int) -> np.ndarray:
    """(N, C, H, W) in [-1, 1] → (N, H, W), or (N, H, W, 3) in colour, uint8 or uint16, rounded."""
    top = 2**bits - 1
    pixels = images.clamp(-1, 1).double().add(1).mul(top / 2).round().numpy()
    pixels = pixels.astype(np.uint8 if bits == 8 else np.uint16).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels[..., 0] if images.shape[1] == 1 else pixels)
