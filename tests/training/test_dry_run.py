from __future__ import annotations

import time
from typing import Any

import numpy as np
from pytorch_lightning import Callback, Trainer

from src.data.store import Split, Store
from src.training.dry_run import PhaseEstimate, estimate
from src.training.penalties import R1
from src.training.trainer import build_trainer
from tests.training.test_adversarial import make_module


def dry_run(compose: Any, *penalties: R1) -> PhaseEstimate:
    """Of the only phase of a tiny DCGAN: 25 steps of 4 images."""
    module = make_module()
    module.penalties = list(penalties)
    split = Split(Store(np.zeros((16, 1, 16, 16), np.uint8), np.zeros(16, int), None, {}), np.arange(16))

    def make_trainer(callbacks: list[Callback]) -> Trainer:
        return build_trainer(compose("trainer.precision=32-true").trainer, callbacks)

    (found,) = estimate(module, split, make_trainer)
    return found


def test_networks_that_do_not_grow_train_all_their_parameters(compose):
    assert dry_run(compose).parameters == sum(p.numel() for p in make_module().parameters())


def test_a_penalty_that_is_due_at_every_fourth_step_counts_by_a_fourth(compose, monkeypatch):
    term = R1.term
    monkeypatch.setattr(R1, "term", lambda *arguments: time.sleep(0.2) or term(*arguments))
    assert dry_run(compose, R1(weight=1.0, every=4)).seconds > 25 * 0.2 / 4
