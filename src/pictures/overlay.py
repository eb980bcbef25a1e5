"""Masks drawn over their images."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.utils import draw_segmentation_masks

from src.core.pixels import to_bytes

# Okabe and Ito's orange, sky blue, yellow and bluish green: visible on grey and told apart by colour-blind readers.
COLOURS = [(230, 159, 0), (86, 180, 233), (240, 228, 66), (0, 158, 115)]
ALPHA = 0.45


def overlay(images: Tensor, masks: Tensor) -> Tensor:
    """Images (N, 1 or 3, H, W) in [-1, 1] with masks (N, K, H, W) bool → (N, 3, H, W) in [-1, 1], tinted by mask."""
    pixels = to_bytes(images).expand(-1, 3, -1, -1)
    colours = [COLOURS[k % len(COLOURS)] for k in range(masks.shape[1])]
    drawn = [
        draw_segmentation_masks(image, mask, ALPHA, colours) if mask.any() else image
        for image, mask in zip(pixels, masks, strict=True)
    ]
    return torch.stack(drawn).float().div(127.5).sub(1)
