"""Under CUDA's autocast, whose rules are not the CPU's, with fake tensors: shapes, dtypes and a device alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from src.core.pixels import to_unit_range
from src.networks import (
    attention,
    attention_kernels,
    dcgan,
    dcgan_medical,
    fused,
    kernels,
    progressive,
    progressive_blocks,
)
from src.networks.classifier import ResidualClassifier
from src.networks.progressive import Discriminator, Generator, blend_real
from src.networks.second_derivative import differentiable_twice
from src.networks.unet import unet


@contextmanager
def autocast(dtype: torch.dtype) -> Iterator[None]:
    """``torch.autocast("cuda")``, which switches itself off where there is no GPU."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


@contextmanager
def on_a_fake_gpu(dtype: torch.dtype) -> Iterator[None]:
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"), autocast(dtype):
        yield


class NoKernel:
    """In the place of a kernel: what it writes has a shape and a dtype before."""

    def __getitem__(self, grid: object) -> Callable[..., None]:
        return lambda *arguments: None


@pytest.fixture(params=[True, False], ids=["fused", "plain"], autouse=True)
def passes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fused passes, and of those where there is no Triton."""
    if not request.param:
        return  # as kernels take no fake tensors
    if kernels.triton is None:
        pytest.skip("this torch comes without Triton")
    for module in (attention, progressive, progressive_blocks):
        monkeypatch.setattr(module, "available", lambda tensor: tensor.is_cuda)
    for kernel in ("_forward", "_pool"):
        monkeypatch.setattr(fused, kernel, NoKernel(), raising=False)
    monkeypatch.setattr(attention_kernels, "_launch", lambda *arguments: None)


def alphas() -> list[float | torch.Tensor]:
    return [1.0, 0.5, torch.tensor(0.5)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("spectral_norm", [False, True], ids=["pggan", "enhanced"])
@pytest.mark.parametrize("twice", [False, True], ids=["once", "for a penalty"])
def test_growing_networks_run_at_every_kind_of_phase(dtype: torch.dtype, spectral_norm: bool, twice: bool) -> None:
    with on_a_fake_gpu(dtype):
        options: dict[str, Any] = {"fmap_base": 512, "fmap_max": 32, "bias_scale": 1.0}
        if spectral_norm:
            options |= {"attention_at": 32, "bias_scale": "he"}
        generator = Generator(32, 1, 32, **options)
        discriminator = Discriminator(1, 32, spectral_norm=spectral_norm, **options)
        for resolution in generator.resolutions:
            for alpha in alphas():
                real = torch.empty(8, 1, resolution, resolution, dtype=torch.uint8)
                real = blend_real(to_unit_range(real), alpha)
                fake = generator(torch.empty(8, 32), resolution=resolution, alpha=alpha)
                assert real.dtype == torch.float32 and fake.dtype == dtype
                both = torch.cat([real, fake.to(real.dtype)])
                if not twice:
                    logits = discriminator(both, resolution=resolution, alpha=alpha)
                else:
                    with differentiable_twice(discriminator):
                        logits = discriminator(both.requires_grad_(), resolution=resolution, alpha=alpha)
                assert logits.dtype == dtype and logits.device.type == "cuda"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_networks_run(dtype: torch.dtype) -> None:
    # The U-Net tries itself on the CPU when it is made.
    networks: list[nn.Module] = [unet(1, 1, (32, 32), "resnet18", 3, 4), ResidualClassifier(1, 2, 8)]
    with on_a_fake_gpu(dtype):
        image = torch.empty(4, 1, 32, 32, dtype=torch.uint8)
        networks = [network.to("cuda") for network in networks] + [dcgan.Discriminator(1, 32, width=0.125)]
        for network in networks:
            assert network(to_unit_range(image)).dtype == dtype
        critic = dcgan_medical.Discriminator(1, 32, [8, 8])
        with differentiable_twice(critic):
            assert critic(to_unit_range(image).requires_grad_()).dtype == dtype
        assert dcgan_medical.Generator(16, 1, 32, [8, 8, 8])(torch.empty(4, 16)).dtype == dtype
        for upsampling in ("nearest", "transposed"):
            generator = dcgan.Generator(16, 1, 32, width=0.125, upsampling=upsampling)
            assert generator(torch.empty(4, 16)).dtype == dtype
