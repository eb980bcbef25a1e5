"""The order in which images are shown, all classes alike where that is asked for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from src.core.clock import Clock
from src.core.errors import UserError
from src.data.device import ResidentSplit
from src.data.order import BalancedOrder, ShuffledOrder
from src.data.store import Split, Store
from src.data.stream import BatchStream
from src.training.schedule import FixedSchedule

LABELS = np.array([0] * 50 + [1] * 7 + [2] * 3)


def stream(balance: bool = True, seed: int = 0, images: int = 0, rank: int = 0, world_size: int = 1) -> BatchStream:
    pixels = np.arange(len(LABELS), dtype=np.uint8)[:, None, None, None]
    split = Split(Store(pixels, LABELS, None, {}), np.arange(len(LABELS)))
    schedule = FixedSchedule(1, 12, 1e-3, 600)
    return BatchStream(split, schedule, 600, seed, Clock(images), rank, world_size, balance=balance)


def images_of(batches: BatchStream) -> list[list[int]]:
    return [batch["image"].flatten().tolist() for batch in batches]


def test_all_classes_are_shown_equally_often_in_every_batch_and_every_image_of_each_in_turn() -> None:
    batches = images_of(stream())
    assert all(Counter(LABELS[batch].tolist()) == {0: 4, 1: 4, 2: 4} for batch in batches)
    shown = Counter(image for batch in batches for image in batch)
    for label in range(3):
        counts = [shown[image] for image in np.flatnonzero(label == LABELS).tolist()]
        assert max(counts) - min(counts) <= 1 and sum(counts) == 200


def test_without_it_they_are_shown_as_often_as_they_are_there() -> None:
    shown = Counter(LABELS[image] for batch in images_of(stream(False)) for image in batch)
    assert shown == {0: 500, 1: 70, 2: 30}


def test_a_balanced_order_is_of_the_seed_and_the_clock_alone_on_any_number_of_ranks() -> None:
    whole = images_of(stream())
    assert images_of(stream()) == whole != images_of(stream(seed=1))
    assert images_of(stream(images=240)) == whole[20:]
    halves = zip(images_of(stream(rank=0, world_size=2)), images_of(stream(rank=1, world_size=2)), strict=True)
    assert [one + other for one, other in halves] == whole


def test_any_stretch_of_a_balanced_order_is_the_same_in_pieces() -> None:
    order = BalancedOrder(LABELS, 3)
    whole = order.positions(0, 2000)
    fresh = BalancedOrder(LABELS, 3)
    pieces = [fresh.positions(first, min(37, 2000 - first)) for first in range(0, 2000, 37)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert len({tuple(LABELS[whole[i : i + 3]]) for i in range(0, 300, 3)}) == 6  # the classes' order changes


def test_a_pass_may_be_shorter_than_a_batch() -> None:
    found = ShuffledOrder(3, 0).positions(1, 10)
    assert Counter(found.tolist()).keys() == {0, 1, 2} and np.array_equal(
        found[2:], ShuffledOrder(3, 0).positions(3, 8)
    )


def test_a_split_on_the_card_is_gathered_in_the_same_order() -> None:
    batches = stream()
    resident = ResidentSplit(batches.split, torch.device("cpu"))
    positions = batches.positions(120, 12)
    assert resident.gather(positions)["image"].flatten().tolist() == images_of(batches)[10]


@pytest.mark.parametrize(("labels", "why"), [([0, 0], "all are of one"), ([-1, 0, 1], "one of them has none")])
def test_balance_without_classes_is_refused(labels: list[int], why: str) -> None:
    with pytest.raises(UserError, match=f"data.balance=true needs images of several classes, and {why}"):
        BalancedOrder(np.array(labels), 0)
