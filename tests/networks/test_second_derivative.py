from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from src.networks.progressive import Discriminator
from src.networks.second_derivative import conv2d_twice, differentiable_twice, inputs_only
from src.training.penalties import input_gradient


@pytest.mark.parametrize(("kernel", "padding", "bias"), [(3, 1, True), (1, 0, False), (4, 0, True)])
def test_both_derivatives_of_the_convolution_equal_finite_differences(kernel, padding, bias):
    shapes = [(2, 3, 5, 4), (2, 3, kernel, kernel), (2,)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    bias_of = inputs[2] if bias else None

    def convolve(input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return conv2d_twice(input, weight, bias_of, (padding, padding))

    assert torch.autograd.gradcheck(convolve, inputs[:2])

    def slope(input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        output = convolve(input, weight).pow(3)
        with inputs_only():
            return torch.autograd.grad(output.sum(), input, create_graph=True)[0]

    assert torch.autograd.gradcheck(slope, inputs[:2])


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_a_penalty_on_a_discriminator_has_the_gradients_of_ordinary_convolutions(spectral_norm):
    torch.manual_seed(0)
    network = Discriminator(1, 16, fmap_base=128, fmap_max=8, spectral_norm=spectral_norm).double().eval()
    images = torch.randn(4, 1, 16, 16, dtype=torch.float64)

    def gradients() -> list[torch.Tensor]:
        norm = input_gradient(lambda x: network(x, 16), images).flatten(1).norm(dim=1)
        wanted = list(network.active_parameters(16))
        return list(torch.autograd.grad((norm - 1).square().mean(), wanted, allow_unused=True, materialize_grads=True))

    ordinary = gradients()
    with differentiable_twice(network):
        fast = gradients()
    for a, b in zip(ordinary, fast, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)
    assert any(gradient.abs().max() > 1e-6 for gradient in fast)


def test_the_gradient_of_a_weight_cannot_silently_be_differentiated_again():
    weight = torch.randn(2, 1, 3, 3, requires_grad=True)
    output = conv2d_twice(torch.randn(1, 1, 5, 5), weight, None, (1, 1)).pow(2).sum()
    (gradient,) = torch.autograd.grad(output, weight, create_graph=True)
    with pytest.raises(RuntimeError):
        gradient.sum().backward()


def test_it_follows_autocast_and_its_layout():
    image = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(3, 4, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        output = conv2d_twice(image, weight, None, (1, 1))
        expected = F.conv2d(image, weight, None, padding=1)
    assert output.dtype == torch.bfloat16 and torch.equal(output, expected)
    assert output.is_contiguous(memory_format=torch.channels_last)
    output.float().sum().backward()
    assert weight.grad is not None and weight.grad.dtype == torch.float32
