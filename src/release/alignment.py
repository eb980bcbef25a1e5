"""Aligns many pairs of images at once: from a rough pose to a smooth map, by Gauss-Newton steps on local contrast.

Coordinates are those of ``grid_sample``: -1 and 1 are the borders of an image, x before y.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

FLAT = 0.002  # range, as a share of the image's, below which pixels tell nothing: half a grey level
OUTLIER = 1.0  # a residual of local contrast counts as this at most: of what is hidden or added
STILL = 0.1  # share of the mean variance: a window with less counts little
COVERED = 0.25  # share of the frame that two images must have in common to be compared
LONGEST_STEP = 0.15  # of a coefficient
RIDGE = 0.03  # of the smooth map, as a share of the mean curvature: without it, it bends where images are flat


@dataclass(frozen=True)
class Prepared:
    """Grey images at one size, and what of them counts: what is missing has no edge."""

    values: Tensor  # (N, S, S) from 0, the darkest pixel, to 1, the brightest
    seen: Tensor  # (N, S, S) share of a pixel that counts, 0 to 1

    @classmethod
    def at_sides(cls, images: Tensor, sides: Iterable[int], without: Tensor | None = None) -> dict[int, Prepared]:
        """Of ``images`` (N, C, H, W) of any pixel range, at several sizes; what is 1 in ``without`` (N, 1, H, W) is
        missing."""
        grey = images.float().mean(1, keepdim=True)
        darkest = grey.amin((2, 3), keepdim=True)
        grey = (grey - darkest) / (grey.amax((2, 3), keepdim=True) - darkest).clamp_min(1e-12)
        seen = torch.ones_like(grey) if without is None else 1 - without
        made = {}
        for side in sides:
            share = _resize(seen, side)
            made[side] = cls((_resize(grey * seen, side) / share.clamp_min(1e-3))[:, 0], share[:, 0])
        return made

    @classmethod
    def from_planes(cls, planes: Tensor) -> Prepared:
        """Of what ``planes`` gives, also resampled."""
        values, seen = planes.unbind(1)
        return cls(values / seen.clamp_min(1e-3), seen)

    def planes(self) -> Tensor:
        """(N, 2, S, S): pixels as far as they are seen, and how far; what may be resampled."""
        return torch.stack([self.values * self.seen, self.seen], 1)

    def local_contrast(self, window: int, sigma: float = 0.0) -> Tensor:
        """Pixels less the mean of their ``window`` x ``window`` neighbourhood, in its standard deviations, blurred.

        The same at another brightness, contrast or (nearly) gamma; 0 where nothing is seen. Clipped at ±3.
        """
        share = box(self.seen, window).clamp_min(1e-3)
        centred = (self.values - box(self.values * self.seen, window) / share) * self.seen
        spread = (box(centred.square(), window) / share).sqrt()
        typical = (centred.square().sum((1, 2)) / self.seen.sum((1, 2)).clamp_min(1)).sqrt()
        contrast = (centred / (spread + 0.2 * typical[:, None, None] + 1e-6)).clamp(-3, 3)
        return blur(contrast, sigma) if sigma else contrast


def flat_parts(images: Tensor) -> Tensor:
    """Where images (N, C, H, W) tell nothing, 1, else 0, (N, 1, H, W): a black border, or a patch that hides something.

    At least 5 x 5 pixels lie within half a grey level there.
    """
    grey = images.float().mean(1, keepdim=True)
    span = grey.amax((2, 3), keepdim=True) - grey.amin((2, 3), keepdim=True)
    return _largest((_largest(grey) + _largest(-grey) <= FLAT * span).float())


def box(planes: Tensor, window: int) -> Tensor:
    """Means over ``window`` x ``window`` neighbours, (N, S, S)."""
    return _filter(planes, _box_matrix(planes.shape[1], window))


def blur(planes: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, S, S); ``sigma`` in pixels."""
    return _filter(planes, _gauss_matrix(planes.shape[1], sigma))


def _filter(planes: Tensor, matrix: Tensor) -> Tensor:
    """Along both axes. Of planes so small a product with a whole matrix is several times as fast as pooling."""
    return matrix @ (planes @ matrix.T)


