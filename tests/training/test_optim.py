from __future__ import annotations

import pytest
import torch

from src.training.optim import adam


@pytest.mark.parametrize("weight_decay", [0, 0.1])
def test_betas_can_be_whole_numbers(weight_decay):
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = adam([parameter], lr=1e-3, beta1=0, beta2=0, eps=1e-8, weight_decay=weight_decay)
    parameter.square().sum().backward()
    optimizer.step()
    assert parameter.item() < 1
