from __future__ import annotations

import pytest
import torch

from src.networks.progressive_blocks import MinibatchStd, PixelNorm


def test_pixel_norm_gives_every_pixel_a_mean_square_of_one_over_its_channels():
    features = torch.randn(2, 7, 4, 4, dtype=torch.float64) * 5
    normalised = PixelNorm()(features)
    assert torch.allclose(normalised, features / (features.square().mean(1, keepdim=True) + 1e-8).sqrt(), atol=1e-12)
    assert torch.allclose(normalised.square().mean(1), torch.ones(2, 4, 4, dtype=torch.float64))


def test_pixel_norm_is_computed_in_float32_and_finite_at_zero():
    large = torch.full((1, 512, 1, 1), 300.0, dtype=torch.float16)  # whose squares float16 cannot hold
    assert torch.equal(PixelNorm()(large), torch.ones_like(large))
    zeros = torch.zeros(1, 3, 2, 2, requires_grad=True)
    PixelNorm()(zeros).sum().backward()
    assert torch.isfinite(zeros.grad).all()


def minibatch_std_by_hand(features: torch.Tensor, group: int) -> torch.Tensor:
    """Sample by sample, as the paper says it, in float64."""
    features = features.double()
    maps = []
    for i in range(len(features)):
        members = torch.stack([features[j] for j in range(len(features)) if j // group == i // group])
        assert len(members) == group
        variance = (members - members.mean(0)).square().mean(0)
        maps.append((variance + 1e-8).sqrt().mean().expand(1, *features.shape[2:]))
    return torch.cat([features, torch.stack(maps)], 1)


@pytest.mark.parametrize(("batch", "group"), [(16, 4), (4, 4), (3, 3), (2, 2), (1, 1), (14, 2), (6, 3), (5, 1)])
def test_minibatch_std_equals_a_float64_reference_also_where_four_does_not_divide_the_batch(batch, group):
    features = torch.randn(batch, 5, 4, 3)
    assert torch.allclose(MinibatchStd()(features).double(), minibatch_std_by_hand(features, group), atol=1e-6)


def test_minibatch_std_sees_collapse():
    varied = torch.randn(8, 5, 4, 4)
    collapsed = varied[:1].expand(8, -1, -1, -1)
    assert MinibatchStd()(varied)[:, -1].min() > 0.5
    assert MinibatchStd()(collapsed)[:, -1].max() < 1e-3


def test_minibatch_std_is_computed_in_float32():
    features = (torch.randn(4, 64, 4, 4) * 2e-4).half()  # whose variance, and the epsilon beside it, float16 calls zero
    expected = minibatch_std_by_hand(features, 4)[:, -1]
    assert torch.allclose(MinibatchStd()(features)[:, -1].double(), expected, rtol=5e-3)
