from __future__ import annotations

import pytest
import torch

from src.networks.dropout import Dropout


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("p", [0.1, 0.3, 0.8])
def test_a_share_p_is_dropped_everywhere_and_the_mean_is_kept(p, memory_format):
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(64, 8, 16, 16).contiguous(memory_format=memory_format))
    assert dropped.is_contiguous(memory_format=memory_format)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - p)])
    for dims in [(1, 2, 3), (0, 2, 3), (0, 1, 2)]:
        assert (dropped == 0).float().mean(dims).sub(p).abs().max() < 0.05
    assert abs((dropped == 0).float().mean() - p) < 0.005


def test_neighbouring_values_are_dropped_independently():
    torch.manual_seed(0)
    gone = (Dropout(0.3)(torch.ones(400_000)) == 0).double()
    for distance in (1, 2, 3, 4):
        pairs = torch.stack([gone[:-distance], gone[distance:]])
        assert abs(torch.corrcoef(pairs)[0, 1]) < 0.01


def test_gradients_pass_where_values_do():
    values = torch.randn(5, 3, 4, 4, requires_grad=True)
    dropped = Dropout(0.5)(values)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.allclose(values.grad * values, dropped)


def test_nothing_is_dropped_in_evaluation_or_with_p_0():
    values = torch.randn(7, 3)
    assert torch.equal(Dropout(0.5).eval()(values), values) and torch.equal(Dropout(0.0)(values), values)


def test_the_seed_decides_what_is_dropped():
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return Dropout(0.5)(torch.ones(1000, dtype=torch.bfloat16))

    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
