"""The training images of a downstream model: some real ones, some synthetic ones, or both."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from src.core.errors import UserError
from src.data.base import ImageData
from src.data.description import Description
from src.data.folder import FolderData
from src.data.formats import is_readable, readable_suffixes
from src.data.provenance import TrainingRecord
from src.data.store import UNKNOWN, Split, Store
from src.data.tables import read_column

log = logging.getLogger(__name__)


def training_images(
    data: ImageData,
    real_fraction: float,
    synthetic: str | Sequence[str] | None,
    ratio: float | None,
    seed: int,
    cache: str,
) -> Split:
    """What ``training`` in conf/train.yaml asks for.

    Args:
        data: prepared; what is synthetic joins its training split.
        real_fraction: share of the training cases to keep; a smaller share is part of every larger one.
        synthetic: folder that src.generate wrote, or several, None for real images alone.
        ratio: synthetic images per real one, of several folders by their sizes; None: as many as there are.
        seed: chooses the cases.

    Raises:
        UserError: a share outside [0, 1] or without any image; synthetic images that are too few, do not fit, or are of
            a generator that learned from images of another split than train.
    """
    real = real_images(data, real_fraction, seed)
    folders = folders_of(synthetic)
    if not folders and ratio is not None:
        raise UserError(f"training.ratio={ratio:g} needs synthetic images: training.synthetic=<export>")
    if not folders:
        if not len(real):
            raise UserError("training.real_fraction=0 leaves no image: raise it, or name training.synthetic")
        return real
    added = [read_synthetic(folder, data.description, cache) for folder in folders]
    for folder in folders:
        if (record := export_record(folder)) is not None:
            record.check(data, f"the generator of training.synthetic={folder}")
        else:
            log.warning(
                f"{folder} does not say what its generator learned from: that it saw no test image is unchecked"
            )
    if ratio is not None:
        added = _share(added, round(ratio * len(real)), f"training.ratio={ratio:g}", ", ".join(folders))
    return reduce(concatenate, added, real)


def folders_of(synthetic: str | Sequence[str] | None) -> list[str]:
    """``training.synthetic`` as a list. Raises UserError where it names a folder twice."""
    folders = [] if synthetic is None else [synthetic] if isinstance(synthetic, str) else [*synthetic]
    if len({Path(folder).resolve() for folder in folders}) < len(folders):
        raise UserError(f"training.synthetic={folders} names a folder twice: its images would weigh double")
    return folders


def _share(exports: Sequence[Split], wanted: int, ratio: str, names: str) -> list[Split]:
    """The first images of each, as many as its size lets expect, together ``wanted``."""
    sizes = [len(split) for split in exports]
    if wanted > sum(sizes):
        raise UserError(
            f"{ratio} needs {wanted} synthetic images, {names} has {sum(sizes)}: generate more, or lower the ratio"
        )
    ends = [round(wanted * end / sum(sizes)) for end in accumulate(sizes, initial=0)]
    return [split.take(np.arange(end - start)) for split, (start, end) in zip(exports, pairwise(ends), strict=True)]


def real_images(data: ImageData, fraction: float, seed: int) -> Split:
    """Those of a share of the training cases. Raises UserError where it is outside [0, 1]."""
    if not 0 <= fraction <= 1:
        raise UserError(f"training.real_fraction={fraction} must be from 0 to 1")
    split = data.split("train")
    return take_fraction(split, fraction, seed) if fraction else split.take(np.arange(0))


def training_record(
    data: ImageData, real_fraction: float, synthetic: str | Sequence[str] | None, seed: int
) -> TrainingRecord | None:
    """The real images behind ``training_images``, also those that synthetic ones were made from; None: not known."""
    record = TrainingRecord.of(data, real_images(data, real_fraction, seed))
    for folder in folders_of(synthetic):
        behind = export_record(folder)
        if behind is None:
            return None
        record |= behind
    return record


def take_fraction(split: Split, fraction: float, seed: int) -> Split:
    """The images of a share of the cases, at least one case, chosen by a hash of seed and case."""
    names = split.cases_or_files()
    ranked = sorted(set(names), key=lambda case: hashlib.sha256(f"{seed}:{case}".encode()).digest())
    kept = set(ranked[: max(1, math.ceil(fraction * len(ranked) - 1e-9))])
    return split.take(np.flatnonzero([name in kept for name in names]))


def read_synthetic(folder: str, description: Description, cache: str) -> Split:
    """All images of a folder that src.generate wrote, with the masks that ``description`` names.

    Their classes are those of its manifest, where that has one of ``description``, else ``UNKNOWN``.
    """
    root = Path(folder)
    if not (root / "images").is_dir():
        raise UserError(f"training.synthetic={folder} has no folder images: give one that src.generate wrote")
    if _card(root).get("complete") is False:
        raise UserError(f"{folder} is not complete: repeat the src.generate command that writes it, it goes on")
    refuse_other_units(root)
    found = next((path for path in sorted((root / "images").rglob("*")) if path.is_file() and is_readable(path)), None)
    if found is None:
        raise UserError(
            f"training.synthetic={folder} has no images that a training reads ({', '.join(readable_suffixes())}): "
            "export them again with format=png"
        )
    data = FolderData(
        root=folder,
        cache=cache,
        name="synthetic",
        images="images",
        layout="flat" if found.parent == root / "images" else "class",
        mask_folders={name: f"masks/{name}" for name in description.masks},
        resolution=description.resolution,
        channels=description.channels,
        aspect=description.aspect,
        window=_window(root),
        splits={"train": 1.0},
        questions=False,
    )
    split = data.split("train")
    if len(description.classes) < 2:
        return split
    labels = {name: label for label, name in enumerate(description.classes)}
    named = read_column(root / "manifest.csv", "class", split.store.meta["files"], "training.synthetic")
    store = replace(split.store, labels=np.array([labels.get(name, UNKNOWN) for name in named]))
    return replace(split, store=store)


def export_record(folder: str) -> TrainingRecord | None:
    """The images that the generator of an export learned from; None where it does not say."""
    images = _card(Path(folder)).get("training_images")
    return None if images is None else TrainingRecord(frozenset(images))


def refuse_other_units(export: Path) -> None:
    """Raise UserError where what src.generate wrote there are values, not pixels on the scale of the generator's."""
    if _card(export).get("units") == "original":
        raise UserError(f"{export} is in the units of the real files: export it again with units=pixels")


