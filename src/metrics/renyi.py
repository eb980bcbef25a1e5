"""RKE: how many different kinds of image a set holds, without a look at any other set."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 2**24  # distances held at a time


def renyi_kernel_entropy(features: Tensor, bandwidth: float) -> float:
    """The exponential of the Rényi kernel entropy of order 2 (Jalali, Li and Farnia, NeurIPS 2023, equations 3 and 6).

    1 / ‖K / N‖², the squared Frobenius norm, with K's entries exp(−‖x − y‖² / 2σ²): 1 where all images are alike, m of
    m equally frequent kinds that lie further apart than σ and hold together more closely.

    Args:
        features: (N, D).
        bandwidth: σ, in the features' unit, above 0.
    """
    features = features.double()
    features = features - features.median(0).values
    norms = features.square().sum(1)
    total = 0.0
    for rows, own in zip(*(t.split(max(1, BLOCK // len(features))) for t in (features, norms)), strict=True):
        squared = (own[:, None] + norms - 2 * rows @ features.T).clamp(min=0)
        total += float(torch.exp(-squared / bandwidth**2).sum())  # the square of K's entries
    return len(features) ** 2 / total


def bandwidth_of(features: Tensor, most: int = 2000) -> float:
    """Half the median distance between the first ``most`` images (N, D); 1 where all are alike."""
    distances = torch.pdist(features[:most].double())
    return float(distances.median() / 2) or 1.0 if len(distances) else 1.0
