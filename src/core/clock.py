"""Time is real images shown, and every random draw is a function of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """Independent sources of randomness; a number never changes its meaning, or runs would not repeat."""

    DATA_ORDER = 0
    LATENT = 1
    NETWORK = 2  # dropout and other noise inside the networks
    SAMPLES = 3  # the latents shown in every sample grid
    INITIALISATION = 4
    PENALTY = 5  # where between a real and a fake image the critic's gradient is taken
    GENERATION = 6  # the latents of exported images, one position an image
    SCORES = 7  # the latents of scored images, and which real ones they are set against


def derive_seed(seed: int, stream: Stream, *position: int) -> int:
    """A 63-bit seed that depends on all arguments and on nothing else."""
    state = np.random.SeedSequence([seed, int(stream), *position]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def random_generator(seed: int, stream: Stream, *position: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, stream, *position))


@dataclass
class Clock:
    """Counts real images shown to the discriminator, over all ranks."""

    images: int = 0
    previous: int = 0  # images shown before the latest step

    def advance(self, batch_size: int) -> None:
        self.previous, self.images = self.images, self.images + batch_size

    def crossed(self, every: int | None) -> bool:
        """Whether the latest step reached a multiple of ``every`` images; never where ``every`` is None."""
        return every is not None and self.images // every > self.previous // every
