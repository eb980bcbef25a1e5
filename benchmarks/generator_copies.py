"""How many copies that generators make the release filter finds: python -m benchmarks.generator_copies RUN [RUN …].

Of each run of a GAN, overfitted on purpose as by ``training.real_fraction=0.02 images=60_000``, 300 images. What is a
copy is told by another measure than the filter's: the plain correlation with every original, the best of 450 small
turns, zooms, shifts and mirror images; images above 0.95 count, and the half that is nearest by it.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.planted import warp
from src.core.pixels import to_unit_range
from src.release.copies import Comparison
from src.release.generated import generated_split
from src.training.restore import learned_from, load_data, load_generator

COUNT, SHARE, SIDE = 300, 0.05, 32
ANGLES, ZOOMS, SHIFTS = (-8.0, -4.0, 0.0, 4.0, 8.0), (0.9, 0.95, 1.0, 1.06, 1.12), (-0.05, 0.0, 0.05)
COPY = 0.95  # correlation


def plain_correlation(images: Tensor, originals: Tensor) -> Tensor:
    """The best with any of ``originals``, both (N, C, H, W) in [-1, 1]: (N,)."""

    def unit(some: Tensor) -> Tensor:
        small = F.interpolate(some.mean(1, keepdim=True), size=(SIDE, SIDE), mode="area")[:, 0, 3:-3, 3:-3].flatten(1)
        return F.normalize(small - small.mean(1, keepdim=True), dim=1)

    shown, best = unit(images), torch.full((len(images),), -1.0)
    for angle, zoom, across, down, mirror in product(ANGLES, ZOOMS, SHIFTS, SHIFTS, (False, True)):
        count = len(originals)
        shift = torch.tensor([across, down]).expand(count, 2)
        moved = warp(originals, torch.full((count,), angle), torch.full((count,), zoom), shift)
        best = torch.maximum(best, (shown @ unit(moved.flip(3) if mirror else moved).T).max(1).values)
    return best


def main() -> None:
    torch.set_num_threads(1)
    print("| run | originals | filter finds | of those correlated by 0.95 | of the nearest half |")
    print("|---|---:|---:|---:|---:|")
    for path in sys.argv[1:]:
        run = load_generator(Path(path))
        data = load_data(run)
        data.prepare()
        channels = data.description.channels
        comparison = Comparison.of(learned_from(run), data, channels)
        made = generated_split(run, COUNT, 0)
        _, distances = comparison.originals.nearest_of(made, channels)
        found = distances < comparison.calibration.threshold(SHARE)
        images, originals = (
            to_unit_range(split.gather(np.arange(len(split)))["image"][:, :channels])
            for split in (made, comparison.learned)
        )
        near = plain_correlation(images, originals)
        copies, nearest = near >= COPY, near >= near.median()
        among = f"{found[copies].double().mean():.1%} of {int(copies.sum())}" if copies.any() else "none"
        print(
            f"| {run.folder.name} | {len(originals)} | {found.double().mean():.1%} | {among} "
            f"| {found[nearest].double().mean():.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
