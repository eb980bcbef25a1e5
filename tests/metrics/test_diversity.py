from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from src.metrics.diversity import mean_pairwise_ssim


def test_copies_of_one_image_have_an_ssim_of_1():
    assert mean_pairwise_ssim(torch.rand(1, 3, 16, 16).expand(6, -1, -1, -1)) == pytest.approx(1, abs=1e-5)


def test_it_is_the_mean_over_all_pairs():
    images = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    pairs = [
        structural_similarity_index_measure(images[i : i + 1], images[j : j + 1], data_range=1.0)
        for i in range(5)
        for j in range(i)
    ]
    assert mean_pairwise_ssim(images) == pytest.approx(float(torch.tensor(pairs).mean()), abs=1e-5)


def test_collapse_raises_it():
    varied = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    collapsed = varied.clone()
    collapsed[:10] = varied[:1]
    assert mean_pairwise_ssim(collapsed) > mean_pairwise_ssim(varied) + 0.1


def test_one_image_has_no_diversity():
    with pytest.raises(ValueError, match="at least two images"):
        mean_pairwise_ssim(torch.rand(1, 1, 16, 16))