@cache
def _box_matrix(side: int, window: int) -> Tensor:
    """What lies outside does not count."""
    places = torch.arange(side)
    near = ((places[:, None] - places).abs() <= window // 2).float()
    return near / near.sum(1, keepdim=True)


@cache
def _gauss_matrix(side: int, sigma: float) -> Tensor:
    """What lies outside is as the border is."""
    matrix, places = torch.zeros(side, side), torch.arange(side)
    reach = round(3 * sigma) + 1
    for offset in range(-reach, reach + 1):
        matrix[places, (places + offset).clamp(0, side - 1)] += math.exp(-0.5 * (offset / sigma) ** 2)
    return matrix / matrix.sum(1, keepdim=True)


def _largest(planes: Tensor) -> Tensor:
    """Over 5 x 5 neighbours, (N, 1, H, W)."""
    return F.max_pool2d(F.max_pool2d(planes, (1, 5), 1, (0, 2)), (5, 1), 1, (2, 0))


@cache
def _pixels(side: int) -> Tensor:
    line = (torch.arange(side) + 0.5) * 2 / side - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def frame(side: int, coefficients: Tensor | None = None) -> Tensor:
    """Coordinates of the pixels, (side², 2), or where a smooth map with ``coefficients`` (…, 2, M) takes them."""
    if coefficients is None:
        return _pixels(side)
    order = math.isqrt(coefficients.shape[-1] - 2) - 1  # 3 + (order + 1)² − 1 modes
    return _pixels(side) + (coefficients @ modes(side, order).T).transpose(-2, -1)


def place(points: Tensor, poses: Tensor) -> Tensor:
    """``points`` (…, P, 2) after ``poses`` (Q, K, 2, 3), (Q, K, P, 2)."""
    return points @ poses[..., :2].transpose(-2, -1) + poses[..., None, :, 2]


def compose(poses: Tensor, coefficients: Tensor) -> Tensor:
    """``poses`` (Q, K, 2, 3) after the affine maps of ``coefficients`` (Q, K, 2, 3), of 1, x and y."""
    linear = poses[..., :2] @ (torch.eye(2) + coefficients[..., 1:])
    return torch.cat([linear, poses[..., :2] @ coefficients[..., :1] + poses[..., 2:]], -1)


@cache
def modes(side: int, order: int) -> Tensor:
    """What a map is made of, (side², M): 1, x, y, and products of cosines of up to ``order`` half waves a side."""
    x, y = _pixels(side).T
    affine = [torch.ones_like(x), x, y]
    waves = [
        torch.cos(math.pi * i * (x + 1) / 2) * torch.cos(math.pi * j * (y + 1) / 2)
        for i in range(order + 1)
        for j in range(order + 1)
        if i + j > 0
    ]
    return torch.stack(affine + waves, 1) if order else torch.stack(affine, 1)


class Aligner:
    """Fits maps x + Σ modes(x)·coefficients to Q fixed images, K candidates each.

    The step of Gauss and Newton takes the fixed image's gradient for that of the moved one, as is right where they are
    alike (Baker & Matthews, "Lucas-Kanade 20 years on", IJCV 2004): so a step costs one warp and one product.
    """

    def __init__(self, fixed: Tensor, seen: Tensor, order: int) -> None:
        """``fixed`` and ``seen`` (Q, S, S); ``order`` of ``modes``, 0: affine."""
        side = fixed.shape[1]
        self.side, self.modes = side, modes(side, order)
        self.fixed, self.seen = fixed.flatten(1), seen.flatten(1)
        padded = F.pad(fixed[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
        along_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]).flatten(1) * side / 4  # per unit of the coordinates
        along_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]).flatten(1) * side / 4
        slope = torch.cat([(part * self.seen)[:, :, None] * self.modes for part in (along_x, along_y)], 2)
        curvature = slope.transpose(1, 2) @ slope
        level = curvature.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-6
        count = self.modes.shape[1]
        ridge = torch.full((count,), RIDGE)
        ridge[:3] = RIDGE / 10
        curvature = curvature + level * torch.diag(ridge.repeat(2))
        self.slope, self.curvature = slope, torch.linalg.cholesky(curvature)  # (Q, S², 2M), (Q, 2M, 2M)

    def start(self, candidates: int) -> Tensor:
        return torch.zeros(len(self.fixed), candidates, 2, self.modes.shape[1])

    def grid(self, coefficients: Tensor) -> Tensor:
        """Where the pixels of the fixed images lie in the moving ones, (Q, K, S², 2)."""
        return frame(self.side) + (coefficients @ self.modes.T).transpose(2, 3)

    def fit(self, moving: Tensor, coefficients: Tensor, steps: int) -> Tensor:
        """The coefficients (Q, K, 2, M) after ``steps`` more; ``moving`` (Q, K, 2, S, S): local contrast, and what is
        seen of it."""
        for _ in range(steps):
            value, seen = sample(moving, self.grid(coefficients))
            residual = (self.fixed[:, None] - value).clamp(-OUTLIER, OUTLIER) * seen
            step = torch.cholesky_solve(self.slope.transpose(1, 2) @ residual.transpose(1, 2), self.curvature)
            coefficients = coefficients + step.mT.unflatten(2, (2, -1)).clamp(-LONGEST_STEP, LONGEST_STEP)
        return coefficients


