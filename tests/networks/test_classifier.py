from __future__ import annotations

import copy

import pytest
import segmentation_models_pytorch as smp
import torch

from src.core.errors import UserError
from src.networks.classifier import ResidualClassifier, TimmClassifier
from src.networks.unet import drop_unused, unet


@pytest.mark.parametrize("network", [ResidualClassifier(1, 5, width=4), TimmClassifier(1, 5, "resnet18")])
def test_classifiers_give_logits_by_class_and_features_of_the_size_they_state(network):
    images = torch.randn(2, 1, 32, 32)
    assert network(images).shape == (2, 5)
    assert network.features(images).shape == (2, network.feature_count)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: ResidualClassifier(1, 1), "a classifier needs data with two classes or more"),
        (lambda: TimmClassifier(1, 2, "resnet18x"), "timm has no such model; try"),
        (lambda: unet(1, 0, (64, 64), "resnet18", 4, 16), "a U-Net needs data with masks: data=phantom, sunnybrook"),
        (lambda: unet(1, 1, (72, 64), "resnet18", 4, 16), "images of 72×64 pixels cannot be halved 4 times"),
        (lambda: unet(1, 1, (64, 64), "resnet-18", 4, 16), "is no encoder of segmentation-models-pytorch"),
    ],
)
def test_a_network_that_cannot_be_built_is_one_clear_line(build, said):
    with pytest.raises(UserError, match=said):
        build()


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_a_unet_gives_a_logit_per_pixel_and_mask_at_any_depth(depth):
    assert unet(3, 2, (64, 64), "resnet18", depth, 4).eval()(torch.randn(1, 3, 64, 64)).shape == (1, 2, 64, 64)


def test_a_unet_sees_no_difference_in_brightness_and_contrast_unless_told_to():
    torch.manual_seed(0)
    images = torch.rand(2, 1, 64, 64)
    same, seen = ((unet(1, 1, (64, 64), "resnet18", 3, 4, normalise).eval()) for normalise in (True, False))
    with torch.no_grad():
        assert torch.allclose(same(images), same(0.2 + 0.5 * images), atol=1e-2)
        assert not torch.allclose(seen(images), seen(0.2 + 0.5 * images), atol=1e-2)


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("depth", "dropped"), [(3, 2_099_712 + 8_393_728), (4, 8_393_728), (5, 0)])
def test_a_unet_holds_no_stage_that_it_does_not_use(depth, dropped):
    """The last two stages of a ResNet-18 have 2,099,712 and 8,393,728 parameters (He et al., 2016)."""
    widths = [16 * 2**i for i in reversed(range(depth))]
    whole = smp.Unet("resnet18", depth, None, decoder_channels=widths, in_channels=1, classes=2)
    network = unet(1, 2, (32, 32), "resnet18", depth, 16)
    assert count(network) == count(whole) - dropped
    network(torch.randn(2, 1, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_what_is_dropped_changes_no_bit_of_the_output():
    options = {"encoder_depth": 3, "decoder_channels": [16, 8, 4], "in_channels": 1, "encoder_weights": None}
    whole = smp.Unet("resnet18", **options)
    lean = copy.deepcopy(whole)
    drop_unused(lean, torch.zeros(1, 1, 32, 32))
    image = torch.randn(2, 1, 32, 32)
    assert lean.training and torch.equal(whole(image), lean(image))
    assert len(lean.state_dict()) < len(whole.state_dict())
