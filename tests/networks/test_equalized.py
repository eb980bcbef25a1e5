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
    MinibatchStd,
    PixelNorm,
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


def test_pixel_norm_gives_every_pixel_a_mean_square_of_one_over_its_channels():
    features = torch.randn(2, 7, 4, 4, dtype=torch.float64) * 5
    normalised = PixelNorm()(features)
    assert torch.allclose(normalised, features / (features.square().mean(1, keepdim=True) + 1e-8).sqrt(), atol=1e-12)
    assert torch.allclose(normalised.square().mean(1), torch.ones(2, 4, 4, dtype=torch.float64))


def test_pixel_norm_is_computed_in_float32_and_finite_at_zero():
    large = torch.full((1, 512, 1, 1), 300.0, dtype=torch.float16)  # whose squares float16 cannot hold
    assert torch.equal(PixelNorm()(large), torch.ones_like(large))
    zeros = torch.zeros(1, 3, 2, 2, requires_grad=True)
    PixelNorm()(zeros).sum().backward()
    assert torch.isfinite(zeros.grad).all()


def minibatch_std_by_hand(features: torch.Tensor, group: int) -> torch.Tensor:
    """Sample by sample, as the paper says it, in float64."""
    features = features.double()
    maps = []
    for i in range(len(features)):
        members = torch.stack([features[j] for j in range(len(features)) if j // group == i // group])
        assert len(members) == group
        variance = (members - members.mean(0)).square().mean(0)
        maps.append((variance + 1e-8).sqrt().mean().expand(1, *features.shape[2:]))
    return torch.cat([features, torch.stack(maps)], 1)


@pytest.mark.parametrize(("batch", "group"), [(16, 4), (4, 4), (3, 3), (2, 2), (1, 1), (14, 2), (6, 3), (5, 1)])
def test_minibatch_std_equals_a_float64_reference_also_where_four_does_not_divide_the_batch(batch, group):
    features = torch.randn(batch, 5, 4, 3)
    assert torch.allclose(MinibatchStd()(features).double(), minibatch_std_by_hand(features, group), atol=1e-6)


def test_minibatch_std_sees_collapse():
    varied = torch.randn(8, 5, 4, 4)
    collapsed = varied[:1].expand(8, -1, -1, -1)
    assert MinibatchStd()(varied)[:, -1].min() > 0.5
    assert MinibatchStd()(collapsed)[:, -1].max() < 1e-3


def test_minibatch_std_is_computed_in_float32():
    features = (torch.randn(4, 64, 4, 4) * 2e-4).half()  # whose variance, and the epsilon beside it, float16 calls zero
    expected = minibatch_std_by_hand(features, 4)[:, -1]
    assert torch.allclose(MinibatchStd()(features)[:, -1].double(), expected, rtol=5e-3)
