"""The kernels of attention against float64: on a GPU, or where there is none in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.networks import attention_kernels
from src.networks.attention import _KernelAttention

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZES = [(2, 32, 16, 16, 64), (1, 40, 9, 4, 16), (2, 7, 5, 3, 20)]  # B, N, M, d, e


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    if attention_kernels.triton is None:
        pytest.skip("this torch comes without Triton")
    if DEVICE == "cpu":  # so that there are several of them, the last not full
        monkeypatch.setattr(attention_kernels, "SHAPES", dict.fromkeys(attention_kernels.SHAPES, (16, 16, 4, 2)))


def inputs(batch: int, positions: int, pooled: int, narrow: int, wide: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(positions, narrow), (pooled, narrow), (pooled, wide)]
    return [torch.randn(batch, *size, generator=generator, dtype=torch.float64).requires_grad_() for size in sizes]


def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.transpose(1, 2)).softmax(2) @ value


def penalty(output: Tensor, tensors: list[Tensor]) -> Tensor:
    gradients = torch.autograd.grad((output * output).sum(), tensors, create_graph=True)
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum()


def close(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    return bool((found.cpu().double() - wanted).norm() <= tolerance * wanted.norm())


@pytest.mark.parametrize("sizes", SIZES)
def test_attention_its_gradient_and_a_penalty_on_that_are_those_of_float64(sizes: tuple[int, ...]) -> None:
    exact = inputs(*sizes)
    single = [tensor.detach().to(DEVICE, torch.float32).requires_grad_() for tensor in exact]
    wanted, found = plain(*exact), _KernelAttention.apply(*single)
    assert close(found, wanted, 1e-5)
    toward = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = torch.autograd.grad(wanted, exact, toward, retain_graph=True)
    computed = torch.autograd.grad(found, single, toward.to(DEVICE, torch.float32), retain_graph=True)
    for a, b in zip(computed, gradients, strict=True):
        assert close(a, b, 1e-5)
    second = torch.autograd.grad(penalty(wanted, exact), exact)
    for a, b in zip(torch.autograd.grad(penalty(found, single), single), second, strict=True):
        assert close(a, b, 1e-5)


@pytest.mark.skipif(DEVICE == "cpu", reason="the interpreter computes bfloat16 as it likes")
def test_in_bfloat16_errors_are_those_of_its_rounding() -> None:
    exact = inputs(2, 300, 80, 16, 64)
    low = [tensor.detach().to(DEVICE, torch.bfloat16).requires_grad_() for tensor in exact]
    second = torch.autograd.grad(penalty(plain(*exact), exact), exact)
    for a, b in zip(torch.autograd.grad(penalty(_KernelAttention.apply(*low), low), low), second, strict=True):
        assert close(a, b, 3e-2)
