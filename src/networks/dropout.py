"""Dropout whose masks cost little on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.core.errors import UserError

LANES = 4  # 16-bit numbers in a random 64-bit integer


class Dropout(nn.Dropout):
    """``nn.Dropout``; on a CPU one draw of the generator decides on four values, so ``p`` is rounded to 1/65536.

    torch draws a double for every value there, which took a seventh of a DCGAN's training step.

    Raises:
        UserError: ``p`` below 0, or 1 and above, which would leave nothing.
    """

    def __init__(self, p: float) -> None:
        if not 0 <= p < 1:
            raise UserError(f"dropout={p} must be at least 0 and less than 1")
        super().__init__(p)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return F.dropout(input, self.p, self.training)
        draws = torch.empty(-(-input.numel() // LANES), dtype=torch.int64).random_(-(2**63), None)
        lanes = draws.view(torch.int16)[: input.numel()]
        # A mask laid out in memory as the input is (channels last), which as_strided needs to be dense.
        dense = torch.empty_like(input, dtype=torch.int16, device="meta")
        keep = lanes.as_strided(input.shape, dense.stride()) >= round(self.p * 2**16) - 2**15
        return input * keep.to(input.dtype).mul_(1 / (1 - self.p))
