from __future__ import annotations

import math

import pytest

from src.core.errors import UserError
from src.training.divergence import DivergenceMonitor

WON = {"loss_d": 0.0, "d_real": 0.999, "d_fake": 0.001}
EVEN = {"loss_d": 1.3, "d_real": 0.5, "d_fake": 0.5}


def test_a_value_that_is_not_finite_is_named_with_what_to_try():
    with pytest.raises(UserError, match=r"loss_d is nan after 1,000 images.*lower optim\.lr"):
        DivergenceMonitor(100).check(1000, {"loss_d": math.nan})


def test_a_discriminator_that_has_won_for_long_is_reported_once():
    monitor = DivergenceMonitor(patience=200)
    warnings = [monitor.check(images, WON) for images in (100, 200, 300, 400)]
    assert [w is not None for w in warnings] == [False, False, True, False]
    assert "won from 100 to 300 images" in str(warnings[2])


def test_one_even_interval_starts_the_count_again():
    monitor = DivergenceMonitor(patience=200)
    rows = [(100, WON), (200, EVEN), (300, WON), (400, WON)]
    assert [monitor.check(images, row) for images, row in rows] == [None] * 4


def test_the_count_survives_a_resume():
    monitor, resumed = DivergenceMonitor(200), DivergenceMonitor(200)
    monitor.check(100, WON)
    resumed.load_state_dict(monitor.state_dict())
    assert resumed.check(300, WON)
