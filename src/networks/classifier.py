"""Classifiers whose penultimate features can be had: a small residual network, and timm's backbones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

from torch import Tensor, nn

from src.core.errors import UserError


class Classifier(nn.Module, ABC):
    """Images (B, C, H, W) in [-1, 1] → logits (B, classes), by a linear layer on ``features`` (B, feature_count)."""

    feature_count: int
    head: nn.Module

    @abstractmethod
    def features(self, images: Tensor) -> Tensor: ...

    def logits(self, features: Tensor) -> Tensor:
        """(B, classes) from what ``features`` gave: with both, one pass over the images is enough for either."""
        return self.head(features)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))


def _conv(fan_in: int, fan_out: int, pool: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False)]
    if pool:
        layers.append(nn.MaxPool2d(2))  # before the normalisation, which then costs a quarter
    return nn.Sequential(*layers, nn.BatchNorm2d(fan_out), nn.CELU(0.075, inplace=True))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_conv(width, width), _conv(width, width))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)


class ResidualClassifier(Classifier):
    """The nine-layer residual network of the fast CIFAR-10 literature (Page, "How to train your ResNet", 2018).

    Args:
        channels: of the images.
        classes: number of classes.
        width: channels of the first layer; the last have eight times as many, which is ``feature_count``.
    """

    def __init__(self, channels: int, classes: int, width: int = 64) -> None:
        super().__init__()
        _check_classes(classes)
        self.feature_count = 8 * width
        self.body = nn.Sequential(
            _conv(channels, width),
            _conv(width, 2 * width, pool=True),
            _Residual(2 * width),
            _conv(2 * width, 4 * width, pool=True),
            _conv(4 * width, 8 * width, pool=True),
            _Residual(8 * width),
        )
        self.head = nn.Linear(8 * width, classes, bias=False)
        self.scale = 0.125  # of the logits: keeps the first steps of a large learning rate tame

    def features(self, images: Tensor) -> Tensor:
        return self.body(images).flatten(2).max(2).values  # the gradient of a pooling does not repeat on a GPU

    def logits(self, features: Tensor) -> Tensor:
        return super().logits(features) * self.scale


class TimmClassifier(Classifier):
    """A backbone of timm by name, with random weights: nothing is downloaded.

    Raises:
        UserError: timm knows no such backbone.
    """

    def __init__(self, channels: int, classes: int, backbone: str = "resnet18") -> None:
        super().__init__()
        import timm

        _check_classes(classes)
        if not timm.is_model(backbone):
            near = timm.list_models(f"*{backbone}*")[:5] or ["resnet18", "convnext_tiny"]
            raise UserError(f"model.network.backbone={backbone}: timm has no such model; try {', '.join(near)}")
        self.body = timm.create_model(backbone, pretrained=False, in_chans=channels, num_classes=0)
        self.feature_count = int(cast(int, self.body.num_features))
        self.head = nn.Linear(self.feature_count, classes)

    def features(self, images: Tensor) -> Tensor:
        return self.body(images)


def _check_classes(classes: int) -> None:
    if classes < 2:
        raise UserError(
            "a classifier needs data with two classes or more: data=cifar10, chest_xray or phantom, "
            "or data=folder with a sub-folder per class or a table, data.labels_csv=<file>"
        )
