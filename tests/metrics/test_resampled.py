from __future__ import annotations

from functools import partial

import pytest
import torch

from src.metrics import kernel, resampled
from src.metrics.bootstrap import counts, draws, halves, interval, shift
from src.metrics.frechet import frechet_distance, mean_and_covariance
from src.metrics.kernel import kernel_distance
from src.metrics.probabilities import am_score, am_score_of, inception_score, inception_score_of, means, mode_score_of
from src.metrics.resampled import resampled_class_scores, resampled_frechet_distance, resampled_kernel_distance


def probabilities_of(n: int, generator: torch.Generator) -> torch.Tensor:
    return (3 * torch.randn(n, 5, generator=generator)).softmax(1)


def features_of(n: int, d: int, generator: torch.Generator, mean: float = 0.0) -> torch.Tensor:
    return torch.randn(n, d, generator=generator, dtype=torch.float64) + mean


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_class_scores_equal_those_of_each_resample_shifted(generator):
    generated, training = probabilities_of(40, generator), probabilities_of(60, generator)
    resamples = [generated[indices] for indices in draws(40, 30, seed=4)]
    scores = {"inception": inception_score_of, "am": lambda x: am_score_of(x, means(training))}
    found = resampled_class_scores(scores, generated, 30, seed=4)

    expected = shift(torch.stack([inception_score(rows) for rows in resamples]), inception_score(generated))
    assert torch.allclose(found["inception"], expected)

    expected = shift(torch.stack([am_score(rows, training) for rows in resamples]), am_score(generated, training))
    assert torch.allclose(found["am"], expected)


def test_the_resamples_of_all_class_scores_are_drawn_once(generator, monkeypatch):
    drawn = []
    monkeypatch.setattr(resampled, "counts", lambda *arguments: drawn.append(arguments) or counts(*arguments))
    scores = {name: inception_score_of for name in "abcd"}
    assert len(resampled_class_scores(scores, probabilities_of(40, generator), 30, seed=4)) == 4
    assert drawn == [(40, 30, 4)]


def test_the_interval_of_a_biased_score_holds_what_as_many_images_score_on_average(generator):
    training = means(probabilities_of(5000, generator))
    score = partial(mode_score_of, training=training, variant="xu2018")
    expected = torch.stack([score(means(probabilities_of(50, generator))) for _ in range(400)]).mean()
    hits = 0
    for seed in range(100):
        values = resampled_class_scores({"score": score}, probabilities_of(50, generator), 200, seed)
        low, high = interval(values["score"])
        hits += low <= float(expected) <= high
    assert hits >= 86


@pytest.mark.parametrize("d", [6, 40])  # fewer features than a half has images, and more
def test_frechet_distances_equal_those_of_each_half_shifted(generator, d):
    real = mean_and_covariance(features_of(100, d, generator))
    generated = features_of(50, d, generator, 0.4)
    each = [frechet_distance(*real, *mean_and_covariance(generated[half])) for half in halves(50, 20, seed=4)]
    expected = shift(torch.stack(each), frechet_distance(*real, *mean_and_covariance(generated)))
    assert torch.allclose(resampled_frechet_distance(*real, generated, 20, seed=4), expected, atol=1e-5)


def test_the_interval_of_the_frechet_distance_holds_what_as_many_images_have_on_average(generator):
    real = mean_and_covariance(features_of(2000, 6, generator))

    def sample() -> torch.Tensor:
        return 1.3 * features_of(60, 6, generator, 0.2)

    expected = float(torch.stack([frechet_distance(*real, *mean_and_covariance(sample())) for _ in range(300)]).mean())
    hits = plain_hits = 0
    for seed in range(60):
        generated = sample()
        low, high = interval(resampled_frechet_distance(*real, generated, 100, seed))
        hits += low <= expected <= high
        plain = [frechet_distance(*real, *mean_and_covariance(generated[rows])) for rows in draws(60, 100, seed)]
        low, high = interval(torch.stack(plain))
        plain_hits += low <= expected <= high
    assert hits >= 51
    assert plain_hits < hits  # the plain bootstrap counts the bias twice


def test_kernel_distances_of_resamples_leave_out_pairs_of_copies(generator, monkeypatch):
    for module in (kernel, resampled):
        monkeypatch.setattr(module, "ROWS", 7)
    real, generated = features_of(12, 4, generator), features_of(10, 4, generator, 0.3)
    for found, rows in zip(resampled_kernel_distance(real, generated, 5, seed=4), draws(10, 5, seed=4), strict=True):
        k = (generated[rows] @ generated[rows].T / 4 + 1) ** 3
        different = rows[:, None] != rows
        between = ((generated[rows] @ real.T / 4 + 1) ** 3).mean()
        assert float(found) == pytest.approx(float(k[different].mean() + kernel.mean_within(real) - 2 * between))


def test_kernel_distances_of_resamples_lie_around_that_of_all_images(generator):
    real, generated = features_of(80, 4, generator), features_of(60, 4, generator, 0.3)
    values = resampled_kernel_distance(real, generated, 1000)
    assert float(values.mean()) == pytest.approx(float(kernel_distance(real, generated)), abs=0.1 * float(values.std()))
