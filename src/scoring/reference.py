"""The real side of the scores: measured once for a data set and a network, then kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from src.core.atomic import atomic_write
from src.data.base import ImageData
from src.data.store import Split
from src.metrics.accuracy import accuracy, balanced_accuracy
from src.metrics.frechet import mean_and_covariance
from src.metrics.probabilities import Means, means
from src.scoring.feature_extractors import FeatureExtractor
from src.scoring.image_features import ImageFeatures, extract, numbered, shuffled, split_batches

FORMAT = 3  # part of every file's name: raise it when what is measured changes
NEIGHBOURS = 5_000  # images a side whose features are compared one by one, at a cost of their square


@dataclass(frozen=True)
class Reference:
    """Statistics of a data set's training images in a feature space."""

    count: int  # images
    probabilities: Tensor | None  # (K,) mean class probabilities; None where the space has no classes
    entropy: Tensor | None  # () mean entropy of an image's class probabilities, nats
    mean: Tensor  # (D,) float64
    covariance: Tensor  # (D, D) float64
    cases: int  # patients; as many as images where none are known
    neighbours: Tensor  # (at most NEIGHBOURS, D) features of images in random order
    neighbour_groups: Tensor  # (as many,) their cases, as numbers
    neighbour_probabilities: Tensor | None  # (as many, K) their class probabilities
    accuracy: float | None  # of the classifier on test images, else val ones; None where that cannot be measured
    balanced_accuracy: float | None  # likewise, the mean over classes
    standard: tuple[Tensor, Tensor] | None  # (D,) means and deviations that features are given in units of, if any

    def class_means(self) -> Means | None:
        if self.probabilities is None or self.entropy is None:
            return None
        return Means(self.probabilities, self.entropy)

    def standardised(self, features: Tensor) -> Tensor:
        """(N, D) in the units of the statistics."""
        return _standardised(features, self.standard)


def fingerprint(split: Split) -> str:
    """sha256 of the pixels and labels of a split, in order."""
    total = hashlib.sha256(repr((split.store.images.shape[1:], split.store.images.dtype.str)).encode())
    for rows in np.array_split(split.rows, max(1, len(split) // 256)):
        total.update(split.store.images[rows].tobytes())
        total.update(split.store.labels[rows].tobytes())
    return total.hexdigest()


def _cases(split: Split) -> str | None:
    """sha256 of which images are of one case; None where each is its own."""
    if split.cases is None:
        return None
    return hashlib.sha256(numbered(split.cases, len(split)).numpy().tobytes()).hexdigest()


def load_reference(extractor: FeatureExtractor, data: ImageData, cache: Path, batch_size: int) -> Reference:
    """From ``cache``, else measured, ``batch_size`` images at once, and kept there."""
    names = [name for name in ("train", held_out(data)) if name]
    splits = [(name, fingerprint(data.split(name)), _cases(data.split(name))) for name in names]
    key = repr((FORMAT, splits, data.description.classes, extractor.digest()))
    path = cache / "scores" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.pt"
    try:
        return Reference(**torch.load(path, weights_only=True))
    except Exception:  # absent, cut short, or of another version: measured anew
        reference = _measure(extractor, data, batch_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.stem}-{os.getpid()}.pt")  # the jobs of a sweep may write at once
    with atomic_write(own) as file:
        torch.save(asdict(reference), file)
    os.replace(own, path)
    return reference


def _measure(extractor: FeatureExtractor, data: ImageData, batch_size: int) -> Reference:
    split = shuffled(data.split("train"), seed=0)
    seen = extract(extractor, split_batches(split, batch_size), "real training", split.cases)
    standard = (seen.features.mean(0), seen.features.std(0)) if extractor.standardised else None
    seen = seen._replace(features=_standardised(seen.features, standard))
    return reference_of(seen, _accuracies(extractor, data, batch_size), standard)


def reference_of(
    seen: ImageFeatures,
    accuracies: tuple[float, float] | None = None,
    standard: tuple[Tensor, Tensor] | None = None,
) -> Reference:
    """The statistics of real images in random order, whose features are in the units of ``standard`` already."""
    some = seen.take(NEIGHBOURS)
    own = None if seen.probabilities is None else means(seen.probabilities, "training")
    mean, covariance = mean_and_covariance(seen.features)
    return Reference(
        count=len(seen.features),
        probabilities=own.probabilities if own else None,
        entropy=own.entropy if own else None,
        mean=mean,
        covariance=covariance,
        cases=len(seen.groups.unique()),
        neighbours=some.features.clone(),
        neighbour_groups=some.groups,
        neighbour_probabilities=None if some.probabilities is None else some.probabilities.clone(),
        accuracy=accuracies and accuracies[0],
        balanced_accuracy=accuracies and accuracies[1],
        standard=standard,
    )


def _standardised(features: Tensor, standard: tuple[Tensor, Tensor] | None) -> Tensor:
    if standard is None:
        return features
    mean, deviation = standard
    # What never varies in the real images stays in its own unit.
    return (features - mean) / torch.where(deviation > 0, deviation, 1.0)


def held_out(data: ImageData) -> str | None:
    """The name of the split that nothing learned from."""
    return next((name for name in ("test", "val") if name in data.splits), None)


def _accuracies(extractor: FeatureExtractor, data: ImageData, batch_size: int) -> tuple[float, float] | None:
    """Of the classifier on images that nothing learned from, and the mean over classes; None where it has none."""
    name = held_out(data)
    if name is None or not extractor.classes:
        return None
    split = data.split(name)
    probabilities = extract(extractor, split_batches(split, batch_size), f"real {name}").probabilities
    assert probabilities is not None
    numbers = torch.tensor(
        [extractor.classes.index(c) for c in data.description.classes]
    )  # its own, of the data's classes
    labels = numbers[torch.from_numpy(np.ascontiguousarray(split.store.labels[split.rows]))]
    predicted = probabilities.argmax(1)
    return accuracy(predicted, labels), balanced_accuracy(predicted, labels, len(extractor.classes))