def sample(moving: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Both planes of ``moving`` (Q, K, 2, S, S) at ``grid`` (Q, K, P, 2), each (Q, K, P); nothing is seen outside."""
    count, candidates, _, side = moving.shape[:4]
    planes = F.grid_sample(
        moving.reshape(-1, 2, side, side), grid.reshape(count * candidates, 1, -1, 2), align_corners=False
    )
    planes = planes.view(count, candidates, 2, -1)
    return planes[:, :, 0], planes[:, :, 1]


def correlation(fixed: Tensor, seen: Tensor, moved: Tensor, moved_seen: Tensor) -> Tensor:
    """Of local contrasts where both are seen, (Q, K); -1 where that is too little.

    ``fixed`` and ``seen`` (Q, P), ``moved`` and ``moved_seen`` (Q, K, P).
    """
    both = seen[:, None] * moved_seen
    product = (both * fixed[:, None] * moved).sum(2)
    norms = (both * fixed[:, None].square()).sum(2) * (both * moved.square()).sum(2)
    return torch.where(both.mean(2) >= COVERED * seen.mean(1)[:, None], product / (norms.sqrt() + 1e-6), -1.0)


def likeness(fixed: Tensor, seen: Tensor, moved: Tensor, moved_seen: Tensor, window: int) -> Tensor:
    """Mean local correlation of aligned images (N, S, S) where both are seen, (N,) from -1 to 1.

    Correlation is that of the ``window`` x ``window`` pixels around each, so brightness and contrast may differ from
    place to place. -1 where too little is seen of both.
    """
    both = ((seen > 0.5) & (moved_seen > 0.5)).float()
    share = box(both, window).clamp_min(1e-3)
    total = both.sum((1, 2)).clamp_min(1)
    first, second = (
        plane - ((plane * both).sum((1, 2)) / total)[:, None, None] for plane in (fixed, moved)
    )  # so that squares keep their digits
    products = [first, second, first * first, second * second, first * second]
    a, b, aa, bb, ab = (box(product * both, window) / share for product in products)
    variances = [(square - mean * mean).clamp_min(0) for square, mean in ((aa, a), (bb, b))]
    floors = [STILL * ((part * both).sum((1, 2)) / total)[:, None, None] + 1e-12 for part in variances]
    scale = ((variances[0] + floors[0]) * (variances[1] + floors[1])).sqrt()
    covariance = ((ab - a * b) / scale * both).sum((1, 2))
    weight = ((variances[0] * variances[1]).sqrt() / scale * both).sum((1, 2))  # small where a window is flat
    enough = both.mean((1, 2)) >= COVERED * (seen > 0.5).float().mean((1, 2))
    return torch.where(enough & (weight > 0), covariance / weight.clamp_min(1e-6), -1.0)


def own_likeness(fixed: Tensor, seen: Tensor, moved: Tensor, moved_seen: Tensor) -> Tensor:
    """Correlation of local contrasts less what the other candidates have in common, (Q, K).

    ``fixed`` and ``moved`` (Q, K, S, S), aligned; ``seen`` (Q, S, S). 0 where nothing is left.
    """
    both = ((seen[:, None] > 0.5) & (moved_seen > 0.5)).float()
    shared = (moved.sum(1, keepdim=True) - moved) / max(1, moved.shape[1] - 1)
    first, second = (fixed - shared) * both, (moved - shared) * both
    norms = (first.square().sum((2, 3)) * second.square().sum((2, 3))).sqrt()
    return (first * second).sum((2, 3)) / norms.clamp_min(1e-6)


def _resize(planes: Tensor, side: int) -> Tensor:
    return F.interpolate(planes, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
