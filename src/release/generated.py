"""Images that a generator makes, to be looked at in memory."""

from __future__ import annotations

import numpy as np
import torch

from src.core.clock import Stream, random_generator
from src.core.pixels import to_bytes
from src.data.store import UNKNOWN, Split, Store
from src.training.restore import TrainedRun

BATCH = 16  # as an export makes them, whose images these are


def generated_split(run: TrainedRun, count: int, seed: int) -> Split:
    """``count`` images, without masks, as 8 bits; those that ``src.generate`` makes of the seed before its checks."""
    channels, latent = run.settings["data"]["channels"], run.module.latent
    made = []
    for start in range(0, count, BATCH):
        draws = [latent.sample(1, random_generator(seed, Stream.GENERATION, start + i)) for i in range(BATCH)]
        made.append(to_bytes(run.module.sample(torch.cat(draws)).cpu()[:, :channels]))
    images = torch.cat(made)[:count].numpy()
    return Split(Store(np.ascontiguousarray(images), np.full(count, UNKNOWN), None, {}), np.arange(count))
