"""How well held-out images are told apart, and where the answer is "unknown"."""

from __future__ import annotations

import pytest
import torch

from src.identification.evaluation import (
    Comparisons,
    Difference,
    Share,
    confusion,
    foreign_found,
    thresholds,
    unknown,
)
from src.identification.rules import Verdict, by_best


def test_an_interval_is_wilsons() -> None:
    assert Share(19, 20).interval == pytest.approx((0.7639, 0.9911), abs=1e-4)
    assert Share(6, 6).interval == pytest.approx((0.6097, 1.0), abs=1e-4)


def test_a_difference_is_of_the_images_that_one_of_both_gets_right() -> None:
    right, other = torch.tensor([True] * 18 + [False] * 2), torch.tensor([True] * 10 + [False] * 10)
    found = Difference.of(right, other)
    assert found.value == pytest.approx(0.4) and 0 < found.interval[0] < 0.4 < found.interval[1] < 0.65
    none = Difference.of(right, right)
    assert none.value == 0 and none.interval[0] == -none.interval[1] < 0


def test_a_difference_covers_the_truth_in_95_of_100_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(300):
        draws = torch.rand(2, 100, generator=generator)
        low, high = Difference.of(draws[0] < 0.9, draws[1] < 0.8).interval
        covered += low <= 0.1 <= high
    assert covered / 300 > 0.92


def test_a_threshold_leaves_at_most_the_share_of_a_sets_own_images_below() -> None:
    typical = torch.arange(40.0)[:, None].expand(-1, 2)
    truth = torch.tensor([0] * 30 + [1] * 10)
    assert thresholds(Verdict(typical, typical), truth, 0.1) == [3.0, 31.0]
    assert thresholds(Verdict(typical, typical), truth, 0.05) == [1.0, 30.0]  # of ten images none
    assert thresholds(Verdict(typical, typical), truth, 0) == [-float("inf")] * 2  # never
    verdict = Verdict(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([[3.0, 0], [2.9, 99], [0, 31]]))
    assert unknown(verdict, [3.0, 31.0]).tolist() == [False, True, False]


def test_images_of_a_set_that_is_not_among_are_foreign_to_the_others() -> None:
    """Three sets, each like itself alone: without its own an image has no set."""
    owner = torch.tensor([0, 0, 1, 1, 2, 2])
    truth = torch.arange(3).repeat_interleave(20)
    noise = 0.01 * torch.rand(60, 6, generator=torch.Generator().manual_seed(0))
    held_out = (truth[:, None] == owner).float() + noise
    comparisons = Comparisons(held_out, torch.eye(6), owner, truth)
    assert foreign_found(comparisons, by_best, 0.05) == [Share(20, 20)] * 3
    alike = Comparisons(torch.ones(60, 6) + noise, torch.eye(6), owner, truth)
    assert all(share.value < 0.3 for share in foreign_found(alike, by_best, 0.05))
    assert foreign_found(Comparisons(held_out[:, :4], torch.eye(4), owner[:4], truth), by_best, 0.05) == []


def test_a_confusion_has_what_images_are_by_row() -> None:
    assert confusion(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2).tolist() == [[1, 1], [0, 1]]
