"""A run that goes on with another number of threads says that its bits depend on it."""

from __future__ import annotations

import logging

import torch

from src.training.from_config import build_module


def test_a_change_of_threads_is_said_and_no_change_is_not(compose, caplog):
    module = build_module(compose("model=dcgan", "budget=smoke", "model.generator.width=0.125", "trainer.threads=1"))
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    with caplog.at_level(logging.WARNING):
        module.on_load_checkpoint(checkpoint)
        assert not caplog.messages
        module.on_load_checkpoint({**checkpoint, "threads": torch.get_num_threads() + 1})
    (said,) = caplog.messages
    assert "goes on with 1 CPU threads where it had 2" in said and "trainer.threads=2 keeps them" in said
