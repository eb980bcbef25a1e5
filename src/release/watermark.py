"""A mark in the pixels that survives where metadata are lost: a faint tile of spread-spectrum noise, repeated.

The tile is known to all, so that all can look for it, and who wants to can remove or forge it: it labels, it proves
nothing.
Additive spread spectrum (Cox et al., IEEE Transactions on Image Processing, 1997), periodic so that cropping shifts it
(Kutter, 1998), found by correlation that is whitened twice: over the image by its local contrast, over frequencies by
their power.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image
from scipy import ndimage

TILE = 64  # pixels a side
BAND = (0.06, 0.23)  # cycles per pixel: what half the size and JPEG leave
STRENGTH = 2.25  # standard deviation, in grey levels of 256: 41 dB of PSNR
SMALLEST = 128  # pixels on the shorter side; below, too few images keep it (docs/export.md)
SCALES = (1.0, 0.75, 2 / 3, 0.5)  # of the size in which an image was marked, at which it is looked for
FALSE_ALARMS = 1e-4  # per image, at most
FINE, COARSE, NEARBY = 0.9, 2.6, 4.0  # pixels: the blurs that bound the band, and that of local contrast
NOISE = 1.5  # grey levels that rounding, JPEG and the mark itself bring; below, contrast is not told from them


@dataclass(frozen=True)
class Found:
    """The best match.

    Args:
        score: standard deviations above chance, for the best of all places and scales.
        scale: at which it was found.
    """

    score: float
    scale: float

    @property
    def is_marked(self) -> bool:
        return self.score > threshold()


def threshold() -> float:
    """The score that an unmarked image exceeds in at most ``FALSE_ALARMS`` of all choices of the tile.

    The tile's phases are independent and uniform. So for any image whatever the score at one place and scale is a sum
    of independent a cos(phase), divided by the root of the sum of a²/2, which exceeds t with a probability of at most
    exp(−t²/2), as E exp(λ a cos) = I₀(λa) ≤ exp(λ²a²/4); Bonferroni's inequality is for all places and scales.
    """
    return math.sqrt(2 * math.log(TILE**2 * len(SCALES) / FALSE_ALARMS))


def mark(pixels: np.ndarray, top: float) -> np.ndarray:
    """(…, H, W) with values from 0 to ``top``, of any type → float64 with the mark, within that range, not rounded."""
    height, width = pixels.shape[-2:]
    tiles = np.tile(_tile(), (-(-height // TILE), -(-width // TILE)))[:height, :width]
    return np.asarray((pixels + STRENGTH / 255 * top * tiles).clip(0, top))


def look_for(pixels: np.ndarray) -> Found:
    """The mark in (H, W) or (H, W, 3), uint8 or uint16, whole or cut, at one of ``SCALES``."""
    grey = pixels.mean(axis=2) if pixels.ndim == 3 else pixels
    grey = (grey * (255 / np.iinfo(pixels.dtype).max)).astype(np.float32)
    return max((Found(_score(_enlarged(grey, 1 / scale)), scale) for scale in SCALES), key=lambda found: found.score)


def _enlarged(grey: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return grey
    size = round(grey.shape[1] * factor), round(grey.shape[0] * factor)
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC))


def _score(grey: np.ndarray) -> float:
    """The best match over all shifts of the tile, in standard deviations."""
    found = np.fft.rfft2(_fold(_whitened(grey)))
    ring = np.round(_radius() * TILE / 2).astype(int)
    inside = _inside()
    power = np.bincount(ring.ravel(), (np.abs(found) ** 2 * inside).ravel())
    power = (power / np.maximum(1, np.bincount(ring.ravel(), inside.ravel())))[ring]
    found = np.where(inside, found / np.sqrt(power + 1e-12), 0)
    found /= np.maximum(1, np.abs(found) / 2)  # a line or a grid in the image is one strong frequency
    energy = (np.abs(found) ** 2).sum() / 2
    if energy <= 0:
        return 0.0
    half = np.zeros((TILE, TILE), complex)
    half[:, : found.shape[1]] = found * np.conj(_phases())
    return float(np.fft.ifft2(half).real.max() * TILE**2 / math.sqrt(energy))


def _whitened(grey: np.ndarray) -> np.ndarray:
    """The band, every place weighted by the inverse of its local power, as a matched filter weighs noise."""
    band = ndimage.gaussian_filter(grey, FINE, mode="reflect") - ndimage.gaussian_filter(grey, COARSE, mode="reflect")
    weighted = band / (ndimage.gaussian_filter(band * band, NEARBY, mode="reflect") + NOISE**2)
    return np.asarray(np.clip(weighted / (np.sqrt(np.mean(weighted**2)) + 1e-9), -3, 3))


def _fold(image: np.ndarray) -> np.ndarray:
    """The sum of all tiles of (H, W)."""
    height, width = image.shape
    padded = np.zeros((-(-height // TILE) * TILE, -(-width // TILE) * TILE))
    padded[:height, :width] = image
    return padded.reshape(-1, TILE, padded.shape[1] // TILE, TILE).sum(axis=(0, 2))


@cache
def _radius() -> np.ndarray:
    """Cycles per pixel of the frequencies of ``rfft2``."""
    return np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])


@cache
def _inside() -> np.ndarray:
    """The frequencies of the band, one of each pair of conjugates."""
    inside = (_radius() >= BAND[0]) & (_radius() <= BAND[1])
    inside[:, 0] &= np.fft.fftfreq(TILE) > 0
    return inside


@cache
def _phases() -> np.ndarray:
    """The tile's spectrum: of modulus 1 inside, with phases that are the same on every machine."""
    count = _inside().size
    words = np.frombuffer(hashlib.shake_256(b"synthetic image").digest(4 * count), "<u4").reshape(_inside().shape)
    return np.where(_inside(), np.exp(2j * np.pi * words / 2**32), 0)


@cache
def _tile() -> np.ndarray:
    """(TILE, TILE), of mean 0 and standard deviation 1."""
    spectrum = _phases().copy()
    spectrum[1:, 0] += np.conj(spectrum[1:, 0][::-1])
    tile = np.fft.irfft2(spectrum, (TILE, TILE))
    return np.asarray(tile / tile.std())
