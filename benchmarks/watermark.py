"""How often the watermark is found, and in vain: python -m benchmarks.watermark [images of a set, 300] [--size=128 …].

Real images of $DATA_DIR stand in for generated ones: they are the harder case, whose textures are no network's. Marked
ones are counted after what a mark has to survive; false alarms over all images as they are, at 32 to 256 pixels.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from src.release.watermark import SMALLEST, look_for, mark, threshold

DATA = Path(os.environ.get("DATA_DIR", "data"))
SETS = {
    "X-ray": "chest_xray/*/*/*",
    "cardiac MRI": "sunnybrook-cardiac/images/*",
    "CT": "chest-ctscan-images/Data/*/*/*",
    "colonoscopy": "cvc-clinicdb/Original/*",
}
SIZES = (64, 96, SMALLEST, 192, 256)


def jpeg(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def half(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((width // 2, height // 2), Image.Resampling.BILINEAR))


def cropper(seed: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    """5% of each side are cut off, at a place that is drawn."""
    rng = np.random.default_rng(seed)

    def crop(pixels: np.ndarray) -> np.ndarray:
        high, wide = (round(0.95 * side) for side in pixels.shape[:2])
        top, left = (rng.integers(0, side - kept + 1) for side, kept in zip(pixels.shape, (high, wide), strict=False))
        return pixels[top : top + high, left : left + wide]

    return crop


CROP = cropper()
ATTACKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda pixels: pixels,
    "JPEG 75": jpeg,
    "half the size": half,
    "5% cropped": lambda pixels: CROP(pixels),
    "cropped, then half": lambda pixels: half(CROP(pixels)),
    "half, then JPEG 75": lambda pixels: jpeg(half(pixels)),
}


def images(pattern: str, most: int, size: int | None) -> list[np.ndarray]:
    """Grey images of a set, drawn by a seed; None: of their own size."""
    files = sorted(path for path in DATA.glob(pattern) if path.is_file())
    chosen = [files[i] for i in np.random.default_rng(0).permutation(len(files))[:most]]
    opened = [Image.open(path).convert("L") for path in chosen]
    shape = None if size is None else (size, size)
    return [np.asarray(one if shape is None else one.resize(shape, Image.Resampling.LANCZOS)) for one in opened]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def found_rows(most: int, sizes: tuple[int, ...] = SIZES) -> Iterator[str]:
    """A line of Markdown per size and set."""
    for size in sizes:
        for name, pattern in SETS.items():
            if not (real := images(pattern, most, size)):
                continue
            marked = [np.rint(mark(one, 255)).astype(np.uint8) for one in real]
            quality = [psnr(*pair) for pair in zip(real, marked, strict=True)]
            cells = []
            for attack in ATTACKS.values():
                scores = np.array([look_for(attack(one)).score for one in marked])
                cells.append(f"{np.mean(scores > threshold()):.1%} ({scores.min():.1f})")
            yield f"| {size} | {name} | {len(real)} | {min(quality):.1f} | {' | '.join(cells)} |"


def false_alarms() -> Iterator[str]:
    """A line per set of unmarked images."""
    for name, pattern in SETS.items():
        for size in (None, SMALLEST):
            yield _alarms(f"{name}, {'own size' if size is None else size}", images(pattern, 10_000, size))
    batch = DATA / "cifar-10-batches-py" / "test_batch"
    if batch.is_file():
        rows = pickle.loads(batch.read_bytes(), encoding="bytes")[b"data"][:2_000]
        small = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        yield _alarms("CIFAR-10, own size (32)", list(small))
        large = [
            np.asarray(Image.fromarray(one).resize((SMALLEST, SMALLEST), Image.Resampling.LANCZOS)) for one in small
        ]
        yield _alarms(f"CIFAR-10, {SMALLEST}", large)


def _alarms(name: str, unmarked: list[np.ndarray]) -> str:
    scores = np.array([look_for(one).score for one in unmarked])
    return f"| {name} | {len(scores)} | {int((scores > threshold()).sum())} | {scores.max(initial=0):.2f} |"


def main(arguments: list[str]) -> None:
    sizes = tuple(int(each.removeprefix("--size=")) for each in arguments if each.startswith("--size=")) or SIZES
    counts = [int(each) for each in arguments if each.isdecimal()]
    print(f"threshold {threshold():.2f}\n\n| size | images | number | PSNR at least | {' | '.join(ATTACKS)} |")
    for row in found_rows(counts[0] if counts else 300, sizes):
        print(row, flush=True)
    print("\n| unmarked | images | found in vain | highest score |")
    for row in false_alarms():
        print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
