"""How often a classifier is right."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.functional.classification import multiclass_recall


def accuracy(predicted: Tensor, label: Tensor) -> float:
    """Share of images (N,) whose predicted class is theirs."""
    return (predicted == label).double().mean().item()


def balanced_accuracy(predicted: Tensor, label: Tensor, classes: int) -> float:
    """Mean over the classes that occur of the share of a class's images (N,) that is found (Brodersen et al., 2010).

    Every class counts alike, however rare: who always names the most frequent of K classes reaches 1 / K.
    """
    return multiclass_recall(predicted, label, classes, average="none")[label.unique()].double().mean().item()
