"""PanNuke: H&E patches of 19 tissues with the nuclei of five types, in the arrays in which it is published."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.core.errors import UserError
from src.core.processes import threads
from src.data.base import ImageData
from src.data.decode import LUMA, fit_frame
from src.data.description import Description
from src.data.grouping import check_fractions, split_rows
from src.data.mask_reduction import resize_mask
from src.data.store import FORMAT, Split, Store, create_array

logger = logging.getLogger(__name__)

TISSUES = (
    "Adrenal_gland", "Bile-duct", "Bladder", "Breast", "Cervix", "Colon", "Esophagus", "HeadNeck", "Kidney", "Liver",
    "Lung", "Ovarian", "Pancreatic", "Prostate", "Skin", "Stomach", "Testis", "Thyroid", "Uterus",
)  # fmt: skip
NUCLEI = ("neoplastic", "inflammatory", "connective", "dead", "epithelial")  # the channels of masks.npy, in order
BACKGROUND = "background"  # what is inside no nucleus: its sixth channel
LAYOUTS = ("Part {0}/Images/{1}.npy", "Fold {0}/images/fold{0}/{1}.npy")  # Kaggle's, and that of the authors
MASK_LAYOUTS = ("Part {0}/Masks/masks.npy", "Fold {0}/masks/fold{0}/masks.npy")
FOLDS = {"train": 1, "val": 2, "test": 3}
ORIGIN = (
    "warwick.ac.uk/fac/cross_fac/tia/data/pannuke, or Kaggle (andrewmvd, Cancer Instance Segmentation and "
    "Classification)"
)
CHUNK = 64  # patches read at once: 100 MB of images and 200 MB of masks in float64


@dataclass(frozen=True)
class Fold:
    """The three arrays of one fold, mapped into memory."""

    number: int
    images: np.ndarray  # (n, 256, 256, 3) in 0–255
    masks: np.ndarray  # (n, 256, 256, 6): ids of the instances of each type of nucleus, 0 outside; background
    tissues: np.ndarray  # (n,) names

    @classmethod
    def open(cls, root: Path, number: int) -> Fold | None:
        """None where it is not there. Raises UserError where an array is missing, damaged or of another shape."""
        places = [
            [root / layout.format(number, "images"), root / masks.format(number), root / layout.format(number, "types")]
            for layout, masks in zip(LAYOUTS, MASK_LAYOUTS, strict=True)
        ]
        there = next((paths for paths in places if any(path.exists() for path in paths)), None)
        if there is None:
            return None
        arrays = []
        for path in there:
            try:
                arrays.append(np.load(path, mmap_mode="r"))
            except FileNotFoundError as problem:
                raise UserError(f"fold {number} of data.root={root} is incomplete: {path} is missing") from problem
            except (OSError, ValueError) as problem:
                raise UserError(f"{path} cannot be read ({problem}): copy it anew") from problem
        images, masks, tissues = arrays
        size = images.shape[:3]
        if images.shape != (*size, 3) or masks.shape != (*size, 6) or tissues.shape != size[:1] or len(size) != 3:
            shapes = ", ".join(str(array.shape) for array in arrays)
            raise UserError(
                f"{there[0].parent} holds arrays of {shapes}: images (n, h, w, 3), masks (n, h, w, 6) and types (n,) "
                "are expected, copy them anew"
            )
        return cls(number, images, masks, tissues)

    def stamps(self, root: Path) -> list[tuple[str, int, int]]:
        """Path, size and time of change of its files."""
        paths = [Path(str(array.filename)) for array in (self.images, self.masks, self.tissues)]  # type: ignore[attr-defined]
        return [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]


class PanNukeData(ImageData):
    """Patches with a mask for each type of nucleus, inside above 0, and their tissue as class.

    ``conf/data/pannuke.yaml`` describes every argument. The arrays stay where they are, mapped into memory: they are
    read once, some patches at a time, into a store of uint8 at ``resolution``.

    Raises:
        UserError: the data set, a fold that ``folds`` names or one of its files is missing or damaged; a tissue that
            ``classes`` does not have and PanNuke neither.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        resolution: int,
        name: str = "pannuke",
        folds: Mapping[str, int | Sequence[int]] | None = None,
        splits: Mapping[str, float] | None = None,
        classes: Sequence[str] = TISSUES,
        masks: Sequence[str] = (*NUCLEI, BACKGROUND),
        channels: int = 3,
        seed: int = 0,
        balance: bool = False,
        workers: int | None = None,
    ) -> None:
        super().__init__()
        for option, given, known in (("classes", classes, TISSUES), ("masks", masks, (*NUCLEI, BACKGROUND))):
            if unknown := [each for each in given if each not in known]:
                raise UserError(f"data.{option} names {unknown[0]!r}: PanNuke has {', '.join(known)}")
            if len(set(given)) < len(given):
                raise UserError(f"data.{option}={list(given)} names one twice: remove the repetition")
        self.name, self.root, self.cache = name, Path(root).expanduser(), Path(cache).expanduser()
        self.folds = None if folds is None else {split: _numbers(value) for split, value in folds.items()}
        self.fractions = {"train": 0.7, "val": 0.1, "test": 0.2} if splits is None else dict(splits)
        check_fractions(self.fractions)
        self.seed, self.balance, self.workers = seed, balance, workers or threads()
        self._description = Description(channels, resolution, tuple(classes), tuple(masks))
        self._splits: dict[str, Split] | None = None

    @property
    def description(self) -> Description:
        return self._description

    @property
    def splits(self) -> dict[str, Split]:
        self.prepare()
        assert self._splits is not None
        return self._splits

    def prepare(self) -> None:
        if self._splits is not None:
            return
        folds = self._open_folds()
        facts = [FORMAT, 1, self._description.as_config(), [fold.stamps(self.root) for fold in folds]]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        store = Store.open_or_build(self.cache / f"{self.name}-{key}", lambda out: self._build(out, folds))
        owner = np.array(store.meta["folds"])
        divided = self.folds or (FOLDS if {fold.number for fold in folds} == set(FOLDS.values()) else None)
        if divided is None:
            files: list[str] = store.meta["files"]
            rows = split_rows(files, store.labels.tolist(), self.fractions, "random", self.seed)
            logger.warning(
                "%s: of its three folds only %s there: their images are divided by data.splits", self.name,
                " and ".join(str(fold.number) for fold in folds) + (" is" if len(folds) == 1 else " are"),
            )  # fmt: skip
        else:
            rows = {split: np.flatnonzero(np.isin(owner, number)) for split, number in divided.items()}
        for split, own in rows.items():
            if not len(own):
                raise UserError(
                    f"no image of the split {split!r} is of data.classes: add classes, or change data.folds"
                )
        present = {self._description.classes[label] for label in np.unique(store.labels)}
        if absent := [name for name in self._description.classes if name not in present]:
            logger.warning("%s: no image is of %s", self.name, ", ".join(absent))
        self._splits = {split: Split(store, own) for split, own in rows.items()}

    def _open_folds(self) -> list[Fold]:
        wanted = sorted(set(FOLDS.values()) if self.folds is None else {n for own in self.folds.values() for n in own})
        folds = {number: Fold.open(self.root, number) for number in wanted}
        missing = [number for number, fold in folds.items() if fold is None]
        found = [fold for fold in folds.values() if fold is not None]
        if not found:
            raise UserError(
                f"{self.name} is not in {self.root} (neither {LAYOUTS[0].format(wanted[0], 'images')} nor "
                f"{LAYOUTS[1].format(wanted[0], 'images')}): get it from {ORIGIN}, and put it there or set data.root"
            )
        if missing and self.folds is not None:
            raise UserError(f"data.folds names fold {missing[0]}, which is not in data.root={self.root}: leave it out")
        return found

    def _build(self, out: Path, folds: Sequence[Fold]) -> dict[str, Any]:
        description = self._description
        kept = [np.flatnonzero(np.isin(fold.tissues, description.classes)) for fold in folds]
        for fold in folds:
            if unknown := set(fold.tissues.tolist()).difference(TISSUES):
                raise UserError(f"types.npy of fold {fold.number} names {unknown.pop()!r}, no tissue of PanNuke")
        count = sum(map(len, kept))
        if not count:
            raise UserError(f"no image in {self.root} is of data.classes={list(description.classes)}: add others")
        images = create_array(out / "images.npy", np.uint8, (count, *description.shape))
        shape = (count, len(description.masks), *description.shape[1:])
        masks = create_array(out / "masks.npy", np.uint8, shape)
        labels, files, owner = [], [], []
        row = 0
        with ThreadPoolExecutor(self.workers) as pool:
            for fold, rows in zip(folds, kept, strict=True):
                for start in range(0, len(rows), CHUNK):  # in memory at a time
                    some = rows[start : start + CHUNK]
                    for image, mask in pool.map(self._reduce, fold.images[some], fold.masks[some]):
                        images[row], masks[row] = image, mask
                        row += 1
                labels += [description.classes.index(name) for name in fold.tissues[rows].tolist()]
                files += [f"fold{fold.number}/{number:05d}" for number in rows]
                owner += [fold.number] * len(rows)
        images.flush()
        masks.flush()
        np.save(out / "labels.npy", np.array(labels, np.int64))
        return {"files": files, "folds": owner, "classes": description.classes}

    def _reduce(self, image: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A patch (h, w, 3) and its instances (h, w, 6) → (C, H, W) and (K, H, W) uint8, as they are stored."""
        frame = self._description.shape[1:]
        small = fit_frame(np.rint(image).clip(0, 255).astype(np.uint8), frame, "pad")
        if self._description.channels == 1:
            small = np.rint(small @ LUMA).astype(np.uint8)[..., None]
        nuclei = {
            name: fit_frame((ids[..., channel] > 0).astype(np.uint8), frame, "pad", resize_mask)
            for channel, name in enumerate(NUCLEI)
        }
        nuclei[BACKGROUND] = 1 - np.maximum.reduce(list(nuclei.values()))  # at any size, where no nucleus is
        masks = [nuclei[name] for name in self._description.masks]
        return small.transpose(2, 0, 1), np.stack(masks) if masks else np.empty((0, *frame), np.uint8)


def _numbers(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)
