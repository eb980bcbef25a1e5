from __future__ import annotations

import math

import pytest
import torch

from src.metrics.bootstrap import bootstrap_interval, counts, draws, halves, interval, shift


def test_an_interval_holds_its_share_of_the_values():
    values = torch.arange(1001.0)[torch.randperm(1001)]
    assert interval(values) == (25, 975)
    assert interval(values, level=0.5) == (250, 750)


def test_infinite_values_make_an_infinite_end_and_no_nan():
    assert interval(torch.tensor([1.0, 2.0, math.inf, math.inf])) == (1, math.inf)


def test_the_interval_of_a_mean_has_the_width_of_the_normal_approximation():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = bootstrap_interval(lambda indices: float(values[indices].mean()), n=400, resamples=2000)
    assert high - low == pytest.approx(2 * 1.96 * float(values.std()) / 20, rel=0.1)
    assert (low + high) / 2 == pytest.approx(float(values.mean()), abs=0.01)


def test_it_holds_the_true_mean_in_about_95_of_100_samples():
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for seed in range(200):
        sample = torch.rand(60, generator=generator)
        low, high = bootstrap_interval(lambda i, x=sample: float(x[i].mean()), n=60, resamples=200, seed=seed)
        hits += low <= 0.5 <= high
    assert 0.88 < hits / 200 < 0.99


def test_the_seed_alone_decides_what_is_drawn():
    assert torch.equal(draws(9, 5, seed=1), draws(9, 5, seed=1))
    assert not torch.equal(draws(9, 5, seed=1), draws(9, 5, seed=2))


def test_counts_are_those_of_the_draws():
    expected = torch.stack([row.bincount(minlength=9) for row in draws(9, 20, seed=3)])
    assert torch.equal(counts(9, 20, seed=3), expected.double())


def test_a_half_has_half_the_images_and_none_twice():
    for half in halves(9, 50):
        assert len(set(half.tolist())) == len(half) == 4
    assert halves(9, 50).unique().tolist() == list(range(9))


def test_shifted_values_have_the_score_as_their_mean_and_their_spread_unchanged():
    values, score = torch.tensor([1.0, 2.0, 6.0]), torch.tensor(2.5)
    assert shift(values, score).tolist() == [0.5, 1.5, 5.5]


def test_infinite_values_are_not_shifted():
    values = torch.tensor([1.0, math.inf])
    assert torch.equal(shift(values, torch.tensor(1.0)), values)
