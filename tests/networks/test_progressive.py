from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.core.errors import UserError
from src.networks.equalized import EqualizedConv2d, leaky_relu
from src.networks.progressive import Discriminator, Generator, Progressive, blend_real
from src.networks.progressive_blocks import MinibatchStd

SMALL: dict[str, Any] = {"fmap_base": 128, "fmap_max": 32}  # 32, 32, 16 and 8 channels at 4 to 32 px
ENHANCED_AT = 16  # where the small networks of these tests have their attention


def small_generator(resolution: int = 32, latent_dim: int = 12, channels: int = 3, **options: Any) -> Generator:
    torch.manual_seed(0)
    return Generator(latent_dim, channels, resolution, **SMALL, **options)


def small_discriminator(resolution: int = 32, channels: int = 3, **options: Any) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(channels, resolution, **SMALL, **options)


def wake(network: Progressive) -> None:
    """Give attention and biases values of a trained network, which start at zero."""
    for name, parameter in network.named_parameters():
        if name.endswith(("gamma", "bias")):
            nn.init.uniform_(parameter, 0.2, 0.8)


def shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for name, parameter in module.named_parameters() if name.endswith("weight")]


def rms(tensor: torch.Tensor) -> float:
    return tensor.square().mean().sqrt().item()


# The paper's table 2


def test_both_networks_count_23_1_million_parameters_at_1024_px():
    with torch.device("meta"):
        networks = Generator(512, 3, 1024), Discriminator(3, 1024)
    for network in networks:
        assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == 23.1


WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}


