"""Whether the filter finds the copies that generators make: ``python -m benchmarks.generator_copies``.

Generators learn few images, each of another patient as far as there are so many, until they repeat them. What is a copy
is told by another measure than the filter's: the plain correlation of all pixels, the best of 450 small turns, zooms,
shifts and mirror images, with any original, where it is above what 5% of the images of held-out patients reach; a
clear copy is above what any of them reaches. Then the audit attacks the same images. Each training is a run folder in
``--out``: the command goes on where it was stopped, and repeats nothing that is done. What else is given is an override
of every training, as ``trainer.threads=1``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.copies import false_rejections, load
from benchmarks.planted import warp
from benchmarks.quality import train
from src.core.atomic import write_atomically
from src.core.pixels import to_unit_range
from src.data.folder import FolderData
from src.data.store import Split
from src.release.audit import Audit, Judge
from src.release.comparison import Comparison
from src.release.generated import generated_split
from src.training.restore import learned_from, load_data, load_generator

DATA = {"chest_xray": (), "sunnybrook": ("data.group='^(.*)-IM'",)}
SPLITS = "data.split_folders={train: train, test: test}"
MODELS = {  # small, and without what keeps from repeating images: a weak penalty, no dropout
    "dcgan": (
        "model=dcgan",
        "batch_size=20",
        "model.generator.width=0.25",
        "model.discriminator.width=0.5",
        "model.discriminator.norm=instance",
        "model.discriminator.dropout=0",
        "model.latent.dim=32",
        "model.schedule.lr_decay=0.5",
        "+model.ema={_target_: src.training.ema.ExponentialMovingAverage, _partial_: true, half_life: 2000}",
        "model.penalties.r1.weight=0.1",
        "optim.lr=5e-4",
    ),
    "pggan": (
        "model=pggan",
        "width=32",
        "batch_size=16",
        "growing.phases=0.3",
        "growing.bias_scale=he",
        "model.schedule.lr_decay=0.3",
        "model.penalties.r1.weight=0.1",
        "optim.lr=4e-3",
    ),
}
IMAGES = {20: 100_000, 100: 400_000}  # shown, by how many there are
RESOLUTION = 32
MADE, SHARE, SEEDS = 300, 0.05, 5
SIDE, EDGE = 32, 3  # pixels a side of what is correlated, and of its border that is left out
ANGLES, ZOOMS, SHIFTS = (-8.0, -4.0, 0.0, 4.0, 8.0), (0.9, 0.95, 1.0, 1.06, 1.12), (-0.05, 0.0, 0.05)


def few(data: FolderData, count: int, folder: Path) -> Path:
    """A folder of links to the files of ``data``: ``train`` has ``count`` training images, one of each patient
    before a second of any; ``test`` all that are held out."""
    split = data.split("train")
    order = np.random.default_rng(0).permutation(len(split))
    cases = np.array(split.cases_or_files())[order]
    turn = [int((cases[:i] == case).sum()) for i, case in enumerate(cases)]
    chosen = split.take(order[np.argsort(turn, kind="stable")[:count]])
    held_out = [file for name, other in data.splits.items() if name != "train" for file in other.files()]
    for name, files in (("train", chosen.files()), ("test", held_out)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in files:
            link = folder / name / Path(file).name
            if not link.is_symlink():
                link.symlink_to((data.root / file).resolve())
    return folder


def plain_correlation(images: Tensor, originals: Tensor) -> tuple[Tensor, Tensor]:
    """The best with any of ``originals``, both (N, C, H, W) in [-1, 1], and with which: (N,) each."""

    def unit(some: Tensor) -> Tensor:
        small = F.interpolate(some.mean(1, keepdim=True), size=(SIDE, SIDE), mode="area")[:, 0]
        flat = small[:, EDGE:-EDGE, EDGE:-EDGE].flatten(1)
        return F.normalize(flat - flat.mean(1, keepdim=True), dim=1)

    shown, count = unit(images), len(originals)
    best = torch.full((len(images), count), -1.0)
    for angle, zoom, across, down, mirror in product(ANGLES, ZOOMS, SHIFTS, SHIFTS, (False, True)):
        shift = torch.tensor([across, down]).expand(count, 2)
        moved = warp(originals, torch.full((count,), angle), torch.full((count,), zoom), shift)
        best = torch.maximum(best, shown @ unit(moved.flip(3) if mirror else moved).T)
    found = best.max(1)
    return found.values, found.indices


def fleiss_kappa(verdicts: np.ndarray) -> float:
    """Agreement beyond chance of yes-or-no verdicts (raters, subjects) (Fleiss, 1971); 1 where all say the same."""
    raters = len(verdicts)
    yes = verdicts.sum(0)
    observed = ((yes * (yes - 1) + (raters - yes) * (raters - yes - 1)) / (raters * (raters - 1))).mean()
    share = yes.mean() / raters
    chance = share**2 + (1 - share) ** 2
    return 1.0 if chance == 1 else float((observed - chance) / (1 - chance))


def verdicts(comparison: Comparison, made: Split, channels: int, seed: int) -> np.ndarray:
    """(N,) which of ``made`` are left out, with the order of all images, and the patients left out in turn, drawn anew
    by ``seed``."""
    rng = np.random.default_rng(seed)
    learned, held_out = (one.take(rng.permutation(len(one))) for one in (comparison.learned, comparison.held_out))
    drawn = Comparison.between(learned, held_out, channels, seed=seed)
    threshold = drawn.calibration.threshold(SHARE)
    order = rng.permutation(len(made))
    found = np.empty(len(made), bool)
    found[order] = (drawn.originals.nearest_of(made.take(order), channels)[1] < threshold).numpy()
    return found


def part(which: Tensor, among: Tensor) -> float | None:
    """Of those in ``among``, both (N,) bool."""
    return float(which[among].double().mean()) if among.any() else None


def measure(path: Path) -> dict[str, Any]:
    """Of the images of a finished run."""
    run = load_generator(path)
    data = load_data(run)
    data.prepare()
    channels = data.description.channels
    comparison = Comparison.of(learned_from(run), data, channels)
    made = generated_split(run, MADE, 0)
    index, distances = comparison.originals.nearest_of(made, channels)
    found = distances < comparison.calibration.threshold(SHARE)
    shown, originals, held_out = (
        to_unit_range(split.gather(np.arange(len(split)))["image"][:, :channels])
        for split in (made, comparison.learned, comparison.held_out)
    )
    near, whose = plain_correlation(shown, originals)
    others = plain_correlation(held_out, originals)[0]
    limit = others.quantile(1 - SHARE)
    copies, clear = near > limit, near > others.max()
    audit = Audit.of(comparison, made, channels, Judge.of(run))
    return {
        "originals": len(originals),
        "limit": float(limit),
        "copies": int(copies.sum()),
        "found": part(found, copies),
        "clear": int(clear.sum()),
        "clear_found": part(found, clear),
        "same_original": part(index == whose, copies),
        "left_out": float(found.double().mean()),
        "false_rejections": false_rejections(comparison.calibration, SHARE),
        "kappa": fleiss_kappa(np.stack([verdicts(comparison, made, channels, seed) for seed in range(SEEDS)])),
        "audit": {"auc": audit.nearest.auc, "control": audit.nearest.control, "leaks": audit.nearest.leaks},
        "missed": [round(float(one), 3) for one in near[copies & ~found]],
    }


def table(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| generator | copies | found | clear copies | found | with the same original | left out of all "
        "| of other held-out patients | kappa | audit: AUC, control | called a leak |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, one in measured.items():
        found, clear, same = (
            "–" if one[key] is None else f"{one[key]:.1%}" for key in ("found", "clear_found", "same_original")
        )
        rejected = "{:.1f} ± {:.1f}%".format(*(100 * share for share in one["false_rejections"]))
        audit = "{auc:.2f}, {control:.2f}".format(**one["audit"])
        leaks = "yes" if one["audit"]["leaks"] else "no"
        lines.append(
            f"| {name} | {one['copies']} of {MADE} | {found} | {one['clear']} | {clear} | {same} "
            f"| {one['left_out']:.1%} | {rejected} | {one['kappa']:.3f} | {audit} | {leaks} |"
        )
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--counts", nargs="+", type=int, choices=IMAGES, default=list(IMAGES), help="images to learn from"
    )
    parser.add_argument("--resolution", type=int, default=RESOLUTION, help="pixels a side")
    parser.add_argument("--out", type=Path, default=Path("outputs/generator_copies"))
    options, overrides = parser.parse_known_args(arguments)
    torch.set_num_threads(1)
    measured = {}
    for name in options.data:
        data = load(name, resolution=options.resolution)
        assert isinstance(data, FolderData)
        for count, model in product(options.counts, options.models):
            folder = few(data, count, (options.out / "data" / f"{name}_{count}").absolute())
            settings = ("data=folder", f"data.root={folder}", SPLITS, "data.channels=1", *DATA[name])
            shown = (f"images={IMAGES[count]}", f"resolution={options.resolution}")
            asked = (*MODELS[model], "loss=logistic_r1", *shown, *settings, *overrides)
            run = train(options.out, *asked)
            file = run / "copies.json"
            if not file.exists():
                write_atomically(file, json.dumps(measure(run), indent=1))
            measured[f"{model}, {count} of {name}"] = json.loads(file.read_text())
            write_atomically(options.out / "copies.md", table(measured))
    print((options.out / "copies.md").read_text())


if __name__ == "__main__":
    main()
