"""Optimizers, with settings checked before anything is built."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from src.core.errors import UserError


def adam(
    parameters: Iterable[nn.Parameter], lr: float, beta1: float, beta2: float, eps: float, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """Fused Adam, with decoupled ``weight_decay`` (AdamW). Raises UserError for values outside their range."""
    if not 0 < lr < math.inf:
        raise UserError(f"optim.lr={lr} must be positive: the sources use 1e-4 to 1e-3")
    for key, beta in (("beta1", beta1), ("beta2", beta2)):
        if not 0 <= beta < 1:
            raise UserError(f"optim.{key}={beta} must be at least 0 and less than 1")
    if not eps > 0:
        raise UserError(f"optim.eps={eps} must be positive")
    _check_decay(weight_decay)
    betas = float(beta1), float(beta2)  # of which torch refuses whole numbers
    if not weight_decay:
        return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=eps, fused=True)
    return torch.optim.AdamW(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


def sgd(parameters: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    """Fused stochastic gradient descent with Nesterov's momentum. Raises UserError for values outside their range."""
    if not 0 < lr < math.inf:
        raise UserError(f"optim.lr={lr} must be positive: about 0.4 with batch normalisation and a batch of 128")
    if not 0 <= momentum < 1:
        raise UserError(f"optim.momentum={momentum} must be at least 0 and less than 1")
    _check_decay(weight_decay)
    return torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0, fused=True
    )


def _check_decay(weight_decay: float) -> None:
    if not 0 <= weight_decay < math.inf:
        raise UserError(f"optim.weight_decay={weight_decay} must be at least 0")