def test_every_weight_of_the_generator_has_the_papers_shape():
    with torch.device("meta"):
        generator = Generator(512, 3, 1024)
    assert generator.resolutions == tuple(WIDTHS)
    assert shapes(generator.base) == [(512 * 4 * 4, 512), (512, 512, 3, 3)]
    for size, width in list(WIDTHS.items())[1:]:
        assert shapes(generator.blocks[str(size)]) == [(width, WIDTHS[size // 2], 3, 3), (width, width, 3, 3)]
    assert [shapes(layer) for layer in generator.rgb.values()] == [[(3, width, 1, 1)] for width in WIDTHS.values()]


def test_every_weight_of_the_discriminator_has_the_papers_shape():
    with torch.device("meta"):
        discriminator = Discriminator(3, 1024)
    assert shapes(discriminator.base) == [(512, 513, 3, 3), (512, 512, 4, 4), (1, 512)]
    for size, width in list(WIDTHS.items())[1:]:
        assert shapes(discriminator.blocks[str(size)]) == [(width, width, 3, 3), (WIDTHS[size // 2], width, 3, 3)]
    assert [shapes(layer) for layer in discriminator.rgb.values()] == [[(width, 3, 1, 1)] for width in WIDTHS.values()]


def test_gains_are_root_2_but_for_the_first_dense_layer_and_what_no_leaky_relu_follows():
    generator, discriminator = small_generator(attention_at=ENHANCED_AT), small_discriminator(attention_at=ENHANCED_AT)
    for network in (generator, discriminator):
        linear = ("attention", "classify") + (("rgb",) if network is generator else ())
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                gain = 1.0 if any(part in name for part in linear) else math.sqrt(2)
                gain = math.sqrt(2) / 4 if name == "base.dense" else gain
                assert layer.scale * math.sqrt(layer.weight[0].numel()) == pytest.approx(gain), name


@pytest.mark.parametrize("pixel_norm", [True, False])
def test_gains_of_the_first_and_last_layers_can_be_set_and_change_no_other(pixel_norm):
    plain = [*small_generator(pixel_norm=pixel_norm).modules(), *small_discriminator().modules()]
    changed = [
        *small_generator(pixel_norm=pixel_norm, first_gain=3.0, last_gain=0.5).named_modules(),
        *small_discriminator(last_gain=0.25).named_modules(),
    ]
    gains = {"base.dense": 3.0, "base.classify": 0.25, **{f"rgb.{size}": 0.5 for size in (4, 8, 16, 32)}}
    for before, (name, layer) in zip(plain, changed, strict=True):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            of_generator = not name.startswith("rgb") or layer.out_channels == 3
            gain = layer.scale * math.sqrt(layer.weight[0].numel())
            if name in gains and of_generator:
                assert gain == pytest.approx(gains[name]), name
            else:
                assert layer.scale == before.scale, name


# Scaled biases

SCALES = ["he", 0.1]


def biases_of(network: Progressive) -> dict[str, torch.Tensor]:
    return {name: bias for name, bias in network.named_parameters() if name.endswith("bias")}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_scaled_biases_are_those_of_unscaled_ones_times_he_s_constant_or_the_factor(scale, spectral_norm):
    """Spectral norm gives weights another factor, but not their biases."""
    made = {
        small_generator: {"attention_at": ENHANCED_AT},
        small_discriminator: {"attention_at": ENHANCED_AT, "spectral_norm": spectral_norm},
    }
    for make, options in made.items():
        plain, scaled = make(**options).eval(), make(bias_scale=scale, **options).eval()
        wake(scaled)
        plain.load_state_dict(scaled.state_dict())
        fans = {f"{name}.bias": layer for name, layer in make().named_modules() if isinstance(layer, nn.Conv2d)}
        fans["base.bias"] = make().get_submodule("base.dense" if make is small_generator else "base.classify")
        fans["base.classify.bias"] = fans["base.bias"]
        with torch.no_grad():
            for name, bias in biases_of(plain).items():
                bias.mul_(fans[name].scale if scale == "he" else scale)
        inputs = torch.randn(4, 12) if make is small_generator else torch.randn(4, 3, 16, 16)
        for alpha in (1.0, 0.5):
            assert torch.allclose(plain(inputs, 16, alpha), scaled(inputs, 16, alpha), atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("make", [small_generator, small_discriminator])
def test_a_step_of_adam_moves_a_scaled_bias_by_the_learning_rate_times_its_factor(make, scale):
    network = make(bias_scale=scale)
    inputs = torch.randn(4, 12) if make is small_generator else torch.randn(4, 3, 32, 32)
    network(inputs, 32).square().sum().backward()
    torch.optim.Adam(network.parameters(), lr=0.5, betas=(0.0, 0.99), eps=0.0).step()
    layers = [
        layer for layer in network.modules() if isinstance(layer, EqualizedConv2d) and layer.bias.grad is not None
    ]
    assert len(layers) > 6
    for layer in layers:
        moved = layer.scaled_bias()[layer.bias.grad != 0].abs()
        assert torch.allclose(moved, torch.tensor(0.5 * (layer.scale if scale == "he" else scale)))


@pytest.mark.parametrize("make", [small_generator, small_discriminator])
def test_biases_that_are_not_scaled_are_used_as_they_are(make):
    layers = [layer for layer in make().modules() if isinstance(layer, EqualizedConv2d)]
    assert layers and all(layer.scaled_bias() is layer.bias for layer in layers)


# Initialisation


@pytest.mark.parametrize("pixel_norm", [True, False])
def test_the_generators_activations_have_unit_scale_through_the_whole_depth(pixel_norm):
    torch.manual_seed(0)
    generator = Generator(128, 3, 128, fmap_max=128, pixel_norm=pixel_norm)
    scales = []
    for block in (generator.base, *generator.blocks.values()):
        block.register_forward_hook(lambda block, inputs, output: scales.append(rms(output)))
    with torch.no_grad():
        generator(torch.randn(2, 128), 128)
    assert len(scales) == 6
    if pixel_norm:
        assert scales == pytest.approx([1.0] * 6, abs=1e-3)
    else:
        assert min(scales) > 0.5 and max(scales) < 2


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_the_discriminators_activations_have_unit_scale_through_the_whole_depth(spectral_norm):
    torch.manual_seed(0)
    discriminator = Discriminator(3, 128, fmap_max=128, spectral_norm=spectral_norm)
    scales = []
    for block in discriminator.blocks.values():
        block.register_forward_hook(lambda block, inputs, output: scales.append(rms(output)))
    with torch.no_grad():
        discriminator(F.interpolate(torch.randn(2, 3, 32, 32), scale_factor=4), 128)
    assert len(scales) == 5 and min(scales) > 0.5 and max(scales) < 2


def test_with_its_switches_off_enhanced_gan_is_pggan_and_on_all_shared_layers_start_alike():
    options = {"attention_at": ENHANCED_AT}
    plain, off, on = small_generator(), small_generator(attention_at=None), small_generator(**options)
    unnormalised = small_generator(pixel_norm=False)
    for other in (off, on, unnormalised):
        state = other.state_dict()
        for name, tensor in plain.state_dict().items():
            assert torch.equal(tensor, state[name])
    assert list(plain.state_dict()) == list(off.state_dict()) == list(unnormalised.state_dict())

    discriminator, off_too = small_discriminator(), small_discriminator(attention_at=None, spectral_norm=False)
    assert list(discriminator.state_dict()) == list(off_too.state_dict())
    normalised = small_discriminator(spectral_norm=True, **options)
    for name, layer in discriminator.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert torch.equal(layer.weight, off_too.get_submodule(name).weight)
            original = normalised.get_submodule(name).parametrizations.weight.original
            assert torch.equal(layer.weight, original)


# Spectral norm


def test_after_warm_up_every_layers_top_singular_value_is_one():
    discriminator = small_discriminator(16, spectral_norm=True, attention_at=ENHANCED_AT)
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        for _ in range(100):
            discriminator(images, 16, alpha=0.5)
    discriminator.eval()
    idle = discriminator.rgb["4"]  # what did not run was not estimated either
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear) and m is not idle]
    assert len(layers) == 2 * 2 + 3 + 2 + 4
    for layer in layers:
        assert hasattr(layer, "parametrizations")
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.01)


def test_spectral_norms_vectors_are_buffers_that_only_training_moves():
    discriminator = small_discriminator(8, spectral_norm=True)
    names = [name for name, _ in discriminator.named_buffers()]
    assert names and all(name.endswith(("._u", "._v")) and name in discriminator.state_dict() for name in names)
    before = discriminator.state_dict()["base.conv.parametrizations.weight.0._u"].clone()
    discriminator.eval()(torch.randn(2, 3, 8, 8), 8)
    assert torch.equal(before, discriminator.state_dict()["base.conv.parametrizations.weight.0._u"])
    discriminator.train()(torch.randn(2, 3, 8, 8), 8)
    assert not torch.equal(before, discriminator.state_dict()["base.conv.parametrizations.weight.0._u"])


# Growth


@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_a_fade_in_of_the_generator_starts_at_the_images_of_the_resolution_below(resolution):
    generator = small_generator(attention_at=ENHANCED_AT)
    wake(generator)
    latent = torch.randn(4, 12)
    below = generator(latent, resolution // 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(generator(latent, resolution, alpha=0.0), below, atol=1e-6)


@pytest.mark.parametrize("resolution", [8, 16, 32])
@pytest.mark.parametrize("minibatch_std_at", [None, 16])
def test_a_fade_in_of_the_discriminator_starts_at_the_logits_of_the_resolution_below(resolution, minibatch_std_at):
    discriminator = small_discriminator(attention_at=ENHANCED_AT, minibatch_std_at=minibatch_std_at)
    wake(discriminator)
    images = torch.randn(4, 3, resolution // 2, resolution // 2)
    upsampled = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    logits = discriminator(upsampled, resolution, alpha=0.0)
    assert torch.allclose(logits, discriminator(images, resolution // 2), atol=1e-6)


def test_a_fade_in_ends_at_the_new_path_alone_which_computes_nothing_of_the_old():
    generator, discriminator = small_generator(), small_discriminator()
    for network in (generator, discriminator):
        wake(network)
    latent = torch.randn(4, 12)
    images, logits = generator(latent, 16), discriminator(torch.ones(4, 3, 16, 16), 16)
    for network in (generator, discriminator):
        nn.init.constant_(network.rgb["8"].weight, math.nan)
    assert torch.equal(generator(latent, 16, 1.0), images)
    assert torch.equal(discriminator(torch.ones(4, 3, 16, 16), 16, 1.0), logits)
    features = generator.blocks["16"](generator.blocks["8"](generator.base(latent)))
    assert torch.equal(images, generator.rgb["16"](features))


def test_during_a_fade_in_both_networks_mix_the_two_paths_by_alpha():
    generator, discriminator = small_generator(8), small_discriminator(8)
    for network in (generator, discriminator):
        wake(network)
    latent, image = torch.randn(4, 12), torch.randn(4, 3, 8, 8)
    old, new = (generator(latent, 8, alpha) for alpha in (0.0, 1.0))
    assert torch.allclose(generator(latent, 8, 0.3), 0.7 * old + 0.3 * new, atol=1e-6)
    old = leaky_relu(discriminator.rgb["4"](F.avg_pool2d(image, 2)))
    new = discriminator.blocks["8"](leaky_relu(discriminator.rgb["8"](image)))
    assert torch.allclose(discriminator(image, 8, 0.3), discriminator.base(0.7 * old + 0.3 * new), atol=1e-6)


def test_growth_is_continuous():
    generator, discriminator = small_generator(), small_discriminator()
    latent, image = torch.randn(4, 12), torch.randn(4, 3, 16, 16)
    for alpha in (0.0, 0.5, 1 - 1e-4):
        for network, inputs in ((generator, latent), (discriminator, image)):
            step = network(inputs, 16, alpha + 1e-4) - network(inputs, 16, alpha)
            assert 0 < step.abs().max() < 1e-2


def test_real_images_fade_in_from_their_half_resolution_version():
    image = torch.arange(8.0).view(1, 1, 2, 4)
    pooled = torch.tensor([2.5, 2.5, 4.5, 4.5]).expand(1, 1, 2, 4)
    assert torch.equal(blend_real(image, 0.0), pooled)
    assert torch.equal(blend_real(image, 1.0), image)
    assert torch.allclose(blend_real(image, 0.25), 0.75 * pooled + 0.25 * image)


@pytest.mark.parametrize("resolution", [4, 8, 16, 32])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("spectral_norm", [True, False])
def test_active_parameters_and_no_others_get_a_gradient(resolution, alpha, spectral_norm):
    generator = small_generator(attention_at=ENHANCED_AT)
    discriminator = small_discriminator(attention_at=ENHANCED_AT, spectral_norm=spectral_norm)
    discriminator(generator(torch.randn(4, 12), resolution, alpha), resolution, alpha).sum().backward()
    for network in (generator, discriminator):
        active = set(network.active_parameters(resolution, alpha))
        assert active == {parameter for parameter in network.parameters() if parameter.grad is not None}


def test_the_state_does_not_depend_on_the_resolution_that_ran():
    generator, discriminator = small_generator(), small_discriminator()
    before = [list(network.state_dict()) for network in (generator, discriminator)]
    for resolution, alpha in ((4, 1.0), (16, 0.5), (32, 1.0)):
        discriminator(generator(torch.randn(2, 12), resolution, alpha), resolution, alpha)
    assert before == [list(network.state_dict()) for network in (generator, discriminator)]


# Shapes and errors


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("start", "aspect", "shape"),
    [(4, (1, 1), (32, 32)), (4, (3, 4), (24, 32)), (4, (4, 3), (32, 24)), (8, (1, 2), (16, 32)), (4, (6, 8), (24, 32))],
)
def test_any_channels_and_aspect_with_the_longer_side_as_the_resolution(channels, start, aspect, shape):
    options = {"channels": channels, "start_resolution": start, "base_aspect": aspect, "attention_at": 16}
    images = small_generator(**options)(torch.randn(2, 12), 32, 0.5)
    assert images.shape == (2, channels, *shape)
    assert small_discriminator(**options)(images, 32, 0.5).shape == (2,)


def test_the_first_resolution_may_be_the_last():
    images = small_generator(4)(torch.randn(2, 12), 4, alpha=0.5)
    assert images.shape == (2, 3, 4, 4) and small_discriminator(4)(images, 4, alpha=0.5).shape == (2,)


def test_the_discriminator_without_minibatch_std_judges_every_image_alone():
    alone = small_discriminator(minibatch_std_group=1)
    assert shapes(alone.base)[0] == (32, 32, 3, 3)
    images = torch.randn(4, 3, 32, 32)
    assert torch.allclose(alone(images, 32)[:1], alone(images[:1], 32), atol=1e-6)


@pytest.mark.parametrize("at", [4, 16])
def test_minibatch_std_looks_at_the_features_of_its_resolution_and_joins_as_images_grow_to_it(at):
    discriminator, images = small_discriminator(minibatch_std_at=at), torch.randn(4, 3, 32, 32)
    wake(discriminator)
    shown: list[tuple[int, ...]] = []
    for layer in discriminator.modules():
        if isinstance(layer, MinibatchStd):
            layer.register_forward_pre_hook(lambda layer, inputs: shown.append(tuple(inputs[0].shape)))
    for size in (4, 8, 16, 32):
        pooled = F.avg_pool2d(images, 32 // size)
        shown.clear()
        together = discriminator(pooled, size)
        assert [shape[2:] for shape in shown] == ([(at, at)] if size >= at else [])
        alone = torch.cat([discriminator(image[None], size) for image in pooled])
        assert torch.allclose(together, alone, atol=1e-5) == (size < at)


def test_minibatch_std_at_the_first_resolution_is_the_default_to_the_bit():
    plain, same = small_discriminator(), small_discriminator(minibatch_std_at=4)
    assert [*plain.state_dict()] == [*same.state_dict()]
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(plain(images, 32, 0.5), same(images, 32, 0.5))


def test_minibatch_std_at_a_resolution_that_is_never_reached_is_refused():
    with pytest.raises(UserError, match=r"minibatch_std_at=64 is no resolution .* choose one of 4, 8, 16, 32, or null"):
        small_discriminator(minibatch_std_at=64)


@pytest.mark.parametrize("make", [small_generator, small_discriminator])
@pytest.mark.parametrize("attention_at", [4, 24, 64])
def test_attention_at_a_resolution_that_is_never_reached_is_refused(make, attention_at):
    network = make.__name__.removeprefix("small_")
    message = rf"model\.{network}\.attention_at={attention_at} is never reached.* 8, 16, 32; choose"
    with pytest.raises(UserError, match=message):
        make(attention_at=attention_at)


@pytest.mark.parametrize("pool", [0, 7])
def test_pooling_that_leaves_attention_no_keys_is_refused(pool):
    options = {"base_aspect": (3, 4), "attention_at": 16, "attention_pool": pool}
    with pytest.raises(UserError, match=rf"discriminator\.attention_pool={pool} does not fit .* choose 1 to 6$"):
        small_discriminator(**options)


def test_channels_that_attention_cannot_divide_are_refused():
    with pytest.raises(UserError, match=r"model\.generator\.attention_at=16 has 12 channels, .* multiple of 8"):
        Generator(8, 1, 32, fmap_base=256, fmap_max=12, attention_at=16)


@pytest.mark.parametrize(("resolution", "nearest"), [(100, 128), (48, 64), (2, 4)])
def test_a_resolution_that_doubling_does_not_reach_is_refused_with_the_nearest_good_one(resolution, nearest):
    with pytest.raises(UserError, match=rf"data\.resolution={resolution} .* set data\.resolution={nearest}$"):
        small_generator(resolution)


@pytest.mark.parametrize(("aspect", "start"), [((9, 16), 16), ((400, 600), 6), ((5, 7), 7)])
def test_an_aspect_without_whole_pixels_is_refused_with_a_start_that_has_them(aspect, start):
    with pytest.raises(UserError, match=rf"data\.aspect=.* set model\.schedule\.start_resolution={start}$"):
        small_generator(base_aspect=aspect)
    generator = small_generator(start * 4, start_resolution=start, base_aspect=aspect, attention_at=start * 4)
    height, width = generator(torch.randn(2, 12), start * 4).shape[2:]
    assert height * aspect[1] == width * aspect[0] and width == start * 4
