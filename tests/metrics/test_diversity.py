from __future__ import annotations

import numpy as np
import pytest
import torch

from src.metrics.diversity import mean_pairwise_ssim, similarities


def test_copies_of_one_image_have_an_ssim_of_1():
    assert mean_pairwise_ssim(torch.rand(1, 3, 16, 16).expand(6, -1, -1, -1)) == pytest.approx(1, abs=1e-5)


def test_it_is_the_mean_over_all_pairs():
    images = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    pairs = [float(similarities(images[i : i + 1], images[j : j + 1])) for i in range(5) for j in range(i)]
    assert mean_pairwise_ssim(images) == pytest.approx(sum(pairs) / 10, abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "expected"),  # of scikit-image 0.26: gaussian_weights, sigma=1.5, use_sample_covariance=False
    [((16, 16), 0.8566271), ((12, 20), 0.8529995), ((11, 11), 0.8509489)],
)
def test_similarity_is_wangs_of_windows_within_the_image(shape, expected):
    rng = np.random.default_rng(1)
    common = rng.random(shape)
    one, other = (torch.from_numpy(common * 0.7 + 0.3 * rng.random(shape)).float()[None, None] for _ in range(2))
    assert float(similarities(one, other)) == pytest.approx(expected, abs=2e-6)


def test_collapse_raises_it():
    varied = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    collapsed = varied.clone()
    collapsed[:10] = varied[:1]
    assert mean_pairwise_ssim(collapsed) > mean_pairwise_ssim(varied) + 0.1


def test_one_image_has_no_diversity():
    with pytest.raises(ValueError, match="at least two images"):
        mean_pairwise_ssim(torch.rand(1, 1, 16, 16))


def test_images_smaller_than_the_window_have_no_similarity():
    with pytest.raises(ValueError, match=r"images of \(10, 16\) pixels are smaller than the window of 11"):
        mean_pairwise_ssim(torch.rand(2, 1, 10, 16))
