from __future__ import annotations

import pytest
import torch
from torchmetrics.image.kid import KernelInceptionDistance

from src.core.errors import UserError
from src.metrics import kernel
from src.metrics.kernel import kernel_distance, subset_kernel_distance


def features_of(n: int, seed: int, mean: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean


def naive(a: torch.Tensor, b: torch.Tensor) -> float:
    """Means over pairs of different images, one pair at a time."""

    def k(x: torch.Tensor, y: torch.Tensor) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    def within(x: torch.Tensor) -> float:
        values = [k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
        return sum(values) / len(values)

    return within(a) + within(b) - 2 * sum(k(x, y) for x in a for y in b) / (len(a) * len(b))


@pytest.mark.parametrize("rows", [4, 1024])
def test_it_equals_a_naive_mean_over_pairs_also_of_sets_of_unlike_size(monkeypatch, rows):
    monkeypatch.setattr(kernel, "ROWS", rows)
    a, b = features_of(9, 0), features_of(14, 1, 0.3)
    assert float(kernel_distance(a, b)) == pytest.approx(naive(a, b), abs=1e-12)


def test_it_equals_torchmetrics_where_the_subset_is_the_set():
    a, b = features_of(60, 0), features_of(60, 1, 0.3)
    reference = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=2, subset_size=60)
    reference.update(a, real=True)
    reference.update(b, real=False)
    found = subset_kernel_distance(a, b, subset_size=60, subsets=2)
    assert float(found) == pytest.approx(float(reference.compute()[0]), abs=1e-4)


def test_over_subsets_its_mean_is_near_that_of_all_images_and_depends_on_the_seed_alone():
    a, b = features_of(300, 0), features_of(200, 1, 0.5)
    found = subset_kernel_distance(a, b, subset_size=50, subsets=200)
    others = [float(subset_kernel_distance(a, b, subset_size=50, subsets=1, seed=seed)) for seed in range(1, 51)]
    error = float(torch.tensor(others).std()) / 200**0.5
    assert float(found) == pytest.approx(float(kernel_distance(a, b)), abs=4 * error)
    torch.manual_seed(1)
    assert subset_kernel_distance(a, b, subset_size=50, subsets=200) == found
    assert subset_kernel_distance(a, b, subset_size=50, subsets=200, seed=1) != found


def test_samples_of_one_distribution_are_at_distance_0_on_average_however_few():
    values = torch.stack([kernel_distance(features_of(10, 2 * i), features_of(10, 2 * i + 1)) for i in range(200)])
    assert abs(float(values.mean())) < 3 * float(values.std()) / 200**0.5


def test_fewer_images_than_the_subset_is_an_error_with_both_numbers_and_the_option_to_lower():
    with pytest.raises(UserError, match=r"30 generated images for subset_size=50: .* lower subset_size to at most 30"):
        subset_kernel_distance(features_of(60, 0), features_of(30, 1), subset_size=50)


def test_one_image_is_too_few():
    with pytest.raises(UserError, match="at least 2 images a set, got 60 and 1"):
        kernel_distance(features_of(60, 0), features_of(1, 1))


def test_features_of_two_spaces_are_refused():
    with pytest.raises(ValueError, match="different spaces"):
        kernel_distance(features_of(5, 0), features_of(5, 1)[:, :8])
