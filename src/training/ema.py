"""The exponential moving average of a network's weights."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from src.core.errors import UserError


class ExponentialMovingAverage(nn.Module):
    """A copy of ``module`` whose parameters follow it: average ← decay · average + (1 − decay) · parameter.

    Karras et al., "Progressive Growing of GANs", ICLR 2018, appendix A (decay 0.999). Buffers are copied. It is never
    trained: without gradients and in evaluation mode, also where it is part of a module in training, whose checkpoint
    then holds it.

    Args:
        decay: per step, in [0, 1).
        half_life: images shown until an old weight counts half; given, it replaces ``decay`` by
            0.5 ** (batch size / half_life), which means the same at any batch size.

    Raises:
        UserError: a value outside its range.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999, half_life: float | None = None) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise UserError(f"ema.decay={decay} must be at least 0 and less than 1: the source uses 0.999")
        if half_life is not None and not half_life > 0:
            raise UserError(f"ema.half_life={half_life} must be positive (images), or null to use ema.decay")
        self.decay, self.half_life = decay, half_life
        self.module = deepcopy(module).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, module: nn.Module, batch_size: int) -> None:
        """Follow ``module`` after a step on ``batch_size`` images, counted over all devices."""
        decay = self.decay if self.half_life is None else 0.5 ** (batch_size / self.half_life)
        torch._foreach_lerp_(list(self.module.parameters()), list(module.parameters()), 1 - decay)
        if buffers := list(self.module.buffers()):
            torch._foreach_copy_(buffers, list(module.buffers()))

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return self.module(*inputs, **options)

    def train(self, mode: bool = True) -> ExponentialMovingAverage:
        return super().train(False)
