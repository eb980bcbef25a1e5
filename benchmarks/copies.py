"""How many planted copies the release filter finds: python -m benchmarks.copies [copies of each kind, 200].

Originals are the training images of cardiac MRI (Sunnybrook) and of chest X-rays at 64 px, found through DATA_DIR; an
image is rejected where it is nearer to one of them than 95% of the images of patients held out. How many of those it
rejects is measured on patients that had no part in the threshold: of every half of them by the other half's.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

from benchmarks.planted import KINDS
from benchmarks.timing import machine
from src.command_line import resolvers  # noqa: F401  the configurations of data sets compute
from src.command_line.schema import CONF
from src.core.pixels import to_bytes, to_unit_range
from src.data.base import ImageData
from src.data.provenance import TrainingRecord
from src.release.calibration import Calibration, Others
from src.release.comparison import Comparison
from src.release.copies import priced

DATA, RESOLUTION, SHARE = ("sunnybrook", "chest_xray"), 64, 0.05
BATCH = 32


class Found(NamedTuple):
    share: float  # of the planted copies, nearer than the threshold
    right: float  # of them, matched with their original


def load(name: str, cache: str | None = None, resolution: int = RESOLUTION) -> ImageData:
    """A data set of conf/data."""
    with initialize_config_dir(str(CONF), version_base=None):
        cache_given = [f"paths.cache={cache}"] if cache else []
        data: ImageData = instantiate(compose("train", [f"data={name}", f"resolution={resolution}", *cache_given]).data)
    data.prepare()
    return data


def planted(comparison: Comparison, threshold: float, count: int, seed: int = 0) -> dict[str, Found]:
    """What is found of ``count`` copies of each kind, of originals drawn by ``seed`` and saved with 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    learned = comparison.learned
    chosen = torch.randperm(len(learned), generator=generator)[:count]
    originals = to_unit_range(learned.gather(np.sort(chosen.numpy()))["image"]).contiguous()
    chosen = chosen.sort().values
    found = {}
    for kind, change in KINDS.items():
        copies = to_bytes(change(originals, torch.Generator().manual_seed(seed + 1)))
        matches = [comparison.originals.nearest(batch) for batch in copies.split(BATCH)]
        index = torch.cat([one[0] for one in matches])
        distances = torch.cat([one[1] for one in matches])
        found[kind] = Found((distances < threshold).double().mean().item(), (index == chosen).double().mean().item())
    return found


def false_rejections(calibration: Calibration, share: float, repetitions: int = 20) -> tuple[float, float]:
    """Mean and standard deviation of the share of images rejected of one half of the held-out patients by the
    threshold, and at the prices, that the other half sets."""
    distances, patients = calibration.held_out.at_scales, np.array(calibration.held_out.patients)
    names = np.unique(patients)
    rejected = []
    for repetition in range(repetitions):
        order = np.random.default_rng(repetition).permutation(len(names))
        first = np.isin(patients, names[order[: len(names) // 2]])
        for own, other in ((first, ~first), (~first, first)):
            half = replace(calibration, held_out=Others(distances[torch.from_numpy(own)], tuple(patients[own])))
            near = priced(distances[torch.from_numpy(other)], half.prices)
            rejected.append((near < half.threshold(share)).double().mean())
    return float(np.mean(rejected)), float(np.std(rejected))


def milliseconds(comparison: Comparison, images: Tensor) -> float:
    """For an image, on this thread."""
    comparison.originals.nearest(images[:BATCH])
    started = time.thread_time()
    for batch in images.split(BATCH):
        comparison.originals.nearest(batch)
    return (time.thread_time() - started) * 1e3 / len(images)


def table(found: Mapping[str, Mapping[str, Found]]) -> str:
    lines = ["| planted copies | " + " | ".join(found) + " |", "|---|" + "---:|" * len(found)]
    for kind in KINDS:
        cells = (f"{100 * one[kind].share:.1f} ({100 * one[kind].right:.0f})" for one in found.values())
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    torch.set_num_threads(1)
    print(f"{machine()}; 1 thread\n")
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in DATA:
            data = load(name, cache)
            record = TrainingRecord.of(data, data.split("train"))
            comparison = Comparison.of(record, data, data.description.channels)
            threshold = comparison.calibration.threshold(SHARE)
            mean, spread = false_rejections(comparison.calibration, SHARE)
            speed = milliseconds(comparison, comparison.held_out.gather(np.arange(2 * BATCH))["image"])
            print(f"{name}: {len(comparison.learned):,} originals; {comparison.calibration.describe()}")
            print(f"threshold {threshold}; rejected of other held-out patients {100 * mean:.1f} ± {100 * spread:.1f}%")
            print(f"{speed:.1f} ms an image", flush=True)
            found[name] = planted(comparison, threshold, count)
    print(f"\n{count} of each kind, % found (in brackets: with the right original)\n\n{table(found)}")


if __name__ == "__main__":
    main()
