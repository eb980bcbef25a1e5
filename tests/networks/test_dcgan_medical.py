"""The medical DCGAN is its source's, layer by layer."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

from src.core.errors import UserError
from src.networks.dcgan_medical import Discriminator, Generator

GENERATOR, DISCRIMINATOR = (512, 256, 128, 64, 32), (64, 128, 256, 512)


def kinds(module: nn.Module, *types: type) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, types)]


def test_the_generator_is_the_sources() -> None:
    with torch.device("meta"):
        generator = Generator(100, 3, 128, GENERATOR)
        image = generator(torch.empty(2, 100))
    (dense,) = kinds(generator, nn.Linear)
    assert (dense.in_features, dense.out_features) == (100, 512 * 4 * 4)
    layers = [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in kinds(generator, nn.ConvTranspose2d)]
    pairs = [(512, 512), (512, 256), (256, 128), (128, 64), (64, 32)]
    assert layers == [(*pair, (5, 5), (2, 2)) for pair in pairs]
    (last,) = kinds(generator, nn.Conv2d)
    assert (last.in_channels, last.out_channels, last.kernel_size) == (32, 3, (5, 5))
    assert [a.negative_slope for a in kinds(generator.stages, nn.LeakyReLU)] == [0.2] * 5
    assert not kinds(generator, nn.BatchNorm2d) and image.shape == (2, 3, 128, 128)


@pytest.mark.parametrize(("filters", "side"), [(DISCRIMINATOR, 8), ((*DISCRIMINATOR, 512), 4)], ids=["four", "five"])
def test_the_discriminator_is_the_sources_in_both_versions(filters: tuple[int, ...], side: int) -> None:
    with torch.device("meta"):
        discriminator = Discriminator(3, 128, filters)
        logits = discriminator(torch.empty(2, 3, 128, 128))
    layers = [(c.out_channels, c.kernel_size, c.stride) for c in kinds(discriminator, nn.Conv2d)]
    assert layers == [(count, (5, 5), (2, 2)) for count in filters]
    assert [a.negative_slope for a in kinds(discriminator, nn.LeakyReLU)] == [0.2] * len(filters)
    assert discriminator.dropout.p == 0.3 and discriminator.classify.in_features == 512 * side**2
    assert not kinds(discriminator, nn.BatchNorm2d) and logits.shape == (2,)


def test_dropout_comes_between_the_features_and_the_dense_layer() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(1, 16, [4, 8], dropout=0.5)
    image = torch.randn(64, 1, 16, 16)
    assert len(discriminator.stages(image).unique(dim=0)) == 64 and torch.equal(
        discriminator.stages(image), discriminator.stages(image)
    )
    assert not torch.equal(discriminator(image), discriminator(image))
    discriminator.eval()
    assert torch.equal(discriminator(image), discriminator.classify(discriminator.stages(image).flatten(1)).squeeze(1))


@pytest.mark.parametrize("width", [8, 64])
def test_signals_keep_their_scale_through_every_layer_at_any_width_without_a_norm(width: int) -> None:
    torch.manual_seed(0)
    generator, discriminator = Generator(100, 1, 64, [width] * 4), Discriminator(1, 64, [width] * 4)
    scales = []
    layers = kinds(nn.ModuleList([generator, discriminator]), nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    for layer in layers:
        layer.register_forward_hook(lambda module, given, made: scales.append(made.square().mean().sqrt().item()))
    with torch.no_grad():
        generator(torch.randn(32, 100))
        discriminator(torch.randn(32, 1, 64, 64))
    assert len(scales) == len(layers) == 11 and all(0.4 < scale < 2.2 for scale in scales), scales
    assert all(not bias.any() for name, bias in generator.named_parameters() if name.endswith("bias"))


def test_a_transposed_convolution_counts_the_taps_of_an_output_pixel() -> None:
    layer = kinds(Generator(4, 1, 128, GENERATOR), nn.ConvTranspose2d)[0]
    assert isinstance(layer, nn.ConvTranspose2d)
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 1.04 / (512 * 25 / 4)), rel=0.01)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_norm_is_an_option_of_both(norm: str) -> None:
    kind = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}[norm]
    assert [m.num_features for m in kinds(Generator(4, 1, 16, [8, 6], norm=norm), kind)] == [8, 6]
    assert [m.num_features for m in kinds(Discriminator(1, 16, [8, 6], norm=norm), kind)] == [6]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Generator(4, 1, 128, [64, 32]), "double 4 px 2 times, to 16 px, the data have 128: give 5 filters"),
        (lambda: Generator(4, 1, 48, [64, 32]), "have 48: give 4 filters, which make 64 px, or set resolution=16"),
        (lambda: Discriminator(1, 48, [64] * 5), "halve 48 px 5 times, which leaves no whole pixel: give fewer"),
        (lambda: Generator(4, 1, 8, [8], aspect=(3, 4)), "data.aspect=[3, 4]: dcgan_medical makes square images"),
        (lambda: Generator(4, 1, 8, [8], norm="layer"), "model.generator.norm=layer is unknown: choose one of batch"),
    ],
)  # fmt: skip
def test_filters_that_do_not_fit_are_refused_with_what_would(make, said) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        make()
