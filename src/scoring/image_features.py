"""What a set of images leaves behind for the scores: seen once, batch by batch, and never held as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.core.clock import Stream, random_generator
from src.core.pixels import to_bytes, to_unit_range
from src.data.store import Split
from src.metrics.features import check_features
from src.scoring.feature_extractors import FeatureExtractor

PICTURES = 500  # images kept for SSIM diversity and for show


class ImageFeatures(NamedTuple):
    probabilities: Tensor | None  # (N, K) class probabilities; None where the space has no classes
    features: Tensor  # (N, D)
    pictures: Tensor  # the first images, (at most PICTURES, C, H, W) uint8
    groups: Tensor  # (N,) numbers from 0: the case (patient) of each image; each its own where none are known

    def take(self, count: int) -> ImageFeatures:
        """What the first ``count`` images would have left."""
        probabilities = None if self.probabilities is None else self.probabilities[:count]
        return ImageFeatures(
            probabilities, self.features[:count], self.pictures[:count], renumbered(self.groups[:count])
        )


def renumbered(groups: Tensor) -> Tensor:
    """(N,) numbers from 0, without gaps, alike where ``groups`` are."""
    return groups.unique(return_inverse=True)[1]


def numbered(cases: Sequence[str] | None, count: int) -> Tensor:
    """The numbers of the cases of ``count`` images; each its own where there are none."""
    return torch.arange(count) if cases is None else torch.from_numpy(np.unique(cases, return_inverse=True)[1])


@torch.no_grad()
def extract(
    extractor: FeatureExtractor, batches: Iterable[Tensor], name: str = "", cases: Sequence[str] | None = None
) -> ImageFeatures:
    """One pass of ``space`` over batches (B, C, H, W) in [-1, 1], one at least; the result is on the CPU.

    In float32, whatever the training's precision. Images should come in random order: some scores take the first.

    Args:
        name: whose images they are, for messages.
        cases: by position, the case of each image; None where each is its own.

    Raises:
        UserError: a feature is not finite.
    """
    device = next(iter(extractor.state_dict().values())).device
    probabilities, features, pictures, kept = [], [], [], 0
    with torch.autocast(device.type, enabled=False):
        for batch in batches:
            batch = batch.to(device)
            own_probabilities, own_features = extractor(batch)
            features.append(own_features.float().cpu())
            if own_probabilities is not None:
                probabilities.append(own_probabilities.cpu())
            if kept < PICTURES:
                pictures.append(to_bytes(batch[: PICTURES - kept]).cpu())
                kept += len(pictures[-1])
    found = torch.cat(features)
    check_features(found, name)
    return ImageFeatures(
        torch.cat(probabilities) if probabilities else None,
        found,
        torch.cat(pictures).contiguous(),
        numbered(cases, len(found)),
    )


def generated_batches(module: Any, count: int, seed: int, channels: int, batch_size: int) -> Iterator[Tensor]:
    """``count`` images of a GAN, their first ``channels`` channels (the others are masks), by latents of ``seed``.

    Rounded to 8 bits, as they are exported: a run and the folder of its images have the same scores.
    """
    for latents in module.latent.sample(count, random_generator(seed, Stream.SCORES)).split(batch_size):
        yield to_unit_range(to_bytes(module.sample(latents)[:, :channels]))


def shuffled(split: Split, seed: int, count: int | None = None) -> Split:
    """``count`` images of ``split``, or all, in an order that ``seed`` decides.

    Where they are some of several cases, whole cases are drawn, the last of which may be cut: so a few cases stand for
    all of them as those of another sample would.
    """
    generator = random_generator(seed, Stream.SCORES, 1)
    order = torch.randperm(len(split), generator=generator)
    if count is not None and count < len(split) and split.cases is not None:
        groups = numbered(split.cases, len(split))
        ranks = torch.randperm(int(groups.max()) + 1, generator=generator)
        drawn = order[ranks[groups[order]].argsort(stable=True)][:count]
        order = drawn[torch.randperm(count, generator=generator)]
    return split.take(order[:count].numpy())


def split_batches(split: Split, batch_size: int) -> Iterator[Tensor]:
    """The images of ``split`` in order."""
    for positions in np.array_split(np.arange(len(split)), max(1, -(-len(split) // batch_size))):
        yield to_unit_range(split.gather(positions)["image"])


def noise_batches(count: int, seed: int, shape: tuple[int, int, int], batch_size: int) -> Iterator[Tensor]:
    """``count`` images of ``shape`` (C, H, W) whose pixels are independent and uniform."""
    generator = random_generator(seed, Stream.SCORES, 2)
    for start in range(0, count, batch_size):
        size = (min(batch_size, count - start), *shape)
        yield to_unit_range(torch.randint(256, size, dtype=torch.uint8, generator=generator))
