"""What the tests on a GPU share; where there is none they are skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from src.data.stream import BatchStream
from src.training import step_graph
from src.training.from_config import build_module, load_data
from src.training.module import ClockedModule
from src.training.trainer import build_trainer

SMALL = ("phantoms=64", "data.sizes.val=8", "data.sizes.test=8", "trainer.accelerator=gpu", "batch_size=8")
MODELS = {
    "dcgan": ("model=dcgan", "resolution=16", "images=128", "model.generator.width=0.25"),
    "dcgan_medical": ("model=dcgan_medical", "resolution=16", "images=128", "width=16"),
    "pggan": ("model=pggan", "resolution=16", "width=16", "images=400"),
    "enhanced": ("model=enhanced", "resolution=16", "width=16", "images=400", *(
        f"model.{network}.attention_at=16" for network in ("generator", "discriminator"))),
    "lazy_r1": ("model=pggan", "loss=logistic_r1", "resolution=8", "width=16", "images=400"),
    "switches": ("model=pggan", "resolution=8", "width=16", "images=400", "model.generator.bias_scale=he",
                 "model.discriminator.minibatch_std_at=8", "model.ema.reset_at_growth=true", "model.lr_ratio=2",
                 "model.fresh_latents=true", "model.instance_noise=0.1", "model.schedule.lr_decay=0.5"),
    "unet": ("model=unet", "resolution=32", "images=128", "model.network.depth=3", "model.network.width=4"),
    "classifier": ("model=classifier", "resolution=32", "images=128", "width=8"),
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a GPU of NVIDIA"))


@pytest.fixture
def train(compose: Callable[..., DictConfig]) -> Callable[..., ClockedModule]:
    """Trains a shrunk model of the real configuration; ``checkpoint`` is gone on from, ``save`` is written.

    ``last_phase``: begin with it.
    """

    def run(
        *overrides: str,
        images: int | None = None,
        checkpoint: Any = None,
        save: Any = None,
        callbacks: Any = (),
        last_phase: bool = False,
    ) -> ClockedModule:
        cfg = compose(*SMALL, *overrides)
        _, split = load_data(cfg)
        module = build_module(cfg)
        module.graph = cfg.trainer.graph
        if last_phase:
            module.clock.images = module.schedule.phases()[-1].start
        trainer = build_trainer(cfg.trainer, list(callbacks))
        stream = BatchStream(split, module.schedule, images or cfg.images, cfg.seed, module.clock)
        stream.place(trainer.strategy.root_device, cfg.trainer.data_memory, module.steps_at_once)
        trainer.fit(module, stream, ckpt_path=checkpoint, weights_only=True)
        if save is not None:
            trainer.save_checkpoint(save)
        return module

    return run


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every captured step that is replayed."""
    made: list[int] = []
    replay = step_graph._Captured.replay

    def counted(self: Any, batch: Any) -> None:
        made.append(1)
        replay(self, batch)

    monkeypatch.setattr(step_graph._Captured, "replay", counted)
    return made
