from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from src.core.errors import Stopped
from src.core.signals import SIGNALS, Signals
from src.training.callbacks.interruption import Interruption


@pytest.fixture(autouse=True)
def not_under_nohup() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def training() -> Iterator[Interruption]:
    """A callback in training."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with Signals() as signals:
        callback = Interruption(signals)
        callback.on_train_start(Mock(), Mock())
        yield callback
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.parametrize("number", [number for number in SIGNALS if number != signal.SIGINT])
def test_told_to_end_by_a_scheduler_and_by_its_parent_a_process_saves_all_the_same(training, number):
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    assert training.signals.received == number


def test_a_second_ctrl_c_ends_the_process_at_once(training):
    os.kill(os.getpid(), signal.SIGINT)
    assert training.signals.received == signal.SIGINT
    with pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_before_and_after_the_steps_a_signal_ends_the_job_at_once(number):
    with Signals() as signals:
        callback = Interruption(signals)
        with pytest.raises(Stopped):
            os.kill(os.getpid(), number)
    with Signals() as signals:
        callback = Interruption(signals)
        callback.on_train_start(Mock(), Mock())
        callback.teardown(Mock(), Mock(), "fit")
        with pytest.raises(Stopped):
            os.kill(os.getpid(), number)


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


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


def test_what_a_scheduler_sends_after_the_first_signal_disturbs_nobody_who_saves():
    with Signals() as signals:
        with signals.noted():
            os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGUSR2
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)
