"""What a run is made with; a GPU is pretended."""

from __future__ import annotations

import pytest
import torch

from src.core import environment
from src.training.trainer import choose_precision


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "a GPU")


def test_the_processor_is_the_one_that_was_used():
    assert environment.processor(torch.device("cuda")) == "a GPU"
    assert environment.processor(torch.device("cpu")) != "a GPU"


@pytest.mark.parametrize(
    ("accelerator", "asked"), [("auto", "cuda"), ("gpu", "cuda"), ("cuda", "cuda"), ("cpu", "cpu")]
)
def test_the_precision_is_chosen_for_the_accelerator(monkeypatch, accelerator, asked):
    monkeypatch.setattr(environment, "has_fast_bfloat16", lambda name: name == asked)
    assert choose_precision("auto", accelerator) == "bf16-mixed"
