"""Draws chest-like phantoms with lungs, ribs, heart, vessels and lesions.

Image ``index`` of ``seed`` is a pure function of the two. Random numbers are hashes of (seed, index, draw), and pixels
come from elementwise ``+ - * /``, ``sqrt`` and comparisons only. IEEE 754 fixes their results to the bit, so an image
depends neither on the batch it is drawn in nor on the machine.

Geometry is in units of half an image: x to the right and y downwards, both from -1 to 1. As on a radiograph, the
patient's left, and so most of the heart, is on the image's right.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

VERSION = 1  # part of the cache key: raise it when a pixel changes

MASKS = ("lung", "lesion")


class Random:
    """Uniform numbers for a batch of images; those of an image depend on its key and on how many were drawn before."""

    def __init__(self, keys: np.ndarray) -> None:
        self.keys = keys  # (B,) uint64
        self.tables = 0
        self.numbers = iter(self.table(160).T[:, :, None, None])  # hashed at once: most draws are one number an image

    @classmethod
    def of(cls, seed: int, index: np.ndarray) -> Random:
        return cls(_mix(_mix(np.array([seed % 2**64], np.uint64)) + index.astype(np.uint64)))

    def rows(self, rows: np.ndarray, stream: int) -> Random:
        """Fresh numbers for some of the images."""
        return Random(_mix(self.keys[rows] ^ np.uint64(stream)))

    def table(self, count: int) -> np.ndarray:
        """(B, count) float32 from 0 to 1, 1 excluded."""
        self.tables += 1
        counter = np.arange(count, dtype=np.uint64) + np.uint64(self.tables << 32)
        bits = _mix(self.keys[:, None] + counter * np.uint64(0x9E3779B97F4A7C15))
        return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)

    def uniform(self, low: float, high: float) -> np.ndarray:
        """(B, 1, 1), which broadcasts over an image."""
        return np.float32(low) + np.float32(high - low) * next(self.numbers)

    def side(self) -> np.ndarray:
        """-1 or 1, (B, 1, 1)."""
        return np.where(self.uniform(-1, 1) < 0, np.float32(-1), np.float32(1))

    def clouds(self, cells: int, resolution: int) -> np.ndarray:
        """Smooth noise of about unit variance, (B, R, R): a cubic B-spline over ``cells`` x ``cells`` random knots."""
        knots = (self.table((cells + 3) ** 2) * np.float32(7.2) - np.float32(3.6)).reshape(-1, cells + 3, cells + 3)
        first, weights = _spline(cells, resolution)
        across = np.zeros((len(knots), cells + 3, resolution), np.float32)
        noise = np.zeros((len(knots), resolution, resolution), np.float32)
        for tap, weight in enumerate(weights):  # not a matrix product: its rounding depends on the batch
            across += knots[:, :, first + tap] * weight
        for tap, weight in enumerate(weights):
            noise += across[:, first + tap, :] * weight[:, None]
        return noise

    def grain(self, resolution: int) -> np.ndarray:
        """White noise from -1 to 1, triangularly distributed, (B, R, R)."""
        pixel = np.arange(resolution**2, dtype=np.uint32).reshape(resolution, resolution) * np.uint32(0x9E3779B1)
        noise = pixel ^ _mix(~self.keys).astype(np.uint32)[:, None, None]
        for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):  # a 32-bit hash: a 64-bit one takes thrice as long
            noise = (noise ^ (noise >> np.uint32(shift))) * np.uint32(factor)
        noise = (noise & np.uint32(0xFFFF)) + (noise >> np.uint32(16))
        return noise.astype(np.float32) * np.float32(2**-16) - np.float32(1)


def _mix(z: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer: neighbouring integers to unrelated ones."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@lru_cache(maxsize=64)
def _spline(cells: int, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """First knot (R,) and the weights of four (4, R) at each pixel centre."""
    position = (np.arange(resolution, dtype=np.float32) + np.float32(0.5)) * np.float32(cells / resolution)
    first = position.astype(np.int64)
    t = position - first.astype(np.float32)
    s = 1 - t
    inner = [4 - 6 * a * a + 3 * a * a * a for a in (t, s)]
    return first, np.stack([s * s * s, *inner, t * t * t]) / np.float32(6)


def _soft(distance: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(distance, 0, 1)
    return t * t * (3 - 2 * t)


def _wave(phase: np.ndarray) -> np.ndarray:
    """Triangle wave of period 1: 0 at whole numbers, 1 half-way."""
    return 1 - 2 * np.abs(phase - np.floor(phase) - np.float32(0.5))


def draw(index: np.ndarray, *, seed: int, resolution: int, channels: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """The phantoms at ``index`` (N,), any non-negative integers in any order.

    Returns ``image`` (N, C, R, R) uint8, ``label`` (N,) int64 into ``classes``, and the masks ``lung`` and ``lesion``,
    (N, R, R) bool each; a lesion lies within the lungs.
    """
    rng = Random.of(seed, index)
    # Every len(classes) images hold each class once, so that a small split is balanced too.
    block = Random.of(~seed, index // len(classes)).keys % np.uint64(len(classes))
    label = (index + block.astype(np.int64)) % len(classes)

    # Where a pixel lies in the body: the patient stands off-centre and tilted, and no two are shaped alike.
    axis = ((np.arange(resolution, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / resolution) - 1)[None]
    tilt = rng.uniform(-0.1, 0.1)
    scale = rng.uniform(1.03, 1.34) * np.sqrt(1 + tilt * tilt)
    x, y = axis[:, None, :] - rng.uniform(-0.09, 0.09), axis[:, :, None] - rng.uniform(-0.09, 0.09)
    u = (x - tilt * y) / (scale * rng.uniform(0.93, 1.07)) + rng.clouds(3, resolution) * rng.uniform(0.01, 0.04)
    v = (y + tilt * x) / scale + rng.clouds(3, resolution) * rng.uniform(0.01, 0.035)
    out = np.abs(u)  # distance from the midline
    coarse, fine = rng.clouds(6, resolution), rng.clouds(18, resolution)

    heart_x, heart_y = rng.uniform(0.06, 0.14), rng.uniform(0.24, 0.36)
    heart_u, heart_v = u - heart_x - rng.uniform(0.1, 0.4) * (v - heart_y), v - heart_y
    heart_u, heart_v = heart_u / rng.uniform(0.22, 0.36), heart_v / rng.uniform(0.3, 0.42)
    heart = 1 - heart_u * heart_u - heart_v * heart_v

    sides = [_lung(rng, side, u, v) for side in (-1, 1)]
    inside = np.minimum(np.maximum(sides[0][0], sides[1][0]), rng.uniform(0.0, 0.15) - heart)
    lung = inside > 0
    air = _soft(inside * rng.uniform(2.5, 6) + np.float32(0.5))

    # Brightness is what the beam meets on its way: tissue less air, then bones, vessels and folds on top.
    shoulder = v - rng.uniform(-0.95, -0.75) - rng.uniform(0.1, 0.35) * (out - np.float32(0.4))
    trunk = np.minimum(rng.uniform(0.84, 1.1) + rng.uniform(-0.12, 0.1) * v - out, shoulder)
    body = _soft(np.maximum(trunk, rng.uniform(0.2, 0.3) - out) * rng.uniform(6, 14))
    image = rng.uniform(0.48, 0.66) - rng.uniform(0.05, 0.25) * out * out + rng.uniform(0.0, 0.12) * v
    image -= air * rng.uniform(0.32, 0.5)
    image += _soft(heart * rng.uniform(1, 3) + np.float32(0.3)) * rng.uniform(0.04, 0.13)
    image += _soft((rng.uniform(0.14, 0.24) - out) * 8) * rng.uniform(0.03, 0.12)  # mediastinum
    vertebrae = rng.uniform(0.6, 0.9) + np.float32(0.3) * _wave(v * rng.uniform(4.5, 6) + rng.uniform(0, 1))
    image += _soft((rng.uniform(0.07, 0.11) - out) * 14) * rng.uniform(0.02, 0.14) * vertebrae
    trachea = np.minimum(np.abs(u - rng.uniform(-0.02, 0.03)) * -20 + 1, (rng.uniform(-0.4, -0.2) - v) * 5)
    image -= _soft(trachea) * rng.uniform(0.03, 0.12)

    cage = _soft((rng.uniform(0.74, 0.86) - out) * 7) * _soft((rng.uniform(0.55, 0.8) - v) * 4)
    spacing, bend = rng.uniform(4.2, 5.8), rng.uniform(0.3, 0.75)
    back = _wave((v - bend * out * (np.float32(0.25) + out)) * spacing + rng.uniform(0, 1))
    front = _wave((v + rng.uniform(0.3, 0.8) * out) * spacing + rng.uniform(0, 1))
    ribs = _soft((back - rng.uniform(0.45, 0.65)) * 4) * rng.uniform(0.03, 0.15)
    ribs += _soft((front - rng.uniform(0.55, 0.7)) * 4) * rng.uniform(0.0, 0.08)
    image += ribs * cage
    collar = v - rng.uniform(-0.72, -0.52) - rng.uniform(-0.12, 0.12) * u
    collar += rng.uniform(0, 0.4) * (out - np.float32(0.3))
    collar = np.minimum(1 - np.abs(collar) * rng.uniform(18, 28), np.minimum(out - np.float32(0.06), 0.8 - out) * 12)
    image += _soft(collar * np.float32(1.5)) * rng.uniform(0.06, 0.18)

    # What is bright and no lesion: vessels branching from the hila, their cross-sections, breast or muscle folds.
    hila = out - rng.uniform(0.18, 0.26), v - rng.uniform(-0.08, 0.08)
    near = 1 / (1 + (hila[0] * hila[0] + hila[1] * hila[1]) * rng.uniform(6, 20))
    image += near * near * (rng.uniform(0.02, 0.14) + np.float32(0.04) * coarse)
    image += _soft(1 - np.abs(fine) * rng.uniform(1.5, 3)) * near * rng.uniform(0.06, 0.2)
    for _ in range(3):
        a, b = u - rng.uniform(-0.65, 0.65), v - rng.uniform(-0.5, 0.4)
        image += _soft(1 - (a * a + b * b) / _square(rng.uniform(0.02, 0.06))) * rng.uniform(0.0, 0.18)
    a, b = out - rng.uniform(0.35, 0.5), v - rng.uniform(0.2, 0.5)
    image += _soft((1 - (a * a + b * b) / _square(rng.uniform(0.25, 0.4))) * 2) * rng.uniform(-0.05, 0.1)
    image += rng.uniform(0.01, 0.04) * coarse

    lesion = np.zeros_like(lung)
    for number, (name, add) in enumerate(LESIONS.items()):
        rows = np.flatnonzero(label == classes.index(name)) if name in classes else np.arange(0)
        if len(rows):
            some = rng.rows(rows, number + 1)
            right = some.side() > 0
            _, p, q = (np.where(right, two[rows], one[rows]) for one, two in zip(*sides, strict=True))
            depth, gain = add(some, p, q, coarse[rows], fine[rows])
            image[rows] += _soft(depth) * gain * air[rows]
            lesion[rows] = (depth > 0.35) & lung[rows]

    image = image * body + rng.uniform(0.0, 0.08) + rng.uniform(-0.06, 0.06) * u
    image += rng.grain(resolution) * rng.uniform(0.02, 0.1) + rng.uniform(0.0, 0.02) * rng.clouds(28, resolution)
    image = np.clip((image - rng.uniform(0.0, 0.08)) * rng.uniform(0.95, 1.2), 0, 1)  # exposure
    image = image / (image + rng.uniform(0.75, 2.2) * (1 - image))  # the detector's response
    image = image[:, None] * np.float32(255.99)
    if channels == 3:
        image = image * (1 - np.float32(0.1) * rng.table(3)[:, :, None, None])
    return {"image": image.astype(np.uint8), "label": label, "lung": lung, "lesion": lesion}


def _square(a: np.ndarray) -> np.ndarray:
    return a * a


def _lung(rng: Random, side: int, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One lung: positive inside and 1 at its heart, and coordinates p outwards and q downwards, -1 to 1 across it."""
    q = (v - rng.uniform(-0.1, 0.02)) / rng.uniform(0.56, 0.72)
    p = side * u - rng.uniform(0.38, 0.46) - rng.uniform(0.0, 0.08) * q
    p = p / (rng.uniform(0.23, 0.31) * (1 + rng.uniform(0.05, 0.25) * q))
    pp, qq, squareness = p * p, q * q, rng.uniform(0.2, 0.8)
    outline = 1 - pp - (qq + squareness * (qq * qq - qq))  # a superellipse, between the orders 2 and 4
    diaphragm = rng.uniform(0.4, 0.75) + rng.uniform(0.1, 0.4) * _square(p + np.float32(0.3)) - q
    return np.minimum(outline, diaphragm * 2), p, q


