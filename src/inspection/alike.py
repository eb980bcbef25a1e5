"""Images that look nearly alike: frames of one sequence, slices of one patient, copies saved anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

SIDE = 32  # pixels of a thumbnail
ALIKE = 0.97  # correlation of thumbnails, without their class's mean, from which two images are nearly alike


def nearly_alike(images: np.ndarray, labels: np.ndarray, cases: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of rows of different cases, (N, C, H, W), whose thumbnails correlate; the most alike first.

    The mean image of a class is taken off before, since all retinas are a disc, and all chests have two lungs.
    """
    thumbs = F.adaptive_avg_pool2d(torch.from_numpy(images.astype(np.float32)).mean(1, keepdim=True), SIDE).flatten(1)
    numbers = torch.from_numpy(labels)
    for label in numbers.unique():
        thumbs[numbers == label] -= thumbs[numbers == label].mean(0)
    thumbs = F.normalize(thumbs - thumbs.mean(1, keepdim=True), dim=1)
    likeness = (thumbs @ thumbs.T).triu(1)
    own = np.unique(np.asarray(cases), return_inverse=True)[1]
    likeness[torch.from_numpy(own[:, None] == own[None, :])] = 0
    rows, columns = torch.nonzero(likeness > ALIKE, as_tuple=True)
    order = torch.argsort(likeness[rows, columns], descending=True, stable=True)
    return list(zip(rows[order].tolist(), columns[order].tolist(), strict=True))
