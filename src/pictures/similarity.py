"""How alike the images of a sample grid are: computed once, when a training ends."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from src.pictures.grids import grid_tiles

SAMPLES, REAL = "samples", "real"
_known: dict[bytes, float | None] = {}  # by digest of the file: runs on one data set have one grid of real images


def similarities_in(samples: Path) -> dict[str, float | None]:
    """Of the last grid in a run's folder of samples and of its grid of real images, where there are any."""
    drawn = sorted(samples.glob("[0-9]*.png"))
    grids = {SAMPLES: drawn[-1] if drawn else None, REAL: samples / "real.png"}
    return {name: grid_similarity(grid) for name, grid in grids.items() if grid and grid.is_file()}


def grid_similarity(grid: Path | None) -> float | None:
    """Mean pairwise SSIM between the images of a sample grid; None where it cannot be computed."""
    if grid is None:
        return None
    try:
        content = grid.read_bytes()
    except OSError:
        return None
    digest = hashlib.blake2b(content, digest_size=16).digest()
    if digest not in _known:
        _known[digest] = _compute(content)
    return _known[digest]


def _compute(content: bytes) -> float | None:
    import torch  # now: a page of runs whose summaries hold the number needs none of it

    from src.metrics.diversity import WINDOW, mean_pairwise_ssim

    try:
        tiles = grid_tiles(io.BytesIO(content))
    except (OSError, ValueError):
        return None
    if len(tiles) < 2 or min(tiles.shape[1:3]) < WINDOW:
        return None
    return mean_pairwise_ssim(torch.from_numpy(tiles.copy()).permute(0, 3, 1, 2).float() / 255)
