"""Which originals an image could be a copy of: a quick search, also over turned, zoomed, moved and mirrored ones."""

from __future__ import annotations

import math
from copy import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from src.release.alignment import Prepared

SIDE, WINDOW, STEP = 20, 16, 1  # pixels a side of a thumbnail, of the window that is compared, and between windows
ANGLES = (-10.0, 0.0, 10.0)  # degrees that the originals are turned by
ZOOMS = (0.85, 1.0, 1.2)  # and enlarged
DIMENSIONS = 64
CONTRAST = 5  # pixels a side of the neighbourhood of local contrast
SHRINKAGE = 0.01  # of the whitening, as a share of the largest variance


class Candidates(NamedTuple):
    originals: Tensor  # (N, K) likeliest first
    poses: Tensor  # (N, K, 2, 3) from the image's coordinates to the original's
    signs: Tensor  # (N, K) -1 where it is a negative of it
    similarity: Tensor  # (N, K)


class Search:
    """The whitened local contrast of thumbnails of all originals, at several angles and zooms."""

    side = SIDE

    def __init__(self, originals: Prepared, aspect: float) -> None:
        """``originals``: at twice ``side``; ``aspect``: height by width of the images."""
        self.count = len(originals.values)
        self.poses = _poses(aspect)
        edge = (SIDE - WINDOW) // 2
        turned = (_turn(originals, pose).local_contrast(CONTRAST) for pose in self.poses)
        windows = torch.stack([_windows(contrast, [(edge, edge)])[0] for contrast in turned])
        flat = windows.flatten(0, 1)
        moments = flat.T.double() @ flat.double() / len(flat)
        variances, directions = torch.linalg.eigh(moments)
        variances, directions = variances[-DIMENSIONS:], directions[:, -DIMENSIONS:]
        self.whitening = (directions / (variances + SHRINKAGE * variances[-1]).sqrt()).float()
        self.bank = F.normalize(flat @ self.whitening, dim=1)  # (poses * N, DIMENSIONS)

    def __call__(self, images: Prepared, count: int) -> Candidates:
        """The ``count`` likeliest originals, at most all, of each of N ``images``, prepared at ``side``."""
        count = min(count, self.count)
        views = self._views(images)
        best = torch.zeros(len(images.values), len(self.bank))
        for view in views:
            torch.maximum(best, (view @ self.bank.T).abs_(), out=best)
        by_original, pose = best.view(len(best), -1, self.count).max(1)
        similarity, originals = by_original.topk(count, 1)
        pose = pose.gather(1, originals)
        alike = torch.einsum("vnd,nkd->nkv", views, self.bank[pose * self.count + originals])
        view = alike.abs().argmax(2)
        signs = alike.gather(2, view[:, :, None])[..., 0].sign()
        return Candidates(originals, self.poses[pose] @ _view_poses()[view], signs, similarity)

    def take(self, rows: Tensor) -> Search:
        """Among the originals of ``rows`` alone."""
        some = copy(self)
        some.bank = self.bank.view(len(self.poses), self.count, -1)[:, rows].flatten(0, 1)
        some.count = len(rows)
        return some

    def _views(self, images: Prepared) -> Tensor:
        """(views, N, DIMENSIONS) of length 1: upright, then mirrored, each at every place of the window."""
        contrast = images.local_contrast(CONTRAST)
        windows = torch.cat([_windows(shown, _places()) for shown in (contrast, contrast.flip(2))])
        return F.normalize(windows @ self.whitening, dim=2)


def _poses(aspect: float) -> Tensor:
    """(poses, 2, 3): a turned and enlarged image's coordinates to the original's. ``aspect``: height by width."""
    made = []
    for angle in ANGLES:
        for zoom in ZOOMS:
            cos, sin = math.cos(math.radians(angle)) / zoom, math.sin(math.radians(angle)) / zoom
            made.append([[cos, -sin * aspect, 0.0], [sin / aspect, cos, 0.0]])
    return torch.tensor(made)


def _turn(originals: Prepared, pose: Tensor) -> Prepared:
    """At ``SIDE``, from twice of it; nothing is seen of what lies outside of the originals."""
    planes = originals.planes()
    grid = F.affine_grid(pose.expand(len(planes), 2, 3), list(planes.shape), align_corners=False)
    return Prepared.from_planes(F.avg_pool2d(F.grid_sample(planes, grid, align_corners=False), 2))


def _places() -> list[tuple[int, int]]:
    places = range(0, SIDE - WINDOW + 1, STEP)
    return [(top, left) for top in places for left in places]


def _view_poses() -> Tensor:
    """(views, 3, 3): an image's coordinates to those of what the window at a view's place shows at its centre."""
    edge = (SIDE - WINDOW) // 2
    made = []
    for mirror in (1.0, -1.0):
        for top, left in _places():
            made.append([[mirror, 0, -2 * (left - edge) / SIDE], [0, 1.0, -2 * (top - edge) / SIDE], [0, 0, 1.0]])
    return torch.tensor(made)


def _windows(contrast: Tensor, places: list[tuple[int, int]]) -> Tensor:
    """(places, N, WINDOW²) of length 1."""
    return torch.stack(
        [F.normalize(contrast[:, top : top + WINDOW, left : left + WINDOW].flatten(1), dim=1) for top, left in places]
    )
