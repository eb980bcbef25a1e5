"""The synthetic images of a study: exports them, and says what was left out of them and what they are near to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.core.errors import UserError
from src.core.identity import digest
from src.core.pixels import to_unit_range
from src.data.base import ImageData
from src.data.provenance import TrainingRecord
from src.data.training_images import read_synthetic
from src.downstream.results import fraction_text
from src.downstream.study_page import Copy
from src.release.audit import Audit, Judge
from src.release.audit_report import as_json
from src.release.comparison import Comparison
from src.release.export import Export
from src.release.left_out import LeftOut
from src.release.real_masks import RealMasks
from src.release.request import Request, TooFewPass
from src.release.resampling import to_pixels
from src.training.restore import TrainedRun, learned_from

PAIRS = 8  # of a synthetic image and the real one nearest to it, on the page


def export(run: TrainedRun, name: str, count: int, data: ImageData, reject: bool, folder: Path) -> Path:
    """Synthetic images of the generator ``name``, in a folder of the study that is named by what is in it."""
    train = data.split("train")
    masks = RealMasks.of(train, data.description.masks, data.description.shape[1:])
    request = Request(
        n=count,
        size=run.module.schedule.resolution,
        bits=8 * train.store.images.dtype.itemsize,
        reject=reject,
        limits=masks.limits,
    )
    facts = {"real_masks": masks.facts()}
    out = folder / "synthetic" / f"{name}-{digest(Export(run, request, folder).identity())[:8]}"
    print(f"exporting {count} images of {run.folder.name} to {out}\n{masks.describe()}")
    try:
        Export(run, request, out, facts=facts).write()
    except TooFewPass as problem:
        raise UserError(f"{problem}; in a study, reject_masks=false keeps them") from problem
    if (left_out := LeftOut.of(out)).count or left_out.unfit:
        print(f"left out: {left_out.text()}")
    return out


def left_out_of(exports: Mapping[tuple[str, float], Path]) -> dict[str, LeftOut]:
    """By generator, with its share of the training cases where there are several: what was left out of its export."""
    several = len({share for _, share in exports}) > 1
    return {
        f"{name} at {fraction_text(share)}" if several else name: LeftOut.of(export)
        for (name, share), export in sorted(exports.items())
    }


def cautions_of_exports(left_out: Mapping[str, LeftOut]) -> Iterator[str]:
    """Where what the U-Nets learned from is unlike what the generator makes, or has wrong masks."""
    for name, one in left_out.items():
        yield from (f"Synthetic images of {name}: {caution}." for caution in one.cautions())


def compare_with_real(generators: Mapping[str, TrainedRun], data: ImageData) -> dict[str, Comparison]:
    """Every generator, by name, with the real images that it learned from."""
    found: dict[TrainingRecord, Comparison] = {}
    compared = {}
    for name, run in generators.items():
        record = learned_from(run)
        if record not in found:
            found[record] = Comparison.of(record, data, data.description.channels)
        compared[name] = found[record]
    return compared


def copies_note(compared: Mapping[str, Comparison]) -> str:
    """What the distance is, and how near real images come that are no copies."""
    said = {name: one.calibration.describe() + _missing(one) for name, one in compared.items()}
    alike = len(set(said.values())) == 1
    reference = next(iter(said.values())) if alike else "; ".join(f"{name}: {text}" for name, text in said.items())
    return (
        "Distance: 1 less the local correlation after one image is aligned to the other; 0 is a copy, 1 nothing in "
        "common. Every exported image was compared with every real image that its generator learned from, also "
        f"mirrored, as a negative, turned, zoomed, moved and bent. For comparison: {reference}."
    )


def _missing(one: Comparison) -> str:
    return (
        f" ({one.missing:,} images that it learned from are not in these data: copies of them are not found)"
        if (one.missing)
        else ""
    )


def nearest_pairs(
    compared: Mapping[str, Comparison], exports: Mapping[str, Path], data: ImageData, folder: Path, cache: str
) -> Iterator[Copy]:
    """The synthetic images nearest to a real one that their generator learned from; writes that one into ``folder``."""
    channels = data.description.channels
    folder.mkdir(exist_ok=True)
    for name, one in compared.items():
        made = read_synthetic(str(exports[name]), data.description, cache)
        pairs = one.originals.closest_pairs(made, channels, max(1, PAIRS // len(exports)))
        for rank, (generated, original, distance) in enumerate(pairs):
            picture = folder / f"{name}-{rank}-real.png"
            pixels = to_pixels(to_unit_range(one.learned.gather(np.array([original]))["image"][:, :channels]), 8)
            Image.fromarray(pixels[0]).save(picture)
            yield Copy(exports[name] / made.files()[generated], picture, distance)


def audits_of(
    compared: Mapping[str, Comparison],
    generators: Mapping[str, TrainedRun],
    exports: Mapping[str, Path],
    data: ImageData,
    cache: str,
) -> dict[str, Audit]:
    """What the exports give away of the patients that their generators learned from, by name.

    Without those where an audit is not possible, as without patients held out.
    """
    audits = {}
    for name, one in compared.items():
        made = read_synthetic(str(exports[name]), data.description, cache)
        with suppress(UserError):
            audits[name] = Audit.of(one, made, data.description.channels, Judge.of(generators[name]))
    return audits


def facts_of(
    left_out: Mapping[str, LeftOut], compared: Mapping[str, Comparison], audits: Mapping[str, Audit]
) -> dict[str, Any]:
    """For ``study.json``: what was left out of the exports, the measure of a copy, and what the exports give away."""
    return {
        "exports": {name: {"kept": one.kept, "left_out": dict(one.reasons)} for name, one in left_out.items()},
        "held_out_distances": {name: one.calibration.facts() for name, one in compared.items()},
        "audits": {name: as_json(one) for name, one in audits.items()},
    }
