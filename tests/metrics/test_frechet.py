from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from src.core.errors import UserError
from src.metrics.frechet import FrechetDistance, frechet_distance, mean_and_covariance


def features_of(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=dtype) / d**0.5
    return torch.randn(n, d, generator=generator, dtype=dtype) @ mixing + 0.1 * seed


def distance_of(real: torch.Tensor, fake: torch.Tensor, batch: int = 1000) -> float:
    metric = FrechetDistance(real.shape[1])
    for rows in real.split(batch):
        metric.update(rows, real=True)
    for rows in fake.split(batch):
        metric.update(rows, real=False)
    return float(metric.compute())


class Identity(torch.nn.Module):
    num_features = 24

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


@pytest.mark.parametrize("n", [15, 300])  # fewer images than features, and more
def test_it_equals_torchmetrics_on_the_same_features(n):
    real, fake = features_of(n, 24, 1), features_of(n, 24, 2)
    reference = FrechetInceptionDistance(feature=Identity())
    reference.update(real, real=True)
    reference.update(fake, real=False)
    assert distance_of(real, fake) == pytest.approx(float(reference.compute()), abs=1e-4)


def test_gaussians_with_diagonal_covariances_have_the_distance_of_the_closed_form():
    mean_a, mean_b = torch.tensor([0.0, 0.0]), torch.tensor([3.0, 4.0])
    a, b = torch.tensor([4.0, 1.0]), torch.tensor([9.0, 0.0])
    found = frechet_distance(mean_a, a.diag(), mean_b, b.diag())
    assert float(found) == pytest.approx(25 + (2 - 3) ** 2 + (1 - 0) ** 2)


def test_it_is_symmetric_and_0_for_the_same_features():
    real, fake = features_of(100, 8, 1), features_of(80, 8, 2)
    assert distance_of(real, fake) == pytest.approx(distance_of(fake, real))
    assert distance_of(real, real) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("batch", [1, 7])
def test_the_split_into_batches_does_not_change_it(batch):
    real, fake = features_of(40, 8, 1), features_of(30, 8, 2)
    assert distance_of(real, fake, batch) == pytest.approx(distance_of(real, fake), abs=1e-9)


def test_50_images_of_2048_features_have_a_finite_distance_that_is_not_negative():
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.rand(50, 2048, generator=generator), torch.rand(50, 2048, generator=generator)
    distance = distance_of(real, fake)
    # Independent samples of so few images share no direction: next to nothing is subtracted from the two traces.
    traces = sum(float(x.double().var(0).sum()) for x in (real, fake))
    assert math.isfinite(distance)
    assert 0 < distance < traces
    few = real[:, :256]  # still more features than images
    assert distance_of(few, few[torch.randperm(50)]) == pytest.approx(0, abs=1e-3)


def test_saved_statistics_of_the_real_images_stand_in_for_them():
    real, fake = features_of(40, 8, 1), features_of(30, 8, 2)
    first, second = FrechetDistance(8), FrechetDistance(8)
    first.update(real, real=True)
    second.load_real_statistics(first.real_statistics())
    second.update(fake, real=False)
    assert float(second.compute()) == pytest.approx(distance_of(real, fake))


def test_statistics_that_are_loaded_do_not_change_with_the_metric():
    metric = FrechetDistance(8)
    metric.update(features_of(40, 8, 1), real=True)
    statistics = metric.real_statistics()
    before = statistics["real_sum"].clone()
    metric.load_real_statistics(statistics)
    metric.update(features_of(40, 8, 2), real=True)
    assert torch.equal(statistics["real_sum"], before)


def test_mean_and_covariance_are_what_the_metric_uses():
    real, fake = features_of(40, 8, 1), features_of(30, 8, 2)
    found = frechet_distance(*mean_and_covariance(real), *mean_and_covariance(fake))
    assert float(found) == pytest.approx(distance_of(real, fake))


def test_one_image_is_too_few():
    with pytest.raises(UserError, match="at least 2 generated images, got 1"):
        distance_of(features_of(40, 8, 1), features_of(1, 8, 2))


def test_features_of_a_diverged_generator_are_named():
    features = features_of(5, 8, 1)
    features[3, 2] = math.nan
    with pytest.raises(UserError, match="features of generated image 3 are not finite"):
        FrechetDistance(8).update(features, real=False)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_reaches_no_linear_algebra(value):
    features = features_of(5, 8, 1)
    features[3, 2] = value
    with pytest.raises(UserError, match="features of generated image 3 are not finite"):
        mean_and_covariance(features, "generated")
    mean, covariance = mean_and_covariance(features_of(5, 8, 1))
    for broken in ((mean * value, covariance), (mean, covariance * value)):
        with pytest.raises(UserError, match="distance's second mean or covariance is not finite"):
            frechet_distance(mean, covariance, *broken)
