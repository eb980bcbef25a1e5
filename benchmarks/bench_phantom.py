"""How fast phantoms are drawn, on one core: python -m benchmarks.bench_phantom."""

from __future__ import annotations

import tempfile
import time

import torch

from benchmarks.timing import interleaved, machine, table
from src.data.phantom import PhantomData
from src.data.phantom_drawing import CLASSES, MASKS


def images_per_second(resolution: int, count: int) -> float:
    """Images drawn and stored per second."""
    with tempfile.TemporaryDirectory() as cache:
        data = PhantomData(
            name="phantom",
            resolution=resolution,
            channels=1,
            classes=list(CLASSES),
            masks=list(MASKS),
            sizes={"train": count},
            seed=0,
            cache=cache,
        )
        started = time.perf_counter()
        data.prepare()
        return count / (time.perf_counter() - started)


def main() -> None:
    torch.set_num_threads(1)
    contenders = {
        "64 px": lambda: images_per_second(64, 2000),
        "128 px": lambda: images_per_second(128, 500),
    }
    print(f"{machine()}\n")
    print(table("Phantoms drawn, one core", "images/s", interleaved(contenders, rounds=5), "64 px"))


if __name__ == "__main__":
    main()
