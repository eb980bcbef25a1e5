"""Weights scaled in one pass against weights scaled layer by layer."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from src.networks import progressive
from src.networks.progressive import Discriminator, Generator
from src.networks.scaled_weights import multiplied, scaled_at_once
from src.networks.second_derivative import differentiable_twice

SMALL = {"resolution": 16, "fmap_base": 128, "fmap_max": 16}


@pytest.fixture(params=[torch.bfloat16, None], ids=["bf16", "float32"])
def autocast(request):
    return torch.autocast("cpu", request.param) if request.param else nullcontext()


def gradients(network: torch.nn.Module, output: Tensor) -> list[Tensor | None]:
    network.zero_grad()
    output.float().square().sum().backward()
    return [None if p.grad is None else p.grad.clone() for p in network.parameters()]


def same(found: list[Tensor | None], wanted: list[Tensor | None]) -> bool:
    return all(
        a is b is None or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(found, wanted, strict=True)
    )


@pytest.fixture
def at_once(monkeypatch):
    """Have networks scale at once where there is no GPU, and count how often they do."""
    calls = []

    def counted(modules, input):
        calls.append(input)
        return scaled_at_once(modules, input)

    def switch(on: bool) -> None:
        chosen = (lambda self, input, resolution, alpha: counted(self._active(resolution, alpha), input)) if on else (
            lambda *arguments: nullcontext()
        )  # fmt: skip
        monkeypatch.setattr(progressive.Progressive, "_scaled", chosen)

    return switch, calls


def woken(network: torch.nn.Module) -> torch.nn.Module:
    """With biases of a trained network, which start at zero."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.uniform_(parameter, 0.2, 0.8)
    return network


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("bias_scale", [1.0, "he"])
def test_images_and_gradients_of_a_generator_are_the_same_to_the_bit(at_once, autocast, alpha, bias_scale):
    generator, (switch, calls) = woken(Generator(8, 1, bias_scale=bias_scale, **SMALL)), at_once
    latent, found = torch.randn(4, 8), []
    for on in (False, True):
        switch(on)
        with autocast:
            images = generator(latent, 16, alpha)
        found.append((images.detach(), gradients(generator, images)))
    assert len(calls) == 1
    assert torch.equal(found[0][0], found[1][0]) and same(found[0][1], found[1][1])


@pytest.mark.parametrize("spectral_norm", [False, True], ids=["equalized", "spectral"])
@pytest.mark.parametrize("bias_scale", [1.0, "he"])
def test_a_penalty_gives_the_same_gradients(at_once, autocast, spectral_norm, bias_scale):
    switch, calls = at_once
    made = woken(Discriminator(1, spectral_norm=spectral_norm, bias_scale=bias_scale, **SMALL))
    image, found = torch.randn(4, 1, 16, 16), []
    for on in (False, True):
        discriminator = copy.deepcopy(made)  # a power iteration is made in every forward
        switch(on)
        shown = image.clone().requires_grad_()
        with autocast, differentiable_twice(discriminator):
            logits = discriminator(shown, 16)
            (slope,) = torch.autograd.grad(logits.float().sum(), shown, create_graph=True)
        found.append((logits.detach(), gradients(discriminator, slope)))
    assert len(calls) == 1
    assert torch.equal(found[0][0], found[1][0]) and same(found[0][1], found[1][1])


def test_products_have_exact_derivatives_of_both_orders():
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3), (4,), (1, 2, 2))]

    def products(*given: Tensor) -> tuple[Tensor, ...]:
        return multiplied(given, [0.5, 3.0, -2.0], torch.float64)

    assert torch.autograd.gradcheck(products, tensors)
    assert torch.autograd.gradgradcheck(products, tensors)


def test_a_product_is_rounded_once_and_what_has_no_gradient_gets_none():
    tensors = [torch.randn(1000, requires_grad=True), torch.randn(10, requires_grad=True)]
    first, second = multiplied(tensors, [0.1, 0.2], torch.bfloat16)
    assert torch.equal(first, (tensors[0] * 0.1).bfloat16()) and second.dtype == torch.bfloat16
    first.sum().backward()
    assert tensors[1].grad is None and torch.equal(tensors[0].grad, torch.full((1000,), 0.1))


def test_layers_keep_no_product_behind_a_forward():
    generator = Generator(8, 1, bias_scale="he", **SMALL)
    with scaled_at_once([generator], torch.zeros(1)):
        assert generator.base.conv.ready is not None and generator.base.conv.ready_bias is not None
    assert generator.base.conv.ready is None and generator.base.conv.ready_bias is None
