"""What every feature space is: images in, class probabilities and features out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from src.training.checkpoint_io import weights_digest


class FeatureExtractor(nn.Module, ABC):
    """Images (B, C, H, W) in [-1, 1] → class probabilities (B, K), or None where there are no classes, and features.

    Attributes:
        title: name for passports.
        feature_count: D of the (B, D) features.
        classes: names of the K classes; () for None.
        standardised: whether features are of unlike units, and so are compared in units of their standard deviation
            over the real training images.
    """

    title: str
    feature_count: int
    classes: tuple[str, ...] = ()
    standardised: bool = False

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor | None, Tensor]: ...

    def digest(self) -> str:
        """sha256 of the title and all weights."""
        return weights_digest(self, self.title)


class BesideClassifier(FeatureExtractor):
    """Features that no classifier of the data gives; class probabilities are still those of one, where there is one."""

    def __init__(self, classifier: FeatureExtractor | None) -> None:
        super().__init__()
        self.classifier, self.classes = classifier, classifier.classes if classifier else ()

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] → (B, D)."""

    def forward(self, images: Tensor) -> tuple[Tensor | None, Tensor]:
        return self.classifier(images)[0] if self.classifier else None, self.features(images)
