"""The fused passes against what they replace: on a GPU, or where there is none in Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.networks import fused
from src.networks.kernels import available
from src.networks.progressive_blocks import PixelNorm

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Pass = Callable[[Tensor, Tensor], Tensor]
SHAPES = [(2, 5, 6, 4), (3, 16, 2, 2), (1, 3, 2, 8), (2, 33, 10, 6)]  # B, C, H, W: powers of two and others


@pytest.fixture(autouse=True)
def several_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which a program takes several tiles, the last of them not full."""
    if fused.triton is None:
        pytest.skip("this torch comes without Triton")
    monkeypatch.setattr(fused, "PROGRAMS", 3)
    monkeypatch.setattr(fused, "TILE", 32)


def plain(features: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(features + bias.view(-1, 1, 1), 0.2)


PLAIN: dict[str, Pass] = {
    "bias_leaky_relu": plain,
    "bias_leaky_relu_pool": lambda features, bias: F.avg_pool2d(plain(features, bias), 2),
    "bias_leaky_relu_pixel_norm": lambda features, bias: PixelNorm()(plain(features, bias)),
}


def inputs(shape: tuple[int, ...], *more: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [shape, (shape[1],), *more]
    return [torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_() for size in sizes]


def in_float32(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().to(DEVICE, torch.float32).requires_grad_() for tensor in tensors]


def close(found: Tensor, wanted: Tensor) -> bool:
    return bool((found.cpu().double() - wanted).norm() <= 1e-5 * wanted.norm() + 1e-7)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_pass_and_its_gradients_are_those_of_the_layers_in_float64(name: str, shape: tuple[int, ...]) -> None:
    exact = inputs(shape)
    output = PLAIN[name](*exact)
    toward = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    single = in_float32(exact)
    found = getattr(fused, name)(*single)
    assert close(found, output)
    wanted = torch.autograd.grad(output, exact, toward)
    for a, b in zip(torch.autograd.grad(found, single, toward.to(DEVICE, torch.float32)), wanted, strict=True):
        assert a.shape == b.shape and close(a, b)


@pytest.mark.parametrize("name", ["bias_leaky_relu", "bias_leaky_relu_pool"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_penalty_on_the_gradient_has_the_gradients_of_float64(name: str, shape: tuple[int, ...]) -> None:
    """Through two passes and a product, as in a discriminator; the gradient for the bias is differentiated as well."""

    def penalty(act: Pass, features: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
        output = act(features * weight, bias)
        gradients = torch.autograd.grad((output * output).sum(), (features, bias), create_graph=True)
        return torch.stack([gradient.square().sum() for gradient in gradients]).sum()

    exact = inputs(shape, shape)
    single = in_float32(exact)
    wanted = torch.autograd.grad(penalty(PLAIN[name], *exact), exact)
    found = torch.autograd.grad(penalty(getattr(fused, name), *single), single)
    for a, b in zip(found, wanted, strict=True):
        assert close(a, b)


def test_only_maps_on_a_gpu_are_passed_to_the_kernels() -> None:
    assert not available(torch.zeros(1, 2, 4, 4))
