"""A user's own images, with their classes and masks, decoded once into a store."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.core.errors import UserError
from src.data.base import ImageData
from src.data.build import Builder, DecodeSettings
from src.data.class_names import match_classes
from src.data.decode import require_readers
from src.data.description import Description, image_size
from src.data.duplicates import crossing_copies, drop_duplicates, refuse_duplicates
from src.data.grouping import check_fractions, match_groups, number_groups, read_column, split_rows
from src.data.listing import Sample, list_samples
from src.data.store import Split, Store

logger = logging.getLogger(__name__)


class FolderData(ImageData):
    """Images of a folder: flat, one sub-folder per class, or beside mask folders of equal file stems.

    ``conf/data/folder.yaml`` describes every argument. Stored are uint8 images of one size, or uint16 where any
    file has 16 bits; those are windowed so that they use the whole range. A group of images never crosses splits.
    Nothing is written below ``root``.

    Raises:
        UserError: an option that does not fit the folder; an empty or missing folder; and, unless
            ``on_error="skip"``, an image that cannot be read, has no mask, or a mask of another size.
    """

    def __init__(
        self,
        root: str | None,
        cache: str,
        resolution: int,
        name: str = "folder",
        images: str | None = None,
        mask_folders: Mapping[str, str] | None = None,
        classes: Sequence[str] | None = None,
        labels_csv: str | None = None,
        label_column: str = "class",
        file_column: str = "file",
        class_patterns: Mapping[str, str] | None = None,
        channels: int | None = None,
        aspect: Sequence[int] = (1, 1),
        fit: str = "pad",
        window: Sequence[float] | None = None,
        splits: Mapping[str, float] | None = None,
        split_folders: Mapping[str, str] | None = None,
        split_by: str = "random",
        group: str | None = None,
        group_csv: str | None = None,
        group_column: str = "group",
        group_starts: Sequence[int] | None = None,
        seed: int = 0,
        on_error: str = "fail",
        duplicates: str = "keep",
        balance: bool = False,
        origin: str | None = None,
        workers: int | None = None,
    ) -> None:
        super().__init__()
        if not root:
            raise UserError("data.root is missing: give the folder that holds the images, data.root=/path/to/images")
        _one_of("fit", fit, ("pad", "crop"))
        _one_of("split_by", split_by, ("random", "order"))
        _one_of("on_error", on_error, ("fail", "skip"))
        _one_of("duplicates", duplicates, ("keep", "drop", "refuse"))
        _one_of("channels", channels, (None, 1, 3))
        if window is not None and not (len(window) == 2 and 0 <= window[0] < window[1]):
            raise UserError(f"data.window={list(window)} must be [low, high] with 0 <= low < high")
        named = {"group": group, "group_csv": group_csv, "group_starts": group_starts}
        if len(given := [f"data.{key}" for key, value in named.items() if value is not None]) > 1:
            raise UserError(f"{' and '.join(given)} both name the groups: set one of them to null")
        self.name, self.root, self.cache = name, Path(root).expanduser(), Path(cache).expanduser()
        self.images, self.mask_folders = images, dict(mask_folders or {})
        self.classes = None if classes is None else tuple(classes)
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise UserError(f"data.classes={list(self.classes)} names one twice: remove the repetition")
        self.labels_csv, self.label_column, self.file_column = labels_csv, label_column, file_column
        self.class_patterns = class_patterns and dict(class_patterns)
        self.duplicates, self.balance, self.origin = duplicates, balance, origin
        self.fractions = {"train": 0.7, "val": 0.1, "test": 0.2} if splits is None else dict(splits)
        self.split_folders = None if split_folders is None else dict(split_folders)
        self.split_by, self.seed, self.aspect = split_by, seed, (aspect[0], aspect[1])
        self.group, self.group_csv, self.group_column = group, group_csv, group_column
        self.group_starts = group_starts and tuple(group_starts)
        self.workers = workers or os.cpu_count() or 1
        self.settings = DecodeSettings(
            frame=image_size(resolution, aspect),
            channels=channels,
            fit=fit,
            window=None if window is None else (float(window[0]), float(window[1])),
            mask_folders=tuple(self.mask_folders.items()),
            on_error=on_error,
        )
        if self.split_folders is None:
            check_fractions(self.fractions)
        self.crossing_copies = ""  # images with equal pixels in two splits, in words, once it is prepared
        self._store: Store | None = None
        self._splits: dict[str, Split] = {}

    @property
    def description(self) -> Description:
        store = self._prepared()
        channels, *size = store.images.shape[1:]
        return Description(channels, max(size), tuple(store.meta["classes"]), tuple(self.mask_folders), self.aspect)

    @property
    def splits(self) -> dict[str, Split]:
        self._prepared()
        return self._splits

    def prepare(self) -> None:
        self._prepared()

    def _prepared(self) -> Store:
        if self._store is None:
            classes = None if self.labels_csv else self.classes  # sub-folders are classes only without a table
            if self.origin and not self.root.is_dir():
                raise UserError(
                    f"{self.name} is not in {self.root}: get it from {self.origin}, and put it there or set data.root"
                )
            patterns = None if self.labels_csv else self.class_patterns
            samples = list_samples(self.root, self.images, self.mask_folders, classes, self.split_folders, patterns)
            samples, names, labels = self._labelled(samples)
            require_readers([sample.image for sample in samples])
            builder = Builder(samples, labels, names, self.settings, self.workers)
            store = Store.open_or_build(self.cache / f"{self.name}-{builder.key()}", builder.build)
            cases = self._groups(store.meta["files"])
            rows = self._rows(store, samples, cases or store.meta["files"])
            self._splits = {
                name: Split(store, own, cases and [cases[row] for row in own]) for name, own in rows.items()
            }
            if cases is None and len(rows) > 1:
                logger.warning(
                    "%s: each image counts as a case of its own: set data.group if several show one patient", self.name
                )
            if lacking := _lacking_classes(store, rows):
                logger.warning("%s: %s: add images, or try another data.seed or data.splits", self.name, lacking)
            self.crossing_copies = crossing_copies(store, rows)
            if self.crossing_copies:
                way_out = "remove all but one, or results are too good (data.duplicates=drop leaves them out)"
                logger.warning("%s: %s: %s", self.name, self.crossing_copies, way_out)
            for note in store.meta["notes"]:
                logger.info("%s: %s", self.name, note)
            for warning in store.meta.get("warnings", ()):  # older stores have none
                logger.warning("%s: %s", self.name, warning)
            self.left_out |= store.meta["skipped"]
            if skipped := list(store.meta["skipped"].values()):
                logger.warning(
                    "%s: %d of %d images left out, the first: %s", self.name, len(skipped), len(samples), skipped[0]
                )
            self._store = store
        return self._store

    def _labelled(self, samples: Sequence[Sample]) -> tuple[list[Sample], tuple[str, ...], list[int]]:
        """The samples of the classes asked for, the names of the classes and the label of each sample."""
        names: Sequence[str | None] = [sample.label for sample in samples]
        if self.labels_csv is not None:
            files = [sample.file for sample in samples]
            names = self._in_table(files, [sample.label for sample in samples])
        found = sorted({name for name in names if name is not None})
        classes = tuple(found) if self.classes is None else self.classes
        for name in classes:
            if name not in found:
                where = "data.labels_csv has" if self.labels_csv else "data.class_patterns find"
                raise UserError(f"data.classes names {name!r}, but {where} only {', '.join(found)}")
        index: dict[Any, int] = {name: label for label, name in enumerate(classes)} or {None: 0}
        kept = [(sample, index[name]) for sample, name in zip(samples, names, strict=True) if name in index]
        return [sample for sample, _ in kept], classes, [label for _, label in kept]

    def _in_table(self, files: Sequence[str], folders: Sequence[str | None]) -> list[str]:
        """The class of each file by ``labels_csv``; its sub-folder, where that is named as a class, must agree."""
        assert self.labels_csv is not None
        names = self._column(self.labels_csv, self.label_column, files, "data.labels_csv")
        if self.class_patterns:
            meant = match_classes(dict.fromkeys(names), self.class_patterns, str(self.root / self.labels_csv))
            names = [meant[name] for name in names]
        known = set(names)
        for file, name, folder in zip(files, names, folders, strict=True):
            if folder in known and folder != name:
                raise UserError(
                    f"{file} lies in the folder {folder} and is {name} in data.labels_csv={self.labels_csv}: correct "
                    "one of them"
                )
        return names

    def _without_duplicates(self, store: Store, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.duplicates == "refuse":
            refuse_duplicates(store, rows)
        if self.duplicates != "drop":
            return rows
        kept, self.left_out = drop_duplicates(store, rows)
        for name, own in kept.items():
            if not len(own):
                raise UserError(
                    f"all images of the split {name!r} are duplicates: drop it from data.split_folders, or set "
                    "data.duplicates=keep"
                )
        if self.left_out:
            first = next(iter(self.left_out.items()))
            logger.warning(
                "%s: %d duplicates left out of %d images (left_out.csv of a run names them), the first: %s, %s",
                self.name, len(self.left_out), len(store.labels), *first,
            )  # fmt: skip
        return kept

    def _rows(self, store: Store, samples: Sequence[Sample], groups: Sequence[str]) -> dict[str, np.ndarray]:
        """The store's rows in each split."""
        files: list[str] = store.meta["files"]
        if self.split_folders is None:
            kept = self._without_duplicates(store, {"train": np.arange(len(files))})["train"]
            groups, strata = [groups[row] for row in kept], store.labels[kept].tolist()
            rows = split_rows(groups, strata, self.fractions, self.split_by, self.seed)
            return {name: kept[own] for name, own in rows.items()}
        split_of = {sample.file: sample.split for sample in samples}
        home: dict[str, str | None] = {}
        for group, file in zip(groups, files, strict=True):
            if home.setdefault(group, split_of[file]) != split_of[file]:
                raise UserError(
                    f"the group {group!r} is in the splits {home[group]} and {split_of[file]}: set data.group=null to "
                    "take the folders as they are, or divide one of them anew with data.root and data.splits"
                )
        owner = np.array([split_of[file] for file in files])
        rows = {name: np.flatnonzero(owner == name) for name in self.split_folders}
        for name, own in rows.items():
            if not len(own):
                raise UserError(f"no image of the split {name!r} can be used: drop it from data.split_folders")
        return self._without_duplicates(store, rows)

    def _groups(self, files: Sequence[str]) -> list[str] | None:
        """The case of each file, None where no option names them."""
        if self.group_csv is not None:
            return self._column(self.group_csv, self.group_column, files, "data.group_csv")
        if self.group_starts is not None:
            return number_groups(files, self.group_starts)
        return None if self.group is None else match_groups(files, self.group)

    def _column(self, table: str, column: str, files: Sequence[str], option: str) -> list[str]:
        values = read_column(self.root / table, column, files, option, self.file_column)
        for file, value in zip(files, values, strict=True):
            if not value.strip():
                raise UserError(f"{option}: {self.root / table} has no {column} for {file}: fill in its row")
        return values


def _lacking_classes(store: Store, rows: Mapping[str, np.ndarray]) -> str:
    """The classes of which a split has no image, in words."""
    classes: Sequence[str] = store.meta["classes"]
    texts = []
    for split, own in rows.items():
        present = set(store.labels[own].tolist())
        if absent := [name for label, name in enumerate(classes) if label not in present]:
            texts.append(f"{split} has no image of {', '.join(absent)}")
    return "; ".join(texts)


def _one_of(option: str, value: object, allowed: Sequence[object]) -> None:
    if value not in allowed:
        raise UserError(f"data.{option}={value} must be one of {', '.join(map(str, allowed))}")
