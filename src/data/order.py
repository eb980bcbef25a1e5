"""The order in which training images are shown: the image at position i is a function of (seed, i) alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np

from src.core.clock import Stream, derive_seed
from src.core.errors import UserError

ROUNDS = 256  # rounds of all classes that are ordered at once


class Order(Protocol):
    def positions(self, first: int, count: int) -> np.ndarray:
        """(count,) positions in the split of the images that follow after ``first`` images shown."""


class ShuffledOrder:
    """Pass after pass over ``length`` images, each in an order of its own."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed = length, seed
        self._pass = lru_cache(maxsize=2)(self._shuffle)

    def positions(self, first: int, count: int) -> np.ndarray:
        number, start = divmod(first, self.length)
        order = self._pass(number)[start : start + count]
        while len(order) < count:
            number += 1
            order = np.concatenate([order, self._pass(number)[: count - len(order)]])
        return order

    def _shuffle(self, number: int) -> np.ndarray:
        return np.random.default_rng(derive_seed(self.seed, Stream.DATA_ORDER, number)).permutation(self.length)


class BalancedOrder:
    """Round after round with an image of every class, in an order of its own; each class goes through its own images
    pass after pass. So of any stretch the classes' shares differ by one image at most on either end.

    Args:
        labels: (N,) class of each image. Raises UserError where the class of one is not known, or there is one alone.
    """

    def __init__(self, labels: np.ndarray, seed: int) -> None:
        classes = np.unique(labels)
        if len(classes) < 2 or classes[0] < 0:
            what = "one of them has none" if classes[0] < 0 else "all are of one"
            raise UserError(f"data.balance=true needs images of several classes, and {what}: set it to false")
        self.classes = len(classes)
        self._members = [np.flatnonzero(labels == label) for label in classes]
        self._own = [ShuffledOrder(len(own), derive_seed(seed, Stream.DATA_ORDER, 0, i + 1))
                     for i, own in enumerate(self._members)]  # fmt: skip
        self.seed = seed
        self._block = lru_cache(maxsize=2)(self._order_rounds)

    def positions(self, first: int, count: int) -> np.ndarray:
        places = np.arange(first, first + count)
        rounds, within = np.divmod(places, self.classes)
        chosen = np.empty(count, np.int64)
        for block in np.unique(rounds // ROUNDS):
            here = rounds // ROUNDS == block
            chosen[here] = self._block(int(block))[rounds[here] % ROUNDS, within[here]]
        positions = np.empty(count, np.int64)
        for number, (own, order) in enumerate(zip(self._members, self._own, strict=True)):
            here = np.flatnonzero(chosen == number)
            if len(here):  # a class has an image in every round: those of ``here`` follow each other
                positions[here] = own[order.positions(int(rounds[here[0]]), len(here))]
        return positions

    def _order_rounds(self, block: int) -> np.ndarray:
        """(ROUNDS, classes): the order of the classes in each round."""
        generator = np.random.default_rng(derive_seed(self.seed, Stream.DATA_ORDER, 1, 0, block))
        return generator.permuted(np.tile(np.arange(self.classes), (ROUNDS, 1)), axis=1)
