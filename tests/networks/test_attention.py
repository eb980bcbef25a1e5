from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmarks.bench_attention import peak_memory, penalise, train
from src.networks import attention
from src.networks.attention import SelfAttention
from src.networks.second_derivative import differentiable_twice


def layer_of(channels: int, dtype: torch.dtype = torch.float64, pool: int = 2) -> SelfAttention:
    torch.manual_seed(0)
    layer = SelfAttention(channels, pool=pool).to(dtype)
    torch.nn.init.constant_(layer.gamma, 0.7)
    return layer


def naive(layer: SelfAttention, features: torch.Tensor) -> torch.Tensor:
    """The paper's equations 1 to 3, with the matrix of pairs."""

    def conv(name: str, values: torch.Tensor) -> torch.Tensor:
        convolution = getattr(layer, name)
        weight = convolution.weight[:, :, 0, 0] / convolution.in_channels**0.5
        return torch.einsum("oc,bchw->bohw", weight, values)

    query = conv("query", features).flatten(2)
    key = F.max_pool2d(conv("key", features), layer.pool).flatten(2)
    value = F.max_pool2d(conv("value", features), layer.pool).flatten(2)
    weights = torch.einsum("bdn,bdm->bnm", query, key).softmax(2)
    attended = torch.einsum("bnm,bem->ben", weights, value).unflatten(2, features.shape[2:])
    return features + layer.gamma * conv("out", attended)


def test_the_layer_has_the_papers_channels_and_no_bias():
    shapes = {name: tuple(parameter.shape) for name, parameter in SelfAttention(128).named_parameters()}
    assert shapes == {
        "gamma": (),
        "query.weight": (16, 128, 1, 1),
        "key.weight": (16, 128, 1, 1),
        "value.weight": (64, 128, 1, 1),
        "out.weight": (128, 64, 1, 1),
    }


def test_at_initialisation_it_is_the_identity():
    features = torch.randn(2, 16, 8, 8)
    assert torch.equal(SelfAttention(16)(features), features)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_equals_a_naive_softmax_over_all_pairs_with_its_gradients(layout, pool, twice):
    layer = layer_of(16, pool=pool)
    features = torch.randn(2, 16, 8, 6, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    inputs = (features, *layer.parameters())
    with differentiable_twice(layer) if twice else torch.enable_grad():
        output = layer(features)
    expected = naive(layer, features)
    assert torch.allclose(output, expected, atol=1e-12)
    direction = torch.randn_like(output)
    for a, b in zip(
        torch.autograd.grad(output, inputs, direction), torch.autograd.grad(expected, inputs, direction), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-11)


@pytest.mark.parametrize("block", [8, 60, 2**18])  # part of an image's rows, one image, all
def test_its_second_derivative_is_exact_in_any_number_of_blocks(monkeypatch, block):
    monkeypatch.setitem(attention.BLOCK, "cpu", block)
    layer = layer_of(8)
    features = torch.randn(2, 8, 4, 3, dtype=torch.float64, requires_grad=True)

    def penalty(output: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (gradient,) = torch.autograd.grad(output.pow(3).sum(), features, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), (features, *layer.parameters()))

    with differentiable_twice(layer):
        output = layer(features)
    for a, b in zip(penalty(output), penalty(naive(layer, features)), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)


def test_its_second_derivative_equals_finite_differences():
    attend = attention._TwiceDifferentiable.apply
    shapes = [(2, 6, 2), (2, 3, 2), (2, 3, 4)]
    inputs = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    assert torch.autograd.gradcheck(attend, inputs)
    assert torch.autograd.gradgradcheck(attend, inputs)


def test_without_saying_so_a_second_derivative_is_an_error_and_the_scope_ends():
    layer = layer_of(8)
    features = torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ZeroDivisionError), differentiable_twice(layer):
        assert layer.twice
        raise ZeroDivisionError
    assert not layer.twice
    (gradient,) = torch.autograd.grad(layer(features).sum(), features, create_graph=True)
    with pytest.raises(RuntimeError):
        gradient.square().sum().backward()


@pytest.mark.parametrize("run", [train, penalise])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_grows_linearly_with_positions_and_the_matrix_of_pairs_is_never_held(monkeypatch, layout, run):
    monkeypatch.setitem(attention.BLOCK, "cpu", 2**14)
    layer = layer_of(16, torch.float32)

    def peak(side: int) -> int:
        features = torch.randn(1, 16, side, side).to(memory_format=layout).requires_grad_()
        return peak_memory(lambda: run(layer, features))

    small, large = peak(32), peak(64)
    assert large < 5 * small
    assert large < 64**4 // 4 * 4 / 3  # a third of the matrix, in bytes


@pytest.mark.parametrize("channels", [16, 32])
def test_the_fused_kernels_get_rows_that_begin_at_multiples_of_16_bytes(monkeypatch, channels):
    """On a GPU others are an error, or wrong values."""
    attend = F.scaled_dot_product_attention
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *qkv, **o: seen.extend(qkv) or attend(*qkv, **o))
    with torch.autocast("cpu", torch.bfloat16):
        layer_of(channels, torch.float32)(torch.randn(2, channels, 8, 8))
    assert len(seen) == 3
    for tensor in seen:
        assert tensor.dtype == torch.bfloat16 and tensor.is_contiguous()
        assert tensor.data_ptr() % 16 == tensor.stride(2) * tensor.element_size() % 16 == 0


@pytest.mark.parametrize("twice", [False, True])
def test_in_bfloat16_gradients_are_close_to_those_in_float64(twice):
    layer = layer_of(32, torch.float32)
    features = torch.randn(2, 32, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16), differentiable_twice(layer) if twice else torch.enable_grad():
        output = layer(features)
        gradients = torch.autograd.grad(output.float().pow(2).sum(), (features, layer.query.weight))
    exact = layer_of(32)
    wide = features.detach().double().requires_grad_()
    expected = torch.autograd.grad(naive(exact, wide).pow(2).sum(), (wide, exact.query.weight))
    for a, b in zip(gradients, expected, strict=True):
        assert (a - b).norm() < 0.05 * b.norm()
