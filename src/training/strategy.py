"""Training on several devices: every process computes its share of the batch, gradients are averaged."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy


class GradientAveragingStrategy(DDPStrategy):
    """Distributed data parallel without its wrapper, which expects every backward pass to reach every parameter.

    Here each reaches one of two networks, and of a growing network only the blocks in use; so the training step calls
    ``average_gradients`` for the parameters whose turn it is.
    """

    def configure_ddp(self) -> None:
        """Leave the module as it is."""


def of_all_ranks(value: Any) -> list[Any]:
    """``value`` of every process, by rank; all of them have to ask."""
    if not dist.is_initialized():
        return [value]
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Average the gradients of an optimizer's parameters over all processes, in one transfer.

    Parameters without a gradient are skipped: which ones is the same in every process.
    """
    if not (dist.is_initialized() and dist.get_world_size() > 1):
        return
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, average in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(average.view_as(gradient))
