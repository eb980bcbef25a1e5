"""The image sets that an image may be of: as many references of each, and held-out images to test on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict
from torch import Tensor

from src.command_line import overrides
from src.core.errors import UserError
from src.data.base import ImageData
from src.data.decode import LUMA
from src.data.folder import FolderData
from src.data.formats import is_readable
from src.data.store import Split

FEWEST = 5  # references of a set: with fewer nothing can be said of how they vary
NO_SETS = {"folder", "real_or_generated"}  # of conf/data: they need more than their name
REFERENCE_SHARE = 0.7  # of a folder that is not split


@dataclass(frozen=True)
class ImageSet:
    """A set's images (N, C, H, W) in [0, 1] and their files, by content in an order that no name decides."""

    name: str
    references: Tensor
    reference_files: list[str]
    held_out: Tensor
    held_out_files: list[str]


def open_sets(
    names: Sequence[str], paths: DictConfig, resolution: int, channels: int | None, references: int, held_out: int,
    seed: int,
) -> list[ImageSet]:  # fmt: skip
    """Draw the images of each set, those of all its classes alike: references of train, the others of all other splits.

    Args:
        names: of configurations in conf/data, or folders, which are divided here.
        channels: 1 (grey) or 3; None: 3 where a set has colour.
        references: of each set at most; as many as the smallest set has.
        held_out: of each set at most; none with the pixels of a reference.

    Raises:
        UserError: fewer than two sets; one that is neither, is missing, has another size, or too few images.
    """
    if len(names) < 2:
        raise UserError(f"among=[{', '.join(names)}] names one set only: give two or more to tell apart")
    named = dict(zip(names, _titles(names), strict=True))
    opened = {title: _divide(_open(name, paths, resolution), title, seed) for name, title in named.items()}
    colours = max(learned.store.images.shape[1] for learned, _ in opened.values())
    count = min(references, *(len(learned) for learned, _ in opened.values()))
    for title, (learned, rest) in opened.items():
        if len(learned) < FEWEST or not len(rest):
            raise UserError(
                f"{title} has {len(learned)} images to compare with and {len(rest)} to test on: it needs {FEWEST} and 1"
            )
        if learned.store.images.shape[2:] != (resolution, resolution):
            height, width = learned.store.images.shape[2:]
            raise UserError(
                f"the images of {title} are {width}x{height}, not resolution={resolution}: set that to theirs"
            )
    sets = []
    for title, (learned, rest) in opened.items():
        own = learned.take(np.arange(count))
        known = set(_digests(own, 0))
        rest = rest.take(np.array([i for i, d in enumerate(_digests(rest, 0)) if d not in known][:held_out], np.int64))
        images = (_pixels(part, channels or colours) for part in (own, rest))
        sets.append(ImageSet(title, next(images), own.files(), next(images), rest.files()))
    return sets


def _titles(names: Sequence[str]) -> list[str]:
    """Short and distinct: of folders their last parts."""
    short = [Path(name).name or name for name in names]
    return short if len(set(short)) == len(short) else list(names)


def _open(name: str, paths: DictConfig, resolution: int) -> ImageData:
    """A configuration of conf/data, with square images, or a folder, whose sub-folders are its classes."""
    known = sorted({path.stem for path in (overrides.CONF / "data").glob("*.yaml")} - NO_SETS)
    if name not in known:
        if not Path(name).expanduser().is_dir():
            raise UserError(f"among names {name!r}, which is no folder, nor one of conf/data: {', '.join(known)}")
        return open_folder(Path(name).expanduser(), paths.cache, resolution, duplicates="drop")
    cfg = overrides.compose("evaluate", [f"data={name}", f"resolution={resolution}"])
    with open_dict(cfg):
        cfg.paths = paths
        if "aspect" in cfg.data:
            cfg.data.aspect = [1, 1]
    data: ImageData = instantiate(cfg.data)
    data.prepare()
    return data


def open_folder(folder: Path, cache: str, resolution: int, **options: Any) -> FolderData:
    """All images of a folder, or of its sub-folders as classes; of what src.generate wrote, without the masks."""
    within = folder / "images" if (folder / "dataset.json").exists() and (folder / "images").is_dir() else folder
    flat = any(path.is_file() and is_readable(path) for path in within.iterdir())
    return FolderData(
        str(within), cache, resolution, folder.name, mask_folders={}, layout="flat" if flat else "class",
        splits={"train": 1.0}, questions=False, **options,
    )  # fmt: skip


def _divide(data: ImageData, title: str, seed: int) -> tuple[Split, Split]:
    """The training images and all others, each as ``_draw`` orders them."""
    splits = dict(data.splits)
    if "train" not in splits:
        raise UserError(f"{title} has no training images to compare with, but {', '.join(splits)}")
    learned = splits.pop("train")
    if not splits:  # divided here, by content
        drawn = _draw(learned, seed)
        first = round(REFERENCE_SHARE * len(drawn))
        return drawn.take(np.arange(first)), drawn.take(np.arange(first, len(drawn)))
    rest = replace(learned, rows=np.concatenate([split.rows for split in splits.values()]), cases=None)
    return _draw(learned, seed), _draw(rest, seed)


def _draw(split: Split, seed: int) -> Split:
    """In random order by seed and pixels, so that names and places of files matter nothing; classes take turns."""
    labels, digests = split.store.labels[split.rows], _digests(split, seed)
    turns: dict[int, list[int]] = {}
    for position in sorted(range(len(split)), key=digests.__getitem__):
        turns.setdefault(int(labels[position]), []).append(position)
    ranked = [(turn, digests[position], position) for own in turns.values() for turn, position in enumerate(own)]
    return split.take(np.array([position for _, _, position in sorted(ranked)], np.int64))


def _digests(split: Split, seed: int) -> list[bytes]:
    """Of the pixels of each image and the seed."""
    salt = str(seed).encode()
    return [hashlib.blake2b(split.store.images[row].tobytes(), key=salt, digest_size=16).digest() for row in split.rows]


def _pixels(split: Split, channels: int) -> Tensor:
    return to_unit(split.store.images[split.rows], channels)


def to_unit(stored: np.ndarray, channels: int) -> Tensor:
    """Stored pixels (N, 1 or 3, H, W) → (N, channels, H, W) float32 in [0, 1]; colour becomes luminance."""
    images = torch.from_numpy(stored.astype(np.float32) / np.iinfo(stored.dtype).max)
    if images.shape[1] == 3 and channels == 1:
        images = (images * torch.from_numpy(LUMA)[:, None, None]).sum(1, keepdim=True)
    return images.expand(-1, channels, -1, -1).contiguous()
