"""Nearest-neighbour upsampling and a convolution, in one operation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def upsampling_kernel(weight: Tensor) -> Tensor:
    """3×3 kernels (out, in, 3, 3) → 4×4 kernels (in, out, 4, 4) of the equal transposed convolution.

    After nearest upsampling each input pixel stands four times, so the taps that meet the same pixel can be summed
    beforehand (Karras et al., 2018, `fused_scale`).
    """
    padded = F.pad(weight, (1, 1, 1, 1))
    summed = padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]
    return summed.transpose(0, 1).flip(2, 3)


class UpsampleConv2d(nn.Conv2d):
    """Nearest upsampling ×2, then a 3×3 convolution: (B, in, H, W) → (B, out, 2H, 2W).

    Computed as a transposed convolution with 4 taps per output pixel in place of 9, which is exact.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        return F.conv_transpose2d(input, upsampling_kernel(self.weight), self.bias, stride=2, padding=1)
