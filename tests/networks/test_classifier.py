from __future__ import annotations

import pytest
import torch

from src.errors import UserError
from src.networks.classifier import ResidualClassifier, TimmClassifier
from src.networks.unet import unet


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
