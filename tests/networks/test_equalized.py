from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.networks import equalized
from src.networks.equalized import (
    EqualizedConv2d,
    EqualizedLinear,
    EqualizedUpsampleConv2d,
)


def rms(tensor: torch.Tensor) -> float:
    return tensor.square().mean().sqrt().item()


@pytest.mark.parametrize("gain", [math.sqrt(2), math.sqrt(2) / 4, 1.0])
@pytest.mark.parametrize(
    "make", [lambda gain: EqualizedConv2d(64, 64, 3, gain=gain), lambda gain: EqualizedLinear(576, 64, gain)]
)
def test_weights_are_standard_normal_and_scaled_by_hes_constant_at_run_time(make, gain):
    torch.manual_seed(0)
    layer = make(gain)
    assert abs(layer.weight.std() - 1) < 0.02 and not layer.bias.any()
    shape = (50, 64, 3, 3) if isinstance(layer, nn.Conv2d) else (50, 576)
    images = torch.randn(shape)
    unscaled = images.flatten(1) @ layer.weight.flatten(1).T
    assert torch.allclose(layer(images).flatten(1), unscaled * gain / 24, atol=1e-5)
    assert rms(layer(images)) == pytest.approx(gain, rel=0.05)


def test_without_equalizing_the_same_weights_are_scaled_once_at_initialisation():
    layers = []
    for at_run_time in (True, False):
        torch.manual_seed(0)
        layers.append(EqualizedConv2d(8, 8, 3, equalized=at_run_time))
    images = torch.randn(2, 8, 5, 5)
    assert torch.allclose(layers[0](images), layers[1](images), atol=1e-6)
    assert layers[1].weight.std() < 0.2 < layers[0].weight.std()


@pytest.mark.parametrize("fuse_from", [0, 10**9])
def test_upsampling_convolution_equals_upsampling_then_convolution_fused_or_not(monkeypatch, fuse_from):
    monkeypatch.setattr(equalized, "FUSE_FROM", fuse_from)
    layer = EqualizedUpsampleConv2d(6, 4).double()
    nn.init.normal_(layer.bias)
    images = torch.randn(2, 6, 5, 3, dtype=torch.float64)
    weight = layer.weight * math.sqrt(2) / math.sqrt(6 * 9)
    expected = F.conv2d(images.repeat_interleave(2, 2).repeat_interleave(2, 3), weight, layer.bias, padding=1)
    assert torch.allclose(layer(images), expected, atol=1e-12)
