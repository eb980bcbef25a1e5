"""How alike images are, every one to every other."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional import pearson_corrcoef
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from src.metrics.similarity import (
    MEASURES,
    correlation,
    histogram_distance,
    mean_squared_error,
    peak_signal_to_noise,
    ssim,
)


def images(count: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Smooth and rough ones, (count, channels, 24, 20)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 6, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(24, 20), mode="bicubic").clamp(0, 1)
    rough = torch.rand(count, channels, 24, 20, generator=generator)
    return torch.where(torch.arange(count)[:, None, None, None] % 2 == 0, smooth, 0.6 * smooth + 0.4 * rough)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_torchmetrics_for_every_pair(channels: int) -> None:
    ours, theirs = images(3, channels), images(70, channels, 1)
    found = ssim(ours, theirs)
    assert found.shape == (3, 70)
    for row, image in enumerate(ours):
        expected = structural_similarity_index_measure(
            image.expand_as(theirs).contiguous(), theirs, data_range=1.0, reduction="none"
        )
        assert torch.allclose(found[row], torch.as_tensor(expected), atol=1e-5)


def test_images_smaller_than_its_window_have_none() -> None:
    with pytest.raises(ValueError, match=r"images of \(10, 20\) pixels are smaller than the window of 11"):
        ssim(torch.rand(1, 1, 10, 20), torch.rand(1, 1, 10, 20))


def test_errors_and_correlations_are_those_of_single_pairs() -> None:
    ours, theirs = images(3, 3), images(4, 3, 1)
    for row, image in enumerate(ours):
        for column, other in enumerate(theirs):
            error = (image - other).square().mean()
            assert mean_squared_error(ours, theirs)[row, column] == pytest.approx(float(error), abs=1e-6)
            noise = peak_signal_noise_ratio(image, other, data_range=1.0)
            assert peak_signal_to_noise(ours, theirs)[row, column] == pytest.approx(float(noise), abs=1e-3)
            same = pearson_corrcoef(image.flatten(), other.flatten())
            assert correlation(ours, theirs)[row, column] == pytest.approx(float(same), abs=1e-5)


def test_histograms_forget_where_pixels_are_and_lie_1_apart_where_they_share_no_bin() -> None:
    image = images(1)
    shuffled = image.flatten()[torch.randperm(image.numel())].view_as(image)
    assert float(histogram_distance(image, shuffled)) == pytest.approx(0, abs=1e-3)
    dark, bright = torch.full((1, 1, 12, 12), 0.1), torch.full((1, 1, 12, 12), 0.9)
    assert float(histogram_distance(dark, bright)) == 1
    half = torch.where(torch.arange(12) < 6, dark, bright)
    assert float(histogram_distance(dark, half)) == pytest.approx((1 - 0.5**0.5) ** 0.5, abs=1e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_of_every_measure_a_copy_is_the_most_alike(name: str) -> None:
    measure, all_of_them = MEASURES[name], images(8)
    found = measure.compare(all_of_them, all_of_them)
    nearest = found.argmax(1) if measure.higher else found.argmin(1)
    assert nearest.tolist() == list(range(8))


def test_an_image_of_one_value_correlates_with_nothing() -> None:
    assert float(correlation(torch.full((1, 1, 12, 12), 0.3), images(1)[..., :12, :12])) == pytest.approx(0, abs=1e-4)