# A lesion is drawn as its depth, 1 and more where it is full, and the brightness it then adds to aerated lung.
Lesion = Callable[[Random, np.ndarray, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _spot(rng: Random, p: np.ndarray, q: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """1 at a random place of the lung, off heart and diaphragm, and 0 at about ``radius`` (half an image) from it."""
    down = rng.uniform(-0.65, 0.35)
    across = rng.uniform(0, 1)
    inner = np.clip(down * np.float32(1.2) - np.float32(0.1), -0.3, 0.3)
    a, b = (p - inner - across * (np.float32(0.55) - inner)) * np.float32(0.27), (q - down) * np.float32(0.64)
    smallest = 3 / p.shape[-1]  # 1.5 pixels: none falls between them
    return 1 - (a * a + b * b) / _square(np.maximum(radius, np.float32(smallest)))


def _nodule(rng: Random, p: np.ndarray, q: np.ndarray, coarse: np.ndarray, fine: np.ndarray) -> Any:
    """A small faint disc, or two."""
    one = _spot(rng, p, q, rng.uniform(0.06, 0.13))
    two = _spot(rng, p, q, rng.uniform(0.06, 0.11)) - 2 * _soft(rng.uniform(-1, 3) * 9)
    return np.maximum(one, two) * rng.uniform(1.2, 2) + np.float32(0.1) * fine, rng.uniform(0.08, 0.25)


def _consolidation(rng: Random, p: np.ndarray, q: np.ndarray, coarse: np.ndarray, fine: np.ndarray) -> Any:
    """A patch of flooded lung, frayed and uneven."""
    patch = _spot(rng, p, q, rng.uniform(0.18, 0.4))
    coarse, fine = np.clip(coarse, -1.2, 1.2), np.clip(fine, -2, 2)  # so that a patch never frays away
    depth = patch * rng.uniform(1, 1.4) + rng.uniform(0.1, 0.35) * coarse + rng.uniform(0.0, 0.1) * fine
    return depth, rng.uniform(0.12, 0.38) * (1 + np.float32(0.25) * fine)


def _effusion(rng: Random, p: np.ndarray, q: np.ndarray, coarse: np.ndarray, fine: np.ndarray) -> Any:
    """Fluid at the base: its surface, the meniscus, climbs the chest wall."""
    surface = rng.uniform(-0.1, 0.5) - rng.uniform(0.15, 0.5) * _square(np.clip(p + np.float32(0.4), 0, 2))
    depth = (q - surface) * rng.uniform(3, 9) + np.float32(0.08) * coarse
    return np.minimum(depth, p * 4 + 6), rng.uniform(0.15, 0.4)  # not in the other lung, p < -1.5


LESIONS: dict[str, Lesion] = {"nodule": _nodule, "consolidation": _consolidation, "effusion": _effusion}
CLASSES = ("normal", *LESIONS)
