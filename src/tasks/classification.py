"""Telling classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

from src.core.atomic import write_atomically
from src.core.errors import UserError
from src.data.store import UNKNOWN, Batch, Split
from src.metrics.accuracy import accuracy, balanced_accuracy
from src.metrics.intervals import LEVEL, in_words


class Classification:
    """Cross-entropy on labels.

    Args:
        label_smoothing: share of the target that is spread evenly over all classes (Szegedy et al., 2016).
    """

    scores: tuple[str, ...] = ("accuracy", "balanced_accuracy", "cross_entropy", "calibration_error")

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def check(self, split: Split) -> None:
        """Raise UserError where the class of an image is not known."""
        if (split.store.labels[split.rows] == UNKNOWN).any():
            raise UserError(
                "training.synthetic does not say which class its images are of: train a generator for each class, "
                "data.classes=[<class>], and export its images"
            )

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(output.float(), batch["label"], label_smoothing=self.label_smoothing)

    def evaluate(self, predictions: Sequence[tuple[Tensor, Batch]]) -> dict[str, float]:
        """``accuracy``, ``balanced_accuracy`` (the mean over classes), ``cross_entropy`` (nats) and
        ``calibration_error`` (expected, 15 bins; Guo et al., 2017)."""
        logits = torch.cat([output for output, _ in predictions])
        label = torch.cat([batch["label"] for _, batch in predictions])
        return {
            "accuracy": accuracy(logits.argmax(1), label),
            "balanced_accuracy": balanced_accuracy(logits.argmax(1), label, logits.shape[1]),
            "cross_entropy": F.cross_entropy(logits, label).item(),
            "calibration_error": multiclass_calibration_error(logits.softmax(1), label, logits.shape[1]).item(),
        }

    def result(self, predictions: Sequence[tuple[Tensor, Batch]], cases: Sequence[str]) -> str:
        """The accuracy, with Wilson's interval of as many images as there are cases."""
        right = torch.cat([output.argmax(1) == batch["label"] for output, batch in predictions]).double().mean().item()
        number = len(set(cases))
        low, high = stats.binomtest(round(right * number), number).proportion_ci(LEVEL, "wilson")
        return in_words("accuracy", right, (low, high))

    def report(
        self, predictions: Sequence[tuple[Tensor, Batch]], split: Split, folder: Path, name: str, network: nn.Module
    ) -> None:
        """Write ``<name>_confusion.csv``: true classes by row, predicted ones by column, counted in images."""
        logits = torch.cat([output for output, _ in predictions])
        label = torch.cat([batch["label"] for _, batch in predictions])
        counts = multiclass_confusion_matrix(logits.argmax(1), label, logits.shape[1])
        rows = (",".join(map(str, row)) + "\n" for row in counts.tolist())
        write_atomically(folder / f"{name}_confusion.csv", "".join(rows))
