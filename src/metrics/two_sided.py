"""Scores that set generated images against real ones, whose real side is measured once and kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from src.core.errors import UserError


class TwoSidedMetric(Metric):
    """A metric whose states are sums over images, named ``real_…`` and ``fake_…``.

    Being sums, they do not depend on how the images are split over batches and ranks.
    """

    is_differentiable = False
    full_state_update = False

    def real_statistics(self) -> dict[str, Tensor]:
        """The real side's sums over all ranks, on the CPU: what ``load_real_statistics`` takes. A collective call."""
        with self.sync_context():
            return {name: getattr(self, name).detach().cpu().clone() for name in self._real_states()}

    def load_real_statistics(self, statistics: Mapping[str, Tensor]) -> None:
        """Replace the real side by a saved one, the same on every rank.

        Raises:
            UserError: the statistics are of another kind or size.
        """
        # The first rank alone holds them, for a sum over the ranks to count them once.
        counted = not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0
        for name in self._real_states():
            empty = self._defaults[name]
            assert isinstance(empty, Tensor)
            if name not in statistics or statistics[name].shape != empty.shape:
                found = tuple(statistics[name].shape) if name in statistics else "absent"
                raise UserError(
                    f"the saved statistics of the real images do not fit {type(self).__name__} "
                    f"({name} is {found}, expected {tuple(empty.shape)}): delete them to have them computed again"
                )
            setattr(self, name, (statistics[name] if counted else empty).to(self.device, empty.dtype, copy=True))
        self._computed = None

    def _real_states(self) -> list[str]:
        return [name for name in self._defaults if name.startswith("real_")]
