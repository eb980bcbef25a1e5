from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from src.core.errors import UserError
from src.training.ema import ExponentialMovingAverage


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@torch.no_grad()
def move(module: nn.Module) -> None:
    for tensor in module.parameters():
        tensor.add_(torch.randn(tensor.shape))


def test_the_average_equals_its_closed_form():
    network = make_network()
    average = ExponentialMovingAverage(network, decay=0.9)
    history = [network[0].weight.detach().clone()]
    for _ in range(6):
        move(network)
        history.append(network[0].weight.detach().clone())
        average.update(network, 8, 32)
    expected = 0.9**6 * history[0] + sum(0.1 * 0.9 ** (6 - k) * history[k] for k in range(1, 7))
    assert torch.allclose(average.module[0].weight, expected, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 8, 40])
def test_after_a_half_life_of_images_half_of_the_distance_is_left_whatever_the_batch(batch_size):
    network = make_network()
    average = ExponentialMovingAverage(network, half_life=40)
    before = [p.detach().clone() for p in network.parameters()]
    move(network)
    for _ in range(40 // batch_size):
        average.update(network, batch_size, 32)
    for old, new, found in zip(before, network.parameters(), average.parameters(), strict=True):
        assert torch.allclose(found, (old + new) / 2, atol=1e-5)


def test_a_half_life_by_resolution_holds_from_that_resolution_on():
    average = ExponentialMovingAverage(make_network(), half_life={4: 40, 16: 80})
    assert [average.decay_at(40, size) for size in (4, 8, 16, 32)] == [0.5, 0.5, 0.5**0.5, 0.5**0.5]
    with pytest.raises(UserError, match=r"model\.ema\.half_life has no value for 4 px"):
        ExponentialMovingAverage(make_network(), half_life={8: 40}).decay_at(8, 4)


def test_an_average_that_is_reset_is_the_network_to_the_bit():
    network = make_network()
    average = ExponentialMovingAverage(network)
    move(network)
    average.reset(network)
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), network.parameters(), strict=True))
    assert not any(p.requires_grad for p in average.parameters())


def test_a_parameter_that_never_moves_stays_to_the_bit():
    """Blocks of later resolutions wait for their turn unchanged."""
    network = make_network()
    average = ExponentialMovingAverage(network)
    for _ in range(50):
        average.update(network, 8, 32)
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), network.parameters(), strict=True))


def test_buffers_are_those_of_the_network():
    network = make_network()
    average = ExponentialMovingAverage(network)
    network(torch.randn(16, 3))
    average.update(network, 16, 32)
    assert all(torch.equal(a, b) for a, b in zip(average.buffers(), network.buffers(), strict=True))


def test_an_average_resumed_from_a_checkpoint_goes_on_to_the_bit(tmp_path: Path):
    network = make_network()
    average, resumed = ExponentialMovingAverage(network), ExponentialMovingAverage(network)
    move(network)
    average.update(network, 8, 32)
    torch.save(average.state_dict(), tmp_path / "state.pt")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for each in (average, resumed):
        each.update(network, 8, 32)
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), resumed.parameters(), strict=True))


def test_the_average_is_never_trained_and_leaves_the_network_as_it_was():
    network = make_network()
    whole = nn.ModuleDict({"network": network, "average": ExponentialMovingAverage(network)}).train()
    assert network.training and all(p.requires_grad for p in network.parameters())
    assert not any(m.training for m in whole["average"].modules())
    assert not any(p.requires_grad for p in whole["average"].parameters())


def test_it_is_called_like_the_network():
    network = make_network().eval()
    latents = torch.randn(5, 3)
    assert torch.equal(ExponentialMovingAverage(network)(latents), network(latents))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": 1.0}, r"ema\.decay=1\.0 must be at least 0 and less than 1"),
        ({"decay": -0.1}, r"ema\.decay=-0\.1"),
        ({"half_life": 0}, r"ema\.half_life=0 must be positive"),
    ],
)
def test_a_decay_outside_its_range_is_one_clear_line(settings, message):
    with pytest.raises(UserError, match=message):
        ExponentialMovingAverage(make_network(), **settings)
