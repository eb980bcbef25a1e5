from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.core.errors import UserError
from src.networks.dcgan import Discriminator, Generator
from src.networks.latent import Latent
from src.networks.upsampling import UpsampleConv2d


def kinds(module: nn.Module, *types: type) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, types)]


def test_the_baseline_generator_is_the_sources_table():
    generator = Generator(latent_dim=100, channels=3, resolution=32)
    (dense,) = kinds(generator, nn.Linear)
    assert (dense.in_features, dense.out_features) == (100, 128 * 8 * 8)
    convolutions = [(c.in_channels, c.out_channels, c.kernel_size) for c in kinds(generator, nn.Conv2d)]
    assert convolutions == [(128, 128, (3, 3)), (128, 64, (3, 3)), (64, 3, (3, 3))]
    assert len(kinds(generator, UpsampleConv2d)) == 2 and len(kinds(generator, nn.BatchNorm2d)) == 2
    assert len(kinds(generator, nn.ReLU)) == 3 and not kinds(generator, nn.LeakyReLU)


def test_the_baseline_discriminator_is_the_sources_table():
    discriminator = Discriminator(channels=3, resolution=32)
    convolutions = [(c.in_channels, c.out_channels, c.stride[0]) for c in kinds(discriminator, nn.Conv2d)]
    assert convolutions == [(3, 32, 2), (32, 64, 2), (64, 128, 2), (128, 256, 1)]
    assert [b.num_features for b in kinds(discriminator, nn.BatchNorm2d)] == [64, 128, 256]
    assert [d.p for d in kinds(discriminator, nn.Dropout)] == [0.3] * 4
    assert len(kinds(discriminator, nn.LeakyReLU)) == 4
    (dense,) = kinds(discriminator, nn.Linear)
    assert (dense.in_features, dense.out_features) == (256 * 4 * 4, 1)


def test_the_variant_doubles_with_transposed_convolutions_of_4_by_4_and_stride_2():
    generator = Generator(100, 3, 32, upsampling="transposed", activation="leaky_relu")
    transposed = kinds(generator, nn.ConvTranspose2d)
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in transposed] == [
        (128, 128, (4, 4), (2, 2)),
        (128, 64, (4, 4), (2, 2)),
    ]
    assert not kinds(generator, UpsampleConv2d, nn.ReLU)


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
@pytest.mark.parametrize("resolution", [16, 32, 64, 256])
@pytest.mark.parametrize("channels", [1, 4])
def test_any_power_of_two_and_number_of_channels(resolution, channels, upsampling):
    images = Generator(8, channels, resolution, upsampling=upsampling, width=0.125)(torch.randn(2, 8))
    assert images.shape == (2, channels, resolution, resolution) and images.abs().max() <= 1
    assert Discriminator(channels, resolution, width=0.125)(images).shape == (2,)


def test_the_source_uses_each_option_alone_so_its_two_changes_can_be_told_apart():
    def parameters(**options: Any) -> int:
        return sum(p.numel() for p in Generator(100, 3, 32, **options).parameters())

    assert parameters(activation="leaky_relu") == parameters()
    assert parameters(upsampling="transposed") != parameters()


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_norms_are_selectable(norm):
    count = {"batch": 5, "instance": 0, "none": 0}[norm]
    networks = nn.ModuleList([Generator(8, 1, 32, norm=norm), Discriminator(1, 32, norm=norm)])
    assert len(kinds(networks, nn.BatchNorm2d)) == count
    assert len(kinds(networks, nn.InstanceNorm2d)) == (5 if norm == "instance" else 0)


@pytest.mark.parametrize("resolution", [8, 48, 100])
def test_other_resolutions_are_refused_with_the_nearest_good_one(resolution):
    nearest = max(16, 2 ** round(math.log2(resolution)))
    with pytest.raises(UserError, match=f"data.resolution={resolution} is not .* set data.resolution={nearest}"):
        Generator(8, 1, resolution)


def test_latents_have_the_distribution_that_is_asked():
    generator = torch.Generator().manual_seed(0)
    uniform = Latent(50, "uniform").sample(2000, generator)
    assert uniform.min() >= -1 and uniform.max() <= 1 and abs(uniform.std() - 3**-0.5) < 0.01
    normal = Latent(50, "normal").sample(2000, generator)
    assert abs(normal.std() - 1) < 0.01 and abs(normal.mean()) < 0.01


def test_upsampling_and_convolution_in_one_equal_the_two_in_turn_with_their_gradients():
    layer = UpsampleConv2d(3, 5).double()
    image = torch.randn(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    together = layer(image)
    in_turn = F.conv2d(F.interpolate(image, scale_factor=2), layer.weight, layer.bias, padding=1)
    assert torch.allclose(together, in_turn, atol=1e-12)
    direction = torch.randn_like(together)
    inputs = (image, layer.weight, layer.bias)
    for a, b in zip(
        torch.autograd.grad(together, inputs, direction), torch.autograd.grad(in_turn, inputs, direction), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-12)
