"""The exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from src.core.errors import UserError
from src.training.schedule import nearest_lower


class ExponentialMovingAverage(nn.Module):
    """A copy of ``module`` whose parameters follow it: average ← decay · average + (1 − decay) · parameter.

    Karras et al., "Progressive Growing of GANs", ICLR 2018, appendix A (decay 0.999). Buffers are copied. It is never
    trained: without gradients and in evaluation mode, also where it is part of a module in training, whose checkpoint
    then holds it.

    Args:
        decay: per step, in [0, 1).
        half_life: images shown until an old weight counts half; given, it replaces ``decay`` by
            0.5 ** (batch size / half_life), which means the same at any batch size. By resolution (of those given, the
            nearest at or below applies), or one number.
        reset_at_growth: begin anew, at the network's weights, when it gets new layers; see :meth:`reset`.

    Raises:
        UserError: a value outside its range.
    """

    def __init__(
        self,
        module: nn.Module,
        decay: float = 0.999,
        half_life: Mapping[int, float] | float | None = None,
        reset_at_growth: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise UserError(f"ema.decay={decay} must be at least 0 and less than 1: the source uses 0.999")
        if isinstance(half_life, int | float) and not half_life > 0:
            raise UserError(f"ema.half_life={half_life} must be positive (images), or null to use ema.decay")
        self.decay, self.half_life, self.reset_at_growth = decay, half_life, reset_at_growth
        self.module = deepcopy(module).requires_grad_(False).eval()

    def decay_at(self, batch_size: int, resolution: int) -> float:
        """Of a step on ``batch_size`` images of ``resolution``. Raises UserError where ``half_life`` has no value."""
        if self.half_life is None:
            return self.decay
        return 0.5 ** (batch_size / nearest_lower(self.half_life, resolution, "model.ema.half_life"))

    @torch.no_grad()
    def update(self, module: nn.Module, batch_size: int, resolution: int) -> None:
        """Follow ``module`` after a step on ``batch_size`` images, counted over all devices, of ``resolution``."""
        decay = self.decay_at(batch_size, resolution)
        torch._foreach_lerp_(list(self.module.parameters()), list(module.parameters()), 1 - decay)
        if buffers := list(self.module.buffers()):
            torch._foreach_copy_(buffers, list(module.buffers()))

    @torch.no_grad()
    def reset(self, module: nn.Module) -> None:
        """Forget what was averaged: begin anew at the weights of ``module``."""
        torch._foreach_copy_(list(self.module.parameters()), list(module.parameters()))

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return self.module(*inputs, **options)

    def train(self, mode: bool = True) -> ExponentialMovingAverage:
        return super().train(False)
