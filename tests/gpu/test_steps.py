"""Training steps on a GPU: what they compute, captured or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from torch import Tensor

from src.data.stream import BatchStream
from src.training.adversarial import AdversarialModule
from src.training.from_config import build_module, load_data
from src.training.module import ClockedModule
from src.training.trainer import build_trainer
from tests.gpu.conftest import MODELS, SMALL

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def no_tf32() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def differing(one: ClockedModule, other: ClockedModule) -> list[str]:
    a, b = one.state_dict(), other.state_dict()
    return [name for name in a if not torch.equal(a[name].cpu(), b[name].cpu())]


@pytest.mark.parametrize("model", MODELS)
def test_a_captured_step_computes_what_an_ordinary_one_does(model: str, train: Any, replays: list[int]) -> None:
    """Weights, averages, running statistics and what is logged, after all phases: so images and noise are the same."""
    exact = (*MODELS[model], "trainer.deterministic=true")
    ordinary = train(*exact, "trainer.graph=false")
    assert not replays
    captured = train(*exact)
    assert len(replays) > 8 and captured.clock.images == ordinary.clock.images
    assert differing(captured, ordinary) == []
    assert captured.meter.state_dict() == ordinary.meter.state_dict()


@pytest.mark.parametrize("model", MODELS)
def test_a_run_that_goes_on_ends_in_the_same_bits(model: str, train: Any, tmp_path: Any) -> None:
    exact = (*MODELS[model], "trainer.deterministic=true")
    whole = train(*exact)
    train(*exact, images=whole.clock.images // 2, save=tmp_path / "half.ckpt")
    assert differing(train(*exact, checkpoint=str(tmp_path / "half.ckpt")), whole) == []


def test_a_step_that_cannot_be_captured_is_made_as_usual(
    train: Any, replays: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = (*MODELS["dcgan"], "trainer.deterministic=true")
    ordinary = train(*exact)
    replays.clear()
    update = AdversarialModule.follow_gradients

    def waiting(self: Any, optimizer: Any) -> None:
        torch.cuda.current_stream().synchronize()
        update(self, optimizer)

    monkeypatch.setattr(AdversarialModule, "follow_gradients", waiting)
    assert differing(train(*exact), ordinary) == [] and not replays


def test_float16_trains_with_its_loss_scaled(train: Any, replays: list[int]) -> None:
    module = train(*MODELS["dcgan"], "trainer.precision=16-mixed")
    assert all(value.isfinite().all() for value in module.state_dict().values()) and not replays


@pytest.mark.parametrize("model", ["dcgan", "unet"])
def test_images_that_stay_on_the_card_train_as_those_that_are_copied(model: str, train: Any) -> None:
    exact = (*MODELS[model], "trainer.deterministic=true")
    assert differing(train(*exact), train(*exact, "trainer.data_memory=0")) == []


class Remember(torch.optim.SGD):
    """Keeps the gradients and leaves the weights."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.state[parameter]["gradient"] = parameter.grad.double().cpu()


def gradients_of(module: ClockedModule, cfg: Any, split: Any, images: int) -> dict[str, Tensor]:
    """Of a step after so many images, by the names of the parameters, in float64; and what is measured."""
    module.optimizer = lambda parameters: Remember(parameters, 0.0)
    module.clock.images = images
    trainer = build_trainer(cfg.trainer, [])
    trainer.fit(module, BatchStream(split, module.schedule, images + 8, cfg.seed, module.clock))
    kept = {parameter: state["gradient"] for o in trainer.optimizers for parameter, state in o.state.items()}
    found = {name: kept[parameter] for name, parameter in module.named_parameters() if parameter in kept}
    return found | {f"measured {name}": value.double().cpu() for name, value in module.meter.sums.items()}


CASES = {
    "dcgan": (*MODELS["dcgan"], "model.discriminator.dropout=0"),
    "dcgan wgan_gp": (
        *MODELS["dcgan"],
        "loss=wgan_gp",
        "model.discriminator.norm=none",
        "model.discriminator.dropout=0",
    ),
    "dcgan_medical": (*MODELS["dcgan_medical"], "model.discriminator.dropout=0"),
    "dcgan_medical wgan_gp": (*MODELS["dcgan_medical"], "loss=wgan_gp", "model.discriminator.dropout=0"),
    "pggan": MODELS["pggan"],
    "enhanced": MODELS["enhanced"],
    "lazy_r1": MODELS["lazy_r1"],
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("fading", [False, True])
def test_a_step_has_the_gradients_of_float64_on_the_cpu(
    case: str, fading: bool, compose: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses, penalties and all gradients, the second derivatives of convolutions and of attention among them."""
    found = []
    for accelerator, precision in (("cpu", "64-true"), ("gpu", "32-true")):
        cfg = compose(*SMALL, *CASES[case], f"trainer.accelerator={accelerator}", f"trainer.precision={precision}")
        _, split = load_data(cfg)
        module: Any = build_module(cfg)
        for name, parameter in module.named_parameters():
            if name.endswith(("bias", "gamma")):  # where they are zero, rounding chooses the side of many a LeakyReLU
                torch.nn.init.uniform_(parameter, 0.2, 0.6, generator=torch.Generator().manual_seed(1))
        phases = module.schedule.phases()
        if fading and not any(phase.fading for phase in phases):
            pytest.skip("this model does not grow")
        phase = next(p for p in reversed(phases) if p.fading == fading)
        images = phase.start + (phase.images // phase.batch_size // 2 * phase.batch_size if fading else 0)

        def draw(stream: int, sample: Any, count: int, module: Any = module) -> Tensor:
            generator = torch.Generator().manual_seed(stream)
            draws = torch.rand(count, module.latent.dim, generator=generator, dtype=torch.float64)
            rows = draws if sample.__name__ == "sample" else draws[:, 0]
            return rows.to(module.device, next(module.generator.parameters()).dtype)

        monkeypatch.setattr(module, "draw", draw)
        found.append(gradients_of(module, cfg, split, images))
    exact, computed = found
    assert exact.keys() == computed.keys() and len(exact) > 10
    largest = max(value.abs().max() for name, value in exact.items() if not name.startswith("measured"))
    for name, value in exact.items():
        assert (computed[name] - value).norm() <= 2e-3 * value.norm() + 1e-4 * largest, name


class ReservedMemory(Callback):
    """The most that the allocator held after any step."""

    most = 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.most = max(self.most, torch.cuda.memory_reserved())


def test_growing_keeps_no_memory_of_the_phases_before(train: Any) -> None:
    """Graphs of 13 phases hold at most a fifth more than the last phase, the largest, does alone."""
    sizes = ("model=pggan", "resolution=256", "width=64", "images=5_200", "trainer.precision=bf16-mixed")
    found = []
    for last_phase in (True, False):
        torch.cuda.empty_cache()
        watch = ReservedMemory()
        train(*sizes, callbacks=[watch], last_phase=last_phase)
        found.append(watch.most)
    alone, after_the_others = found
    assert 0 < after_the_others <= 1.2 * alone
