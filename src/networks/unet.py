"""U-Net (Ronneberger et al., MICCAI 2015), from segmentation-models-pytorch."""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from src.errors import UserError


def unet(
    channels: int, masks: int, size: tuple[int, int], encoder: str, depth: int, width: int, normalise: bool = True
) -> nn.Module:
    """Images (B, channels, H, W) → logits (B, masks, H, W), from random weights: nothing is downloaded.

    Args:
        size: (height, width) of the images.
        encoder: any encoder of segmentation-models-pytorch.
        depth: how often the encoder halves the image, 3 to 5; with 4, a residual encoder leaves out its last and
            largest stage, which small images do without.
        width: channels of the last decoder stage; every stage before has twice as many.
        normalise: give every image zero mean and unit deviation first, channel by channel, as nnU-Net does (Isensee et
            al., Nature Methods 2021): scanners differ in brightness more than patients do.

    Raises:
        UserError: no masks, an unknown encoder, or a size that ``depth`` halvings do not divide.
    """
    if masks < 1:
        raise UserError(
            "a U-Net needs data with masks: data=phantom, sunnybrook or cvc_clinicdb, "
            "or data=folder with data.mask_folders='{name: folder}'"
        )
    if any(side % 2**depth for side in size):
        raise UserError(
            f"images of {size[0]}×{size[1]} pixels cannot be halved {depth} times, as this U-Net does: make "
            f"data.resolution a multiple of {2**depth}, or lower model.network.depth"
        )
    widths = [width * 2**i for i in reversed(range(depth))]
    options: dict[str, Any] = {"in_channels": channels, "classes": masks, "encoder_weights": None}
    try:
        network = smp.Unet(encoder, encoder_depth=depth, decoder_channels=widths, **options)
    except KeyError as problem:
        raise UserError(
            f"model.network.encoder={encoder} is no encoder of segmentation-models-pytorch: try resnet18 or resnet34"
        ) from problem
    return nn.Sequential(nn.InstanceNorm2d(channels), network) if normalise else network