def _card(export: Path) -> dict[str, Any]:
    path = export / "dataset.json"
    try:
        return dict(json.loads(path.read_text())) if path.exists() else {}
    except (ValueError, TypeError) as problem:
        raise UserError(f"{path} is damaged: restore it, or delete {export} and export it anew") from problem


def _window(export: Path) -> tuple[int, int] | None:
    """The whole range for images of 16 bits: they were made in the range of the real ones, stretched already."""
    return (0, 65535) if _card(export).get("bits") == 16 else None


def concatenate(one: Split, other: Split) -> Split:
    """The images of both, held in memory."""
    images, labels, masks = (
        [getattr(part.store, name) for part in (one, other)] for name in ("images", "labels", "masks")
    )
    if images[0].dtype != images[1].dtype:
        bits = 8 * images[0].dtype.itemsize
        raise UserError(f"the real images have {bits} bits, the synthetic ones do not: export them with bits={bits}")
    store = Store(
        np.concatenate([images[0][one.rows], images[1][other.rows]]),
        np.concatenate([labels[0][one.rows], labels[1][other.rows]]),
        None if masks[0] is None else np.concatenate([masks[0][one.rows], masks[1][other.rows]]),
        {"files": [*one.files(), *other.files()]},
    )
    return Split(store, np.arange(len(store.labels)), [*one.cases_or_files(), *other.cases_or_files()])
