"""Decodes a list of image files, in parallel, into the arrays of a store."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from src.core.errors import UserError
from src.data import decode, formats
from src.data.coco import Annotated
from src.data.decode import DECODER_VERSION, square_pixels
from src.data.findings import Decoded, Findings, judge
from src.data.formats.base import BadFile, Header, Reading
from src.data.instances import fit_instances
from src.data.listing import MaskFile, Sample
from src.data.mask_reduction import resize_mask
from src.data.masks import LabelMap, name_of, read_masks
from src.data.store import FORMAT, create_array

Result = TypeVar("Result")

PERCENTILES = (0.1, 99.9)  # of 16-bit values: those outside become black and white
CHUNK = 256  # images rewritten at once


@dataclass(frozen=True)
class DecodeSettings:
    """What decides on the stored arrays, beside the files. See ``conf/data/folder.yaml``."""

    frame: tuple[int, int]  # height, width in pixels
    channels: int | None
    fit: str
    window: tuple[float, float] | None
    mask_folders: tuple[tuple[str, str], ...]  # (name of the mask, sub-folder)
    on_error: str
    reading: Reading = field(default_factory=Reading)
    mask_labels: LabelMap | None = None  # of the only mask folder
    instances: bool = False  # whether those that touch are kept apart
    inverted_masks: tuple[str, ...] | None = None  # dark on white; None where that is a question
    slices: str = "all"  # of volumes: all, or masked = those with a structure
    slice_step: int = 1  # every how many slices one is taken
    no_masks: bool = False  # the user says that images of two values are images
    volumes: bool | None = None  # whether files of several images are a case each; None: as their format says
    questions: bool = True  # False: what looks wrong is taken as it is

    @property
    def mask_names(self) -> tuple[str, ...]:
        """A mask channel each."""
        return self.mask_labels.names if self.mask_labels else tuple(name for name, _ in self.mask_folders)


@dataclass
class Builder:
    """Builds the store of ``samples``, whose labels (int) index ``classes``.

    ``build`` writes the files that ``Store.open_or_build`` asks for. The meta data: ``classes``, ``files`` (by row, a
    slice of a volume as "<file>#<number>"), ``sources`` (by row, its sample's file, where files hold several slices),
    ``cases`` (by row, where files name them), ``skipped`` (file → reason), ``window`` (low and high of 16-bit values),
    ``notes`` and ``warnings`` (lines for the log) and ``copies`` (lists of rows whose files hold the same pixels).
    """

    samples: Sequence[Sample]
    labels: Sequence[int | Sequence[int | None]]  # of each file, or of each image in it: None leaves one out
    classes: tuple[str, ...]
    settings: DecodeSettings
    workers: int
    unpaired: Mapping[str, Sequence[str]] = field(default_factory=dict)  # masks of no image, by mask folder
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)  # images that only a JSON has, likewise
    skipped: dict[int, str] = field(default_factory=dict, init=False)  # sample → reason
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(65536, np.int64), init=False)  # of 16-bit values
    lock: Lock = field(default_factory=Lock, init=False)  # for the histogram, which all threads add to

    def key(self) -> str:
        """Fingerprint of the decoder, the files (path, size, time of change) and settings; splits are no part of it."""
        files = [
            (
                sample.file,
                label,
                sample.array,
                _stamp(sample.image),
                [[_stamp(path) for path in paths] for paths in sample.masks],
            )
            for sample, label in zip(self.samples, self.labels, strict=True)
        ]
        text = json.dumps([FORMAT, DECODER_VERSION, astuple(self.settings), self.classes, files])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def build(self, folder: Path) -> dict[str, Any]:
        """Write images, labels and masks into ``folder``, return the meta data. Raises UserError for bad files."""
        self.skipped.clear()
        self.histogram[:] = 0
        self.check_masks()
        headers = dict(self._each(self._header, range(len(self.samples)), "Reading headers"))
        wanted, frame, names = self.settings.channels, self.settings.frame, self.settings.mask_names
        channels = wanted or (3 if any(header.colour for header in headers.values()) else 1)
        dtype = np.uint16 if any(header.deep for header in headers.values()) else np.uint8
        for index, header in headers.items():
            self._case(index, header)
        starts, total = {}, 0
        for index, header in headers.items():
            starts[index], total = total, total + len(self._taken(index, header))
        images = create_array(folder / "decoded.npy", dtype, (max(total, 1), channels, *frame))
        masks = create_array(folder / "decoded_masks.npy", np.uint8, (max(total, 1), len(names), *frame))

        def decode_file(index: int) -> list[Decoded]:
            return list(self._decode(index, headers[index], starts[index], images, masks))

        of_files = dict(self._each(decode_file, list(headers), "Decoding images"))
        decoded = {one.row: one for several in of_files.values() for one in several}
        if not decoded:
            reason = next(iter(self.skipped.values()), "no slice has a structure (data.slices=masked)")
            raise UserError(f"none of the {len(self.samples)} images can be used, the first because: {reason}")

        rows = np.array(list(decoded))
        if wanted is None and all(image.grey for image in decoded.values()):
            channels = 1
        deep = np.array([image.deep for image in decoded.values()])
        window = self._window() if deep.any() else None
        if window is None and self.settings.window is not None:
            raise UserError("data.window is for 16-bit images, these have 8 bits: set it to null")
        found = self._judged(list(decoded.values()), window)
        _write_images(folder / "images.npy", images[:, :channels], rows, deep, window)
        if names:
            _write_rows(folder / "masks.npy", masks, rows)
        np.save(folder / "labels.npy", np.array([self._label(image) for image in decoded.values()], np.int64))
        for name in ("decoded.npy", "decoded_masks.npy"):
            (folder / name).unlink()
        return {
            "classes": self.classes,
            "files": [image.file for image in decoded.values()],
            **self._sources(list(decoded.values()), headers),
            "skipped": {self.samples[row].file: reason for row, reason in self.skipped.items()},
            "window": window,
            "notes": found.notes,
            "warnings": found.warnings,
            "facts": found.facts,
            "copies": _copies([image.digest for image in decoded.values()]),
        }

    def check_masks(self) -> None:
        """Raises UserError for images without a mask, unless they are left out."""
        for name, files in self.missing.items():
            if files and self.settings.on_error == "fail":
                raise UserError(
                    f"data.mask_folders.{name} names {len(files)} images that are not there, such as {files[0]}: put "
                    "them back, or data.on_error=skip goes on without them"
                )
        without = [row for row, sample in enumerate(self.samples) if () in sample.masks]
        for row in without:
            sample = self.samples[row]
            name, folder = self.settings.mask_folders[sample.masks.index(())]
            self.skipped[row] = f"{sample.file} has no mask in the folder {folder!r}"
        if without and self.settings.on_error == "fail":
            spare = self.unpaired.get(name)
            also = f"; {len(spare)} masks are of no image, such as {spare[0]}" if spare else ""
            raise UserError(
                f"{self.skipped[without[0]]} ({len(without)} of {len(self.samples)} images are without{also}): "
                "add a file of the same stem, or data.on_error=skip leaves them out"
            )

    def _each(self, function: Callable[[int], Result], rows: Sequence[int], title: str) -> Iterator[tuple[int, Result]]:
        """Apply ``function`` to ``rows`` in parallel; yield (row, result) in order, without those that are skipped."""

        def attempt(row: int) -> Result | BadFile:
            try:
                return function(row)
            except BadFile as error:
                if self.settings.on_error == "fail":
                    raise UserError(f"{error}; repair or remove it, or data.on_error=skip leaves it out") from error
                return error

        rows = [row for row in rows if row not in self.skipped]
        console = Console(stderr=True)
        with ThreadPoolExecutor(self.workers) as pool:
            results = pool.map(attempt, rows)
            progress = track(
                zip(rows, results, strict=True), title, len(rows), console=console, transient=True,
                disable=not sys.stderr.isatty(),
            )  # fmt: skip
            for row, result in progress:
                if isinstance(result, BadFile):
                    self.skipped[row] = str(result)
                else:
                    yield row, result

    def _reading(self, index: int) -> Reading:
        array = self.samples[index].array
        return replace(self.settings.reading, array=array) if array else self.settings.reading

    def _header(self, index: int) -> Header:
        return formats.read_header(self.samples[index].image, self._reading(index))

    def _taken(self, index: int, header: Header) -> Sequence[int]:
        """The slices that are read, by number."""
        labels = self.labels[index]
        if not isinstance(labels, int):
            return [number for number, label in enumerate(labels) if label is not None]
        return range(0, header.slices, self.settings.slice_step) if header.slices > 1 else range(1)

    def _label(self, image: Decoded) -> int:
        labels = self.labels[image.sample]
        return labels if isinstance(labels, int) else labels[image.number] or 0

    def _decode(
        self, index: int, header: Header, start: int, images: np.ndarray, masks: np.ndarray
    ) -> Iterator[Decoded]:
        sample, settings = self.samples[index], self.settings
        several = header.slices > 1 or sample.array is not None
        rows = {number: start + place for place, number in enumerate(self._taken(index, header))}
        self._check_places(sample, header)
        stretch = (1.0, 1.0) if header.spacing is None else square_pixels(header.spacing)

        def fit_mask(plane: np.ndarray) -> np.ndarray:
            plane = decode.stretch(plane, stretch, resize_mask)
            return decode.fit_frame(plane, settings.frame, settings.fit, resize_mask)

        slices = formats.read_slices(sample.image, self._reading(index))
        for number, (image, *marked) in enumerate(zip_longest(slices, *self._masks(sample))):
            if image is None or any(mask is None for mask in marked):
                raise BadFile(f"{sample.file} and its masks hold unlike numbers of slices")
            if number not in rows:
                continue
            height, width = image.shape[:2]
            for mask, paths in zip(marked, sample.masks, strict=True):
                if mask.shape[1:] != (height, width):
                    size = f"{mask.shape[2]}x{mask.shape[1]} pixels, its image {sample.file} of {width}x{height}"
                    raise BadFile(f"mask {name_of(paths[0])} is of {size}")
            mask = np.concatenate(marked) if marked else np.zeros((0, height, width), np.uint8)
            if several and settings.slices == "masked" and not mask.any():
                continue
            row = rows[number]
            for channel, plane in enumerate(mask):
                masks[row, channel] = fit_instances(plane, fit_mask) if settings.instances else fit_mask(plane)
            fitted = decode.fit_frame(decode.stretch(image, stretch), settings.frame, settings.fit)
            images[row] = decode.to_channels(fitted, images.shape[1])
            if image.dtype == np.uint16:
                counts = np.bincount(image.ravel(), minlength=65536)
                with self.lock:
                    self.histogram += counts
            file = f"{sample.file}#{number:03d}" if several else sample.file
            yield Decoded.of(image, mask > 0, masks[row], row, index, file, number)

    def _check_places(self, sample: Sample, header: Header) -> None:
        """Raises BadFile where a volume and its labels do not lie in the same place."""
        if header.place is None:
            return
        for path in (path for paths in sample.masks for path in paths if isinstance(path, Path)):
            other = formats.read_header(path, Reading(channel=0, axis=self.settings.reading.axis))
            if other.place is not None and other.place != header.place:
                raise BadFile(
                    f"{sample.file} and its labels {path} do not lie in the same place (their affines differ): "
                    "resample one to the other"
                )

    def _masks(self, sample: Sample) -> list[Iterator[np.ndarray]]:
        inverted = self.settings.inverted_masks or ()
        return [
            read_masks(
                paths, self.settings.mask_labels, name in inverted, self.settings.reading.axis, self.settings.instances
            )
            for (name, _), paths in zip(self.settings.mask_folders, sample.masks, strict=True)
        ]

    def _sources(self, decoded: Sequence[Decoded], headers: Mapping[int, Header]) -> dict[str, Any]:
        """What rows of files with several slices, or with a patient's name, are kept with."""
        source = [image.sample for image in decoded]
        known: dict[str, Any] = {}
        if any(header.slices > 1 for header in headers.values()) or any(sample.array for sample in self.samples):
            known["sources"] = [self.samples[index].file for index in source]
        cases = {index: self._case(index, headers[index]) for index in set(source)}
        if any(cases.values()):  # a file without a case is one of its own
            known["cases"] = [cases[index] or image.file for index, image in zip(source, decoded, strict=True)]
        return known

    def _case(self, index: int, header: Header) -> str | None:
        """The patient, where the file names one, or a volume of several slices.

        Raises UserError where several images may be one volume.
        """
        sample, volumes = self.samples[index], self.settings.volumes
        if header.case is not None or header.slices == 1 or sample.array is not None:
            return header.case
        if header.volume is None and volumes is None and self.settings.questions:
            raise UserError(
                f"{sample.file} holds {header.slices} images: data.volumes=true if they are slices of one patient, "
                "data.volumes=false if each is of its own"
            )
        return sample.file if (header.volume if volumes is None else volumes) else None

    def _judged(self, decoded: Sequence[Decoded], window: tuple[float, float] | None) -> Findings:
        settings = self.settings
        return judge(
            decoded, settings.mask_names, settings.frame, settings.fit, window, settings.window is None,
            settings.inverted_masks, settings.no_masks or bool(settings.mask_folders), settings.questions,
        )  # fmt: skip

    def _window(self) -> tuple[float, float]:
        """The 16-bit values that become 0 and 65535.

        Percentiles are those of all images, not of the training split: so arrays do not depend on how they are split.
        """
        if self.settings.window is not None:
            return self.settings.window
        share = np.cumsum(self.histogram)
        low, high = (float(np.searchsorted(share, share[-1] * p / 100)) for p in PERCENTILES)
        return low, max(high, low + 1)


def _copies(digests: Sequence[bytes]) -> list[list[int]]:
    """The places of equal digests, one list for each digest that there is more than once."""
    places: dict[bytes, list[int]] = {}
    for place, digest in enumerate(digests):
        places.setdefault(digest, []).append(place)
    return [same for same in places.values() if len(same) > 1]


def _write_images(
    path: Path, decoded: np.ndarray, rows: np.ndarray, deep: np.ndarray, window: tuple[float, float] | None
) -> None:
    """Write (N, C, H, W) of ``rows``: uint8 as it is, or all as uint16, ``deep`` rows windowed to the whole range."""
    if window is None:
        return _write_rows(path, decoded, rows)
    low, high = window
    values = np.arange(65536)
    windowed = np.rint(((values - low) / (high - low)).clip(0, 1) * 65535).astype(np.uint16)
    widened = (values * 257).clip(0, 65535).astype(np.uint16)  # 255 → 65535
    images = create_array(path, np.uint16, (len(rows), *decoded.shape[1:]))
    for place, row in enumerate(rows):
        images[place] = (windowed if deep[place] else widened)[decoded[row]]
    images.flush()


def _write_rows(path: Path, array: np.ndarray, rows: np.ndarray) -> None:
    kept = create_array(path, np.uint8, (len(rows), *array.shape[1:]))
    for start in range(0, len(rows), CHUNK):
        kept[start : start + CHUNK] = array[rows[start : start + CHUNK]]
    kept.flush()


def _stamp(path: MaskFile) -> tuple[Any, ...]:
    if isinstance(path, Annotated):
        return (*_stamp(path.file), path.image)
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns
