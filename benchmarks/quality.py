"""Which settings make images better at equal images shown: ``python -m benchmarks.quality chest_xray --resolution 16``.

Trains a model in several variants, each with several seeds, and scores all of them in two feature spaces beside real
test images, noise, and one half of the training images against the other. Each training is a run folder in ``--out``:
the command goes on where it was stopped, and repeats nothing that is done. What else is given is an override of every
training, as ``trainer.threads=1``. The tables, their numbers and the variants' first images, by the same latents, are
``<data>_<resolution>.md``, ``.json`` and ``.png`` there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy import stats
from torch import Tensor

from src.command_line.resolvers import run_name
from src.comparison.seeds import LEVEL, mean_and_margin
from src.core import environment
from src.core.atomic import write_atomically
from src.core.run_folder import RunFolder
from src.pictures.sample_grid import save_grid
from src.scoring.evaluator import Evaluator
from src.scoring.image_features import noise_batches, shuffled, split_batches
from src.scoring.passport import check_same_passports
from src.scoring.report import Row, as_json, caption, heading, read_rows, titled
from src.scoring.rows import extract_unseen, scored_row
from src.scoring.scores import Rules
from src.scoring.titles import LOWER_IS_BETTER
from src.training.restore import load_data, load_generator

MODEL = (
    "model=pggan",
    "width=64",
    "batch_size=16",
    "growing.lr=1e-3",
    "growing.lr_beyond_32=1",
    "growing.bias_scale=1.0",
    "growing.phases=1.0",
)  # as published
IMAGES = {16: 15_360, 32: 40_960, 64: 122_880}  # shown, by resolution
BASELINE = "baseline"
SWITCHES: dict[str, tuple[str, ...]] = {  # a variant is the baseline, a switch, or several as in biases+lr-2e-3
    "biases": ("model.generator.bias_scale=he",),  # the discriminator's follow
    "lr-5e-4": ("optim.lr=5e-4",),
    "lr-2e-3": ("optim.lr=2e-3",),
    "lr-4e-3": ("optim.lr=4e-3",),
    "lr-8e-3": ("optim.lr=8e-3",),
    "decay": ("model.schedule.lr_decay=0.5",),
    "d-lr": ("model.lr_ratio=2",),
    "r1": ("loss=logistic_r1",),
    "relativistic": ("loss=relativistic",),
    "latents": ("model.fresh_latents=true",),
    "noise": ("model.instance_noise=0.1",),
    "first-gain": ("model.generator.first_gain=1.41",),
    "last-gains": ("model.generator.last_gain=1.41", "model.discriminator.last_gain=1.41"),
    "std-at-end": ("model.discriminator.minibatch_std_at=${data.resolution}",),
    "std-of-16": ("model.discriminator.minibatch_std_group=16",),
    "ema-reset": ("model.ema.reset_at_growth=true",),
    "ema-long": ("model.ema.half_life=1_000",),
    "growth": ("growing.phases=0.5",),  # which leaves more of the run for the last resolution
    "enhanced": ("model=enhanced",),  # another model
}
SCORES = ("fid", "kid", "precision", "recall", "density", "coverage")
TILES, SIDE = 16, 64  # of each variant in the picture; pixels a tile has at least


@dataclass(frozen=True)
class Data:
    """What is learned, and what sees it beside random features: a classifier, trained first, or another space."""

    overrides: tuple[str, ...]
    classifier: tuple[str, ...] = ()
    features: str = "classifier"
    resolution: int = 16  # unless told otherwise


CLASSIFIER = ("model=classifier", "width=32", "batch_size=64", "optim.lr=0.1")
DATA = {
    "chest_xray": Data(("data=chest_xray",), ("data=chest_xray", "images=20_000")),
    "sunnybrook": Data(("data=sunnybrook",), features="efficientnet_lite0"),
    "cifar10_dog": Data(
        ("data=cifar10_dog", "data.verify=false"),
        ("data=cifar10", "data.verify=false", "images=150_000"),
        resolution=32,  # it has no other
    ),
}


def overrides_of(variant: str) -> list[str]:
    return [] if variant == BASELINE else [override for name in variant.split("+") for override in SWITCHES[name]]


def train(out: Path, *overrides: str) -> Path:
    """The run folder in ``out`` of what is asked, finished."""
    name = run_name(None, overrides)
    if RunFolder(out / name, writable=False).status().get("state") != "done":
        launch(*overrides, "logger=csv", "scores=none", "progress=false", f"paths.outputs={out}", f"name={name}")
    return out / name


def launch(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "src.train", *arguments], check=True)


def score(run: Path, evaluator: Evaluator, count: int) -> Row:
    """The scores of ``count`` images of a GAN; what was scored once is read again."""
    file = run / "evaluation" / f"{evaluator.extractor.digest()[:12]}_{count}.json"
    if not file.exists():
        module = load_generator(run).module.to(environment.device("auto"))
        seen = evaluator.extract(evaluator.generated(module, count), run.name)
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, json.dumps(as_json([scored_row(evaluator, run.name, seen, module=module)]), indent=1))
    return read_rows(file)[0]


def beside(evaluator: Evaluator, count: int) -> dict[str, Row]:
    """Real test images and noise, scored as a GAN's images are."""
    unseen = extract_unseen(evaluator, count)
    noise = noise_batches(count, evaluator.seed, evaluator.data.description.shape, evaluator.batch_size)
    seen = {"real test images": unseen, "noise": evaluator.extract(noise, "noise")}
    return {name: scored_row(evaluator, name, images) for name, images in seen.items() if images is not None}


