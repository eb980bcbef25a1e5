"""A user's own images, with their classes and masks, decoded once into a store."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.core.errors import UserError
from src.core.processes import threads
from src.data.base import ImageData
from src.data.build import Builder
from src.data.description import Description, image_size
from src.data.division import Division
from src.data.duplicates import crossing_copies
from src.data.file_decoder import DecodeSettings
from src.data.formats import require_packages
from src.data.formats.base import Reading
from src.data.formats.values import HU_OFFSET, TOP, WINDOWS
from src.data.grouping import check_fractions
from src.data.labelling import Labelling, Labels
from src.data.listing import LAYOUTS, Listing, Sample, list_samples
from src.data.masks import LabelMap
from src.data.scale import Scale
from src.data.store import Split, Store
from src.data.summary import passed_over, summarise
from src.data.tables import Tables

logger = logging.getLogger(__name__)


class Listed(NamedTuple):
    """What a folder holds."""

    listing: Listing
    samples: list[Sample]  # those of the classes that are wanted
    classes: tuple[str, ...]
    labels: Labels  # of each sample


class FolderData(ImageData):
    """Images of a folder: flat, one sub-folder per class, or beside mask folders of equal file stems.

    ``conf/data/folder.yaml`` describes every argument but ``questions``: False takes images and masks as they are,
    also where they look wrong, as those of an export may. Stored are uint8 images of one size, or uint16 where any
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
        mask_labels: Mapping[str, int | str | Sequence[int | str]] | None = None,
        unnamed_labels: str = "fail",
        instances: str = "joined",
        inverted_masks: Sequence[str] | None = None,
        layout: str = "auto",
        classes: Sequence[str] | None = None,
        similar_classes: str | None = None,
        labels_csv: str | None = None,
        label_column: str = "class",
        csv_columns: Mapping[str, str] | None = None,
        csv_encoding: str | None = None,
        class_patterns: Mapping[str, str] | None = None,
        alpha: str | None = None,
        channel: int | None = None,
        values: str | None = None,
        array: str | None = None,
        volumes: bool | None = None,
        slices: str = "all",
        slice_axis: str = "axial",
        slice_step: int = 1,
        channels: int | None = None,
        aspect: Sequence[int] = (1, 1),
        fit: str = "pad",
        window: Sequence[float] | str | None = None,
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
        questions: bool = True,
    ) -> None:
        super().__init__()
        if not root:
            raise UserError("data.root is missing: give the folder that holds the images, data.root=/path/to/images")
        _one_of("fit", fit, ("pad", "crop"))
        _one_of("split_by", split_by, ("random", "order"))
        _one_of("on_error", on_error, ("fail", "skip"))
        _one_of("channels", channels, (None, 1, 3))
        _one_of("duplicates", duplicates, ("keep", "drop", "refuse"))
        _one_of("instances", instances, ("joined", "separated"))
        _one_of("layout", layout, LAYOUTS)
        _one_of("alpha", alpha, (None, "drop", "black", "white"))
        _one_of("similar_classes", similar_classes, (None, "join", "keep"))
        _one_of("unnamed_labels", unnamed_labels, ("fail", "ignore"))
        _one_of("values", values, (None, "stored", "hounsfield", "rescaled", "displayed", "percentile", "zscore"))
        _one_of("slices", slices, ("all", "masked"))
        _one_of("slice_axis", slice_axis, ("axial", "coronal", "sagittal"))
        if isinstance(window, str):
            _one_of("window", window, tuple(WINDOWS))
            values, window = values or "hounsfield", [edge + HU_OFFSET for edge in WINDOWS[window]]
        if window is not None and not (len(window) == 2 and window[0] < window[1]):
            raise UserError(f"data.window={list(window)} must be [low, high] with low < high")
        edges = None if window is None else (float(window[0]), float(window[1]))
        if slices == "masked" and not mask_folders:
            raise UserError("data.slices=masked takes the slices with a structure: name their masks, data.mask_folders")
        named = {"group": group, "group_csv": group_csv, "group_starts": group_starts}
        if len(given := [f"data.{key}" for key, value in named.items() if value is not None]) > 1:
            raise UserError(f"{' and '.join(given)} both name the groups: set one of them to null")
        self.name, self.root, self.cache = name, Path(root).expanduser(), Path(cache).expanduser()
        self.images, self.mask_folders = images, None if mask_folders is None else dict(mask_folders)
        if mask_labels and len(mask_folders or {}) != 1:
            raise UserError(
                "data.mask_labels says what the values of one kind of mask files mean: name their folder as the only "
                "one, data.mask_folders='{labels: <folder>}'"
            )
        self.layout, self.balance, self.origin = layout, balance, origin
        self.classes = tuple(classes) if classes else None  # a run without any keeps []
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise UserError(f"data.classes={list(self.classes)} names one twice: remove the repetition")
        self.labels_csv, self.label_column = labels_csv, label_column
        self.labelling = Labelling(self.root, self.classes, class_patterns, similar_classes, labels_csv, questions)
        self.split_folders = None if split_folders is None else dict(split_folders)
        self.division = Division(
            name,
            Tables(self.root, dict(csv_columns or {}), csv_encoding),
            {"train": 0.7, "val": 0.1, "test": 0.2} if splits is None else dict(splits),
            split_by,
            seed,
            group,
            group_csv,
            group_column,
            group_starts and tuple(group_starts),
            duplicates,
        )
        self.aspect = (aspect[0], aspect[1])
        self.workers = workers or threads()
        self.settings = DecodeSettings(
            frame=image_size(resolution, aspect),
            channels=channels,
            fit=fit,
            window=(0.0, float(TOP)) if values == "rescaled" else edges,
            mask_folders=tuple((self.mask_folders or {}).items()),
            on_error=on_error,
            reading=Reading(alpha, channel, slice_axis, values, edges if values == "rescaled" else None, array=array),
            volumes=volumes,
            slices=slices,
            slice_step=slice_step,
            mask_labels=LabelMap.of(mask_labels, unnamed_labels == "ignore") if mask_labels else None,
            instances=instances == "separated",
            inverted_masks=None if inverted_masks is None else tuple(inverted_masks),
            no_masks=self.mask_folders == {},
            questions=questions,
        )
        if mask_labels and inverted_masks:
            raise UserError("data.inverted_masks is for masks of one structure: data.mask_labels names values instead")
        for mask in inverted_masks or ():
            _one_of("inverted_masks", mask, self.settings.mask_names)
        if self.split_folders is None:
            check_fractions(self.division.fractions)
        self.crossing_copies = ""  # images with equal pixels in two splits, in words, once it is prepared
        self._paths: dict[str, Path] = {}  # by the name of a file of one image or several
        self._store: Store | None = None
        self._splits: dict[str, Split] = {}

    @staticmethod
    def as_before(settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a run that was made before folders were doubted, completed so that they are read as then."""
        before = {"questions": False, "alpha": "drop", "similar_classes": "keep"}
        return dict(settings) if "layout" in settings else {**before, **settings}

    @property
    def description(self) -> Description:
        store = self._prepared()
        channels, *size = store.images.shape[1:]
        return Description(channels, max(size), tuple(store.meta["classes"]), self.settings.mask_names, self.aspect)

    @property
    def scale(self) -> Scale:
        return Scale(**self._prepared().meta["scale"])

    @property
    def splits(self) -> dict[str, Split]:
        self._prepared()
        return self._splits

    def prepare(self) -> None:
        self._prepared()

    def _prepared(self) -> Store:
        if self._store is None:
            listing, samples, names, labels = self.listed()
            self._paths = {sample.file: sample.image for sample in samples}
            builder = Builder(samples, labels, names, self.settings, self.workers, listing.unpaired, listing.missing)
            store = Store.open_or_build(self.cache / f"{self.name}-{builder.key()}", builder.build, resumable=True)
            self._splits = self.divided(store, samples)
            rows = {name: split.rows for name, split in self._splits.items()}
            if len(rows) > 1 and any(split.cases is None for split in self._splits.values()):
                logger.warning(
                    "%s: each image counts as a case of its own: set data.group if several show one patient", self.name
                )
            if lacking := lacking_classes(store, rows):
                logger.warning("%s: %s: add images, or try another data.seed or data.splits", self.name, lacking)
            self.crossing_copies = crossing_copies(store, rows)
            if self.crossing_copies:
                way_out = "remove all but one, or results are too good (data.duplicates=drop leaves them out)"
                logger.warning("%s: %s: %s", self.name, self.crossing_copies, way_out)
            for warning in store.meta["warnings"]:
                logger.warning("%s: %s", self.name, warning)
            self.left_out |= store.meta["skipped"]
            if skipped := list(store.meta["skipped"].values()):
                logger.warning(
                    "%s: %d of %d images left out, the first: %s", self.name, len(skipped), len(samples), skipped[0]
                )
            tables = (self.labels_csv, self.division.group_csv)
            lines, warnings = passed_over(listing, self.root if self.root.is_dir() else self.root.parent, tables)
            for line in [*summarise(store, self._splits), *lines]:
                logger.info("%s: %s", self.name, line)
            for warning in warnings:
                logger.warning("%s: %s", self.name, warning)
            self._store = store
        return self._store

    def listed(self) -> Listed:
        """The images of the folder and their classes, without opening any. Raises UserError as ``prepare``."""
        if self.origin and not self.root.is_dir():
            raise UserError(
                f"{self.name} is not in {self.root}: get it from {self.origin}, and put it there or set data.root"
            )
        labelled = "table" if self.labels_csv else "patterns" if self.labelling.patterns else "folders"
        classes = self.classes if labelled == "folders" else None
        listing = list_samples(
            self.root,
            self.images,
            self.mask_folders,
            classes,
            self.split_folders,
            self.layout,
            labelled,
            self.settings.questions,
        )
        self.split_folders = dict(listing.split_folders) if listing.split_folders else None
        samples, names, labels = self.labelling.label(listing.samples, self._classes_in_table)
        require_packages([sample.image for sample in samples])
        return Listed(listing, samples, names, labels)

    def divided(self, store: Store, samples: Sequence[Sample]) -> dict[str, Split]:
        """The splits of a store of ``samples``: of it, only labels and meta data are looked at."""
        splits, self.left_out = self.division.of(store, samples, self.split_folders)
        return splits

    def _classes_in_table(self, files: Sequence[str]) -> list[str]:
        column = self.division.tables.columns.get("class", self.label_column)
        return self.division.tables.column(str(self.labels_csv), column, files, "data.labels_csv")

    def content(self, file: str) -> bytes:
        """What tells an image of ``Split.files`` from all others, however it is decoded: its file and its slice."""
        self._prepared()
        if file in self._paths:
            return self._paths[file].read_bytes()
        source, _, number = file.rpartition("#")
        part = source.rpartition(":")[2] if ":" in source else ""
        return f"{part}#{number}".encode() + _digest_of(self._paths[source])


@lru_cache(maxsize=4096)
def _digest_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def lacking_classes(store: Store, rows: Mapping[str, np.ndarray]) -> str:
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
