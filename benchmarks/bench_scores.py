"""What scoring costs over looking at the images: python -m benchmarks.bench_scores [images, 10000 by default].

``forward`` is the bare pass of C, a ResidualClassifier of width 64, over images of 32 px that are ready as float32
batches: features and logits are computed and dropped. ``all scores`` is what training does at every interval: the same
pass in the same precision, and from it every score, without intervals, against real statistics that are kept already.
Making the images is in neither.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from benchmarks.timing import interleaved, machine, table
from src.networks.classifier import ResidualClassifier
from src.scoring.feature_extractors import ClassifierFeatures
from src.scoring.image_features import extract
from src.scoring.reference import Reference, reference_of
from src.scoring.scores import Rules, compute_scores

BATCH = 256


def make_batches(count: int, seed: int) -> list[Tensor]:
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return list(images.contiguous(memory_format=torch.channels_last).split(BATCH))


@torch.no_grad()
def forward(network: ResidualClassifier, batches: list[Tensor]) -> float:
    started = time.perf_counter()
    for batch in batches:
        network(batch)
    return sum(map(len, batches)) / (time.perf_counter() - started)


def all_scores(extractor: ClassifierFeatures, batches: list[Tensor], reference: Reference) -> float:
    started = time.perf_counter()
    compute_scores(reference, extract(extractor, batches), Rules(allow_small=True))
    return sum(map(len, batches)) / (time.perf_counter() - started)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    network = ResidualClassifier(3, 10).to(memory_format=torch.channels_last)
    extractor = ClassifierFeatures(network, tuple("0123456789"), 32).eval().requires_grad_(False)
    batches = make_batches(count, 0)
    reference = reference_of(extract(extractor, make_batches(count, 1)))
    speeds = interleaved(
        {"forward": lambda: forward(network, batches), "all scores": lambda: all_scores(extractor, batches, reference)},
        rounds=3,
    )
    print(f"{machine()}; float32\n")
    print(table(f"{count:,} images of 32 px, batch {BATCH}", "images/s", speeds, "forward"))
    ratios = sorted(f / s for f, s in zip(speeds["forward"], speeds["all scores"], strict=True))
    print(f"All scores take {ratios[len(ratios) // 2]:.2f} times the bare pass.")


if __name__ == "__main__":
    main()
