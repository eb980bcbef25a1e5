"""Names a training that has gone wrong, and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping

from src.core.errors import UserError

WON = 0.99  # D(x) above this and D(G(z)) below its complement: the generator learns nothing


def diverged(name: str, value: str, images: int) -> str:
    """What to say where ``name`` is no finite number after ``images``."""
    return (
        f"training diverged: {name} is {value} after {images:,} images; "
        "the last checkpoint is from before. Try a lower optim.lr, or trainer.precision=32-true"
    )


class DivergenceMonitor:
    """Watches the rows of the metrics.

    Args:
        patience: images for which the discriminator may win before a warning is given; None where its output is no
            probability, so that winning cannot be told from it.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.won_since: int | None = None

    def check(self, images: int, row: Mapping[str, float]) -> str | None:
        """A warning, once per episode, where the discriminator has won for ``patience`` images.

        Raises:
            UserError: a metric is not finite.
        """
        for name, value in row.items():
            if not math.isfinite(value):
                raise UserError(diverged(name, str(value), images))
        if self.patience is None:
            return None
        if not (row.get("d_real", 0.5) > WON and row.get("d_fake", 0.5) < 1 - WON):
            self.won_since = None
            return None
        if self.won_since is None:
            self.won_since = images
        if images - self.won_since < self.patience:
            return None
        since, self.won_since = self.won_since, images
        return (
            f"the discriminator has won from {since:,} to {images:,} images (D(x) > {WON}, D(G(z)) < {1 - WON:.2f}): "
            "the generator gets no signal. Try a lower optim.lr, more model.discriminator.dropout, or fewer images"
        )

    def state_dict(self) -> dict[str, int | None]:
        return {"won_since": self.won_since}

    def load_state_dict(self, state: Mapping[str, int | None]) -> None:
        self.won_since = state["won_since"]
