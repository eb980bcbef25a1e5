"""Images per second: torchvision's ImageFolder + DataLoader against a gather from the store, over the same files.

python -m benchmarks.bench_store [--root FOLDER_OF_CLASS_FOLDERS] [--resolution PIXELS]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Resize, ToTensor

from src.data.folder import FolderData


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="one sub-folder of images per class (default: makes its own)")
    parser.add_argument("--images", type=int, default=512, help="images to make")
    parser.add_argument("--resolution", type=int, default=128, help="pixels a side")
    parser.add_argument("--batch", type=int, default=128, help="images per batch")
    parser.add_argument("--workers", type=int, default=2, help="processes of the DataLoader")
    parser.add_argument("--epochs", type=int, default=5, help="timed epochs; the median counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = args.root or make_images(Path(temporary) / "images", args.images, args.resolution)
        transform = Compose([Resize((args.resolution, args.resolution)), ToTensor()])
        loader = DataLoader(
            ImageFolder(str(root), transform),
            args.batch,
            shuffle=True,
            num_workers=args.workers,
            persistent_workers=args.workers > 0,  # starting them anew each epoch would be held against it
        )
        count = len(loader.dataset)  # type: ignore[arg-type]
        baseline = images_per_second(lambda: loader, count, args.epochs)

        start = time.perf_counter()
        data = FolderData(str(root), f"{temporary}/cache", args.resolution, channels=3, splits={"train": 1.0})
        split = data.split("train")
        built = time.perf_counter() - start
        rng = np.random.default_rng(0)

        def gathered() -> Iterable[object]:
            order = rng.permutation(len(split))
            return (split.gather(order[at : at + args.batch]) for at in range(0, len(order), args.batch))

        ours = images_per_second(gathered, len(split), args.epochs)
    print(f"{count} images, {args.resolution}x{args.resolution}, batch {args.batch}, {os.cpu_count()} cores\n")
    print("| loader | images/s | ratio |\n|---|--:|--:|")
    print(f"| ImageFolder + DataLoader, {args.workers} workers | {baseline:,.0f} | 1 |")
    print(f"| Store.gather | {ours:,.0f} | {ours / baseline:.1f} |")
    print(f"\nThe store was built once, in {built:.1f} s.")


def make_images(root: Path, count: int, side: int) -> Path:
    """Write ``count`` RGB PNG files of two classes: smooth with a little noise, so that they compress as photos do."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((side, side))
        noisy = np.asarray(coarse) + rng.normal(0, 3, (side, side, 3))
        path = root / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
    return root


def images_per_second(batches: Callable[[], Iterable[object]], count: int, epochs: int) -> float:
    """The median over ``epochs`` of ``count`` images by the seconds that one pass takes; a first pass warms up."""
    seconds = []
    for _ in range(epochs + 1):
        start = time.perf_counter()
        for _ in batches():
            pass
        seconds.append(time.perf_counter() - start)
    return count / statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
