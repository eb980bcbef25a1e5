from __future__ import annotations

import pytest
import torch

from src.metrics.accuracy import balanced_accuracy
from src.tasks.classification import Classification

LABEL = torch.tensor([0] * 8 + [1] * 2 + [2] * 5)
PREDICTED = torch.tensor([0] * 8 + [0, 1] + [2, 2, 2, 1, 0])


def test_every_class_counts_alike():
    assert balanced_accuracy(PREDICTED, LABEL, 3) == pytest.approx(0.7)  # (8/8 + 1/2 + 3/5) / 3, as scikit-learn says


def test_a_class_without_images_is_left_out():
    assert balanced_accuracy(PREDICTED, LABEL, 4) == pytest.approx(0.7)
    assert balanced_accuracy(torch.tensor([0, 2, 1, 1]), torch.tensor([0, 0, 1, 1]), 3) == pytest.approx(0.75)


def test_who_names_the_most_frequent_class_alone_is_no_better_than_chance():
    logits = torch.tensor([[2.0, 1.0]]).expand(100, -1)
    found = Classification().evaluate([(logits, {"label": (torch.arange(100) >= 95).long()})])
    assert (found["accuracy"], found["balanced_accuracy"]) == pytest.approx((0.95, 0.5))
    assert tuple(found) == Classification.scores
