"""The recorder of a training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from src.core.run_folder import RunFolder
from src.training.callbacks import recorder
from src.training.divergence import DivergenceMonitor


@pytest.mark.parametrize("probabilities", [True, False])
def test_the_curves_say_whether_the_loss_gives_probabilities(tmp_path, monkeypatch, probabilities):
    drawn: list[Any] = []
    monkeypatch.setattr(recorder, "save_losses", lambda metrics, path, kind: drawn.append(kind))
    folder = RunFolder(tmp_path)
    folder.metrics.append(32, {"loss_d": 1.0})
    callback = recorder.Recorder(folder, 32, 32, DivergenceMonitor(None))
    trainer: Any = SimpleNamespace(is_global_zero=True)
    callback.on_train_end(trainer, SimpleNamespace(gives_probabilities=probabilities))
    assert drawn == [probabilities]
