"""How fast images are compared by SSIM: python -m benchmarks.bench_similarity [references, 64 by default].

``torchmetrics`` compares an image with all references in one batch; ``project`` has the same numbers by products of
matrices, with what is of each reference computed once for sixteen images. One thread, 128 px, per second of processor
time, which work beside it does not change.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from benchmarks.timing import interleaved, machine, table
from src.metrics.similarity import ssim

IMAGES, SIDE = 16, 128


def by_torchmetrics(images: Tensor, references: Tensor) -> float:
    started = time.process_time()
    for image in images:
        structural_similarity_index_measure(
            image.expand_as(references).contiguous(), references, data_range=1.0, reduction="none"
        )
    return len(images) * len(references) / (time.process_time() - started)


def by_project(images: Tensor, references: Tensor) -> float:
    started = time.process_time()
    ssim(images, references)
    return len(images) * len(references) / (time.process_time() - started)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    torch.set_num_threads(1)
    print(f"{machine()}; one thread\n")
    for channels, name in ((1, "grey"), (3, "colour")):
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(IMAGES, channels, SIDE, SIDE, generator=generator)
        references = torch.rand(count, channels, SIDE, SIDE, generator=generator)
        contenders = {
            "torchmetrics": lambda images=images, references=references: by_torchmetrics(images, references),
            "project": lambda images=images, references=references: by_project(images, references),
        }
        speeds = interleaved(contenders, rounds=3)
        title = f"SSIM at {SIDE} px, {name}, {count} references"
        print(table(title, "pairs a second of processor time", speeds, "torchmetrics"))


if __name__ == "__main__":
    main()