def table(variants: Mapping[str, Sequence[Row]], others: Mapping[str, Row]) -> str:
    """Markdown; the first of ``variants``, each of several seeds, is what the others are held against."""
    rows = [row for several in variants.values() for row in several] + list(others.values())
    check_same_passports([(row.name, row.passport) for row in rows])
    shown = [name for name in SCORES if name in rows[0].scores]
    passport, halves = rows[0].passport, rows[0].between_halves
    lines = [
        f"{heading(passport)} · {caption(passport)}",
        "",
        f"| | seeds | {' | '.join(map(titled, shown))} |",
        f"|---|---:|{'---:|' * len(shown)}",
    ]
    baseline = next(iter(variants.values()))
    for name, several in variants.items():
        cells = (cell(score, several, baseline) for score in shown)
        lines.append(f"| {name} | {len(several)} | {' | '.join(cells)} |")
    for name, row in others.items():
        lines.append(f"| {name} | | {' | '.join(_single(row, score) for score in shown)} |")
    if halves:
        cells = (f"{halves[score]:.3g}" if score in halves else "–" for score in shown)
        lines.append(
            f"| half of the training images against the other, {halves['images']:.0f} each | | {' | '.join(cells)} |"
        )
    return "\n".join([*lines, ""])


def cell(score: str, several: Sequence[Row], baseline: Sequence[Row]) -> str:
    """Mean over seeds ± half its 95 % t interval; ✓ or ✗ where it is surely better or worse than the baseline's."""
    ours, theirs = ([row.scores[score] for row in rows] for rows in (several, baseline))
    if len(ours) < 2:
        return f"{ours[0]:.3g}"
    text = "{:.3g} ± {:.2g}".format(*mean_and_margin(ours))
    if several is baseline or len(theirs) < 2:
        return text
    low, high = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(LEVEL)
    if not (low > 0 or high < 0):
        return text
    return f"{text} {'✓' if (high < 0) == LOWER_IS_BETTER[score] else '✗'}"


def _single(row: Row, score: str) -> str:
    interval = " [{:.3g}, {:.3g}]".format(*row.intervals[score]) if score in row.intervals else ""
    return f"{row.scores[score]:.3g}{interval}"


def picture(rows: Sequence[Tensor], path: Path) -> None:
    """A row for each of (N, C, H, W) in [-1, 1], enlarged without smoothing."""
    images = torch.cat([row[:TILES] for row in rows])
    times = max(1, SIDE // images.shape[2])
    save_grid(images.repeat_interleave(times, 2).repeat_interleave(times, 3), path, images.shape[1], columns=TILES)


def first_images(run: Path, evaluator: Evaluator) -> Tensor:
    return next(evaluator.generated(load_generator(run).module, TILES))


def compare(name: str, spaces: Mapping[str, Evaluator], runs: Mapping[str, Sequence[Path]], out: Path) -> None:
    """Write the files of ``name``: ``spaces`` by title, ``runs`` of each variant by the order of their seeds."""
    texts, numbers = [], {}
    for title, evaluator in spaces.items():
        evaluator.extractor.to(environment.device("auto"))
        count = len(evaluator.data.split("test"))
        variants = {variant: [score(run, evaluator, count) for run in several] for variant, several in runs.items()}
        others = beside(evaluator, count)
        texts.append(table(variants, others))
        rows = {**variants, **{name: [row] for name, row in others.items()}}
        numbers[title] = {name: as_json(several) for name, several in rows.items()}
    write_atomically(out / f"{name}.md", "\n".join(texts))
    write_atomically(out / f"{name}.json", json.dumps(numbers, indent=1))
    real = next(split_batches(shuffled(evaluator.data.split("test"), 0, TILES), TILES))
    picture([real, *(first_images(several[0], evaluator) for several in runs.values())], out / f"{name}.png")


def spaces_of(data: Data, run: Path, common: Sequence[str], out: Path) -> dict[str, Evaluator]:
    """By title: random features, and those of ``data``, whose images are those that ``run`` learned from."""
    images = load_data(load_generator(run))
    images.prepare()
    classifier = str(train(out, *CLASSIFIER, *data.classifier, *common)) if data.classifier else None
    asked = {"random": (None, "classifier"), data.features: (classifier, data.features)}
    return {
        title: Evaluator(images, network, features, seed=0, batch_size=256, rules=Rules(), cache=out / "cache")
        for title, (network, features) in asked.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--resolution", type=int, help="pixels a side; unless given, 16, of CIFAR-10 32")
    parser.add_argument("--images", type=int, help=f"shown to each variant; unless given, by resolution: {IMAGES}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", default=[BASELINE, *SWITCHES], metavar="VARIANT")
    parser.add_argument("--out", type=Path, default=Path("outputs/quality"))
    options, overrides = parser.parse_known_args(arguments)
    data = DATA[options.data]
    resolution = options.resolution or data.resolution
    name = f"{options.data}_{resolution}"
    common = (f"resolution={resolution}", *overrides)
    shown = f"images={options.images or IMAGES[resolution]}"
    runs: dict[str, list[Path]] = {variant: [] for variant in options.variants}
    for seed in range(options.seeds):
        for variant, several in runs.items():
            asked = (*MODEL, *data.overrides, *common, shown, *overrides_of(variant), f"seed={seed}")
            several.append(train(options.out, *asked))
        if seed == 0:
            spaces = spaces_of(data, runs[options.variants[0]][0], common, options.out)
        compare(name, spaces, runs, options.out)
    print((options.out / f"{name}.md").read_text())


if __name__ == "__main__":
    main()
