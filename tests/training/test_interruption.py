from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from src.training.callbacks.interruption import Interruption


def end(*_: object) -> None:
    raise TimeoutError


@pytest.fixture
def training() -> Iterator[Interruption]:
    """A callback in training, in a process that takes any signal for its end."""
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    callback = Interruption()
    callback.on_train_start(Mock(), Mock())
    yield callback
    callback.teardown(Mock(), Mock(), "fit")
    for number, handler in before.items():
        signal.signal(number, handler)


def test_told_to_end_by_a_scheduler_and_by_its_parent_a_process_saves_all_the_same(training):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert training.requested


def test_a_second_ctrl_c_ends_the_process_at_once(training):
    os.kill(os.getpid(), signal.SIGINT)
    assert training.requested
    with pytest.raises(TimeoutError):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_while_processes_agree_is_not_lost_and_stops_none_alone(training):
    """Each knows of its own signal at the next step: one that stopped now would leave the others waiting for it."""

    def agree(decision: bool, all: bool) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return decision

    trainer = Mock(world_size=2, should_stop=False)
    trainer.strategy.reduce_boolean_decision = agree
    training.on_train_batch_end(trainer, Mock(), None, None, 0)
    assert not trainer.should_stop
    training.on_train_batch_end(trainer, Mock(), None, None, 1)
    assert trainer.should_stop and training.requested
