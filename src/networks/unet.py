"""U-Net (Ronneberger et al., MICCAI 2015), from segmentation-models-pytorch."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from src.core.errors import UserError


def unet(
    channels: int, masks: int, size: tuple[int, int], encoder: str, depth: int, width: int, normalise: bool = True
) -> nn.Module:
    """Images (B, channels, H, W) → logits (B, masks, H, W), from random weights: nothing is downloaded.

    Args:
        size: (height, width) of the images.
        encoder: any encoder of segmentation-models-pytorch.
        depth: how often the encoder halves the image, 3 to 5; the stages beyond, the largest, are left out, which
            small images do without.
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
    drop_unused(network, torch.zeros(1, channels, *size))
    return nn.Sequential(nn.InstanceNorm2d(channels), network) if normalise else network


def drop_unused(network: nn.Module, image: Tensor) -> None:
    """Replace what ``image`` does not pass on its way to the output, such as an encoder's stages beyond its depth.

    A module goes if neither it nor a part of it is called and none of its parameters gets a gradient.
    """
    called: set[nn.Module] = set()
    hooks = [m.register_forward_hook(lambda module, *_: called.add(module)) for m in network.modules()]
    training = network.training
    network.eval()(image).sum().backward()
    for hook in hooks:
        hook.remove()
    used = {parameter for parameter in network.parameters() if parameter.grad is not None}
    network.zero_grad()
    _replace_unused(network, called, used)
    network.train(training)


def _replace_unused(network: nn.Module, called: Set[nn.Module], used: Set[nn.Parameter]) -> None:
    for name, child in network.named_children():
        parameters = set(child.parameters())
        if parameters and not called & set(child.modules()) and not used & parameters:
            setattr(network, name, nn.Identity())
        else:
            _replace_unused(child, called, used)
