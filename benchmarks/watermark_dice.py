"""What the watermark does to a U-Net that learns from marked images: ``python -m benchmarks.watermark_dice``.

Drawn phantoms stand for generated images: their masks are exact. Pairs of U-Nets learn from the same images with and
without the mark, with the same weights and order of a seed, and find lung and lesion in other phantoms, unmarked. Each
training is a run folder in ``--out``: the command goes on where it was stopped, and repeats nothing that is done. What
else is given is an override of every training, as ``trainer.threads=1``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.quality import train
from src.comparison.seeds import mean_and_margin
from src.core.atomic import write_atomically
from src.data.phantom import PhantomData
from src.data.phantom_drawing import CLASSES, MASKS
from src.data.store import Split
from src.release.watermark import mark
from src.training.restore import load_data, load_run

SIZES = {"train": 500, "test": 400}
RESOLUTION, SEEDS, IMAGES = 64, 5, 8_000
MODEL = ("model=unet", "model.network.width=8", "model.network.depth=3", "batch_size=16")
FOLDERS = (
    "data=folder",
    "data.split_folders={train: train, test: test}",
    "data.images=images",
    f"data.mask_folders={{{', '.join(f'{name}: {name}' for name in MASKS)}}}",
    "data.channels=1",
)


def write(split: Split, folder: Path, marked: bool) -> None:
    """PNG images of a split, and their masks beside them."""
    batch = split.gather(np.arange(len(split)))
    images, masks = batch["image"].numpy()[:, 0], batch["mask"].numpy()
    if marked:
        images = np.rint(np.stack([mark(image, 255) for image in images])).astype(np.uint8)
    planes = {"images": images, **{name: 255 * (masks[:, i] > 0).astype(np.uint8) for i, name in enumerate(MASKS)}}
    for name, pictures in planes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / name / f"{i:04d}.png")


def dice_of(path: Path) -> float:
    """Of a U-Net on the test split of its data, mean over images and masks."""
    run = load_run(path)
    data = load_data(run)
    data.prepare()
    return float(run.module.task.evaluate(list(run.module.predictions(data.split("test"))))["dice"])


def report(dice: np.ndarray) -> str:
    """Markdown of (seeds, 2) without and with the mark."""
    lines = ["| seed | Dice without | with the mark | difference |", "|---|---:|---:|---:|"]
    lines += [f"| {seed} | {one:.4f} | {two:.4f} | {two - one:+.4f} |" for seed, (one, two) in enumerate(dice)]
    if len(dice) > 1:
        mean, margin = mean_and_margin(dice[:, 1] - dice[:, 0])
        lines.append(f"| mean | {dice[:, 0].mean():.4f} | {dice[:, 1].mean():.4f} | {mean:+.4f} ± {margin:.4f} (95%) |")
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=RESOLUTION, help="pixels a side")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--images", type=int, default=IMAGES, help="shown to each U-Net")
    parser.add_argument("--out", type=Path, default=Path("outputs/watermark_dice"))
    options, overrides = parser.parse_known_args(arguments)
    data = PhantomData(options.resolution, 1, CLASSES, MASKS, SIZES, seed=0, cache=options.out / "cache")
    data.prepare()
    folders = [(options.out / f"{kind}_{options.resolution}").absolute() for kind in ("plain", "marked")]
    for marked, folder in enumerate(folders):
        for split in SIZES:
            write(data.split(split), folder / split, bool(marked) and split == "train")
    dice: list[list[float]] = []
    for seed in range(options.seeds):
        asked = (*MODEL, f"resolution={options.resolution}", f"images={options.images}", f"seed={seed}", *overrides)
        runs = [train(options.out, *asked, *FOLDERS, f"data.root={folder}") for folder in folders]
        dice.append([dice_of(run) for run in runs])
        write_atomically(options.out / f"{options.resolution}.md", report(np.array(dice)))
    print((options.out / f"{options.resolution}.md").read_text())


if __name__ == "__main__":
    main()
