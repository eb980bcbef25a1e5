"""Means over a logging interval, kept on the device until someone asks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Meter:
    """Sums named scalars without waiting for the device; ``means`` reads and resets them.

    The sums stay in place, so that a captured step adds to them; ``steps`` is counted by who makes the steps.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps = 0

    def add(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            value = value.detach().float()
            if name not in self.sums:
                self.sums[name] = torch.zeros_like(value)
            elif self.sums[name].device != value.device:  # a checkpoint's
                self.sums[name] = self.sums[name].to(value.device)
            self.sums[name].add_(value)

    def stack(self) -> Tensor:
        """The sums as one vector, in the order of ``self.sums``: a single transfer and a single reduction."""
        return torch.stack(list(self.sums.values()))

    def means(self, sums: Tensor) -> dict[str, float]:
        """Means from ``sums`` (as ``stack`` gave, perhaps averaged over ranks); starts the next interval."""
        means = dict(zip(self.sums, (sums / self.steps).tolist(), strict=True))
        for total in self.sums.values():
            total.zero_()
        self.steps = 0
        return means

    def state_dict(self) -> dict[str, object]:
        return {"sums": {name: total.cpu() for name, total in self.sums.items()}, "steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        self.sums, self.steps = dict(state["sums"]), state["steps"]
