"""Decodes a list of image files, in parallel, into the arrays of a store."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from src.core.errors import UserError
from src.data import decode
from src.data.decode import DECODER_VERSION, BadFile
from src.data.listing import Sample
from src.data.mask_reduction import resize_mask
from src.data.store import FORMAT, create_array

Result = TypeVar("Result")

PERCENTILES = (0.1, 99.9)  # of 16-bit values: those outside become black and white
UNLIKE = 8  # one window leaves a 16-bit image nearly black where another is brighter by more than this factor
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


@dataclass(frozen=True)
class _Decoded:
    """What decoding one image told about it; its pixels are on disk already."""

    size: tuple[int, int]  # width, height of the file in pixels
    grey: bool
    deep: bool  # 16 bits
    maximum: int  # of its pixels
    lost: int  # masks outside of the frame that data.fit=crop keeps
    digest: bytes  # of the pixels of the file


@dataclass
class Builder:
    """Builds the store of ``samples``, whose labels (int) index ``classes``.

    ``build`` writes the files that ``Store.open_or_build`` asks for. The meta data: ``classes``, ``files`` (by row),
    ``skipped`` (file → reason), ``window`` (low and high of 16-bit values), ``notes`` and ``warnings`` (lines for the
    log) and ``copies`` (lists of rows whose files hold the same pixels).
    """

    samples: Sequence[Sample]
    labels: Sequence[int]
    classes: tuple[str, ...]
    settings: DecodeSettings
    workers: int
    skipped: dict[int, str] = field(default_factory=dict, init=False)  # sample → reason
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(65536, np.int64), init=False)  # of 16-bit values
    lock: Lock = field(default_factory=Lock, init=False)  # for the histogram, which all threads add to

    def key(self) -> str:
        """Fingerprint of the decoder, the files (path, size, time of change) and settings; splits are no part of it."""
        files = [
            (sample.file, label, *(_stamp(path) for path in (sample.image, *sample.masks)))
            for sample, label in zip(self.samples, self.labels, strict=True)
        ]
        text = json.dumps([FORMAT, DECODER_VERSION, astuple(self.settings), self.classes, files])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def build(self, folder: Path) -> dict[str, Any]:
        """Write images, labels and masks into ``folder``, return the meta data. Raises UserError for bad files."""
        self.skipped.clear()
        self.histogram[:] = 0
        self._check_masks()
        headers = dict(self._each(self._header, range(len(self.samples)), "Reading headers"))
        wanted, frame, names = self.settings.channels, self.settings.frame, self.settings.mask_folders
        channels = wanted or (3 if any(header.colour for header in headers.values()) else 1)
        dtype = np.uint16 if any(header.deep for header in headers.values()) else np.uint8
        shape = (max(len(self.samples), 1), channels, *frame)
        images = create_array(folder / "decoded.npy", dtype, shape)
        masks = create_array(folder / "decoded_masks.npy", np.uint8, (shape[0], len(names), *frame))
        decoded = dict(self._each(lambda row: self._decode(row, images, masks), list(headers), "Decoding images"))
        if not decoded:
            reason = next(iter(self.skipped.values()))
            raise UserError(f"none of the {len(self.samples)} images can be used, the first because: {reason}")

        rows = np.array(list(decoded))
        if wanted is None and all(image.grey for image in decoded.values()):
            channels = 1
        deep = np.array([image.deep for image in decoded.values()])
        window = self._window() if deep.any() else None
        if window is None and self.settings.window is not None:
            raise UserError("data.window is for 16-bit images, these have 8 bits: set it to null")
        _write_images(folder / "images.npy", images[:, :channels], rows, deep, window)
        if names:
            _write_rows(folder / "masks.npy", masks, rows)
        np.save(folder / "labels.npy", np.asarray(self.labels, np.int64)[rows])
        for name in ("decoded.npy", "decoded_masks.npy"):
            (folder / name).unlink()
        return {
            "classes": self.classes,
            "files": [self.samples[row].file for row in decoded],
            "skipped": {self.samples[row].file: reason for row, reason in self.skipped.items()},
            "window": window,
            "notes": self._notes(list(decoded.values()), window),
            "warnings": self._warnings(decoded),
            "copies": _copies([image.digest for image in decoded.values()]),
        }

    def _check_masks(self) -> None:
        without = [row for row, sample in enumerate(self.samples) if None in sample.masks]
        for row in without:
            sample = self.samples[row]
            folder = self.settings.mask_folders[sample.masks.index(None)][1]
            self.skipped[row] = f"{sample.file} has no mask in the folder {folder!r}"
        if without and self.settings.on_error == "fail":
            raise UserError(
                f"{self.skipped[without[0]]} ({len(without)} of {len(self.samples)} images are without): "
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

    def _header(self, row: int) -> decode.Header:
        return decode.read_header(self.samples[row].image)

    def _decode(self, row: int, images: np.ndarray, masks: np.ndarray) -> _Decoded:
        sample, settings = self.samples[row], self.settings
        image = decode.read_image(sample.image)
        height, width = image.shape[:2]
        lost = 0
        for channel, path in enumerate(path for path in sample.masks if path is not None):
            mask = decode.read_mask(path)
            if mask.shape != (height, width):
                size = f"{mask.shape[1]}x{mask.shape[0]}"
                raise BadFile(f"mask {path} is of {size} pixels, its image {sample.file} of {width}x{height}")
            masks[row, channel] = decode.fit_frame(mask, settings.frame, settings.fit, resize_mask)
            lost += bool(mask.any() and not masks[row, channel].any())
        fitted = decode.fit_frame(image, settings.frame, settings.fit)
        images[row] = decode.to_channels(fitted, images.shape[1])
        deep = image.dtype == np.uint16
        if deep:
            counts = np.bincount(image.ravel(), minlength=65536)
            with self.lock:
                self.histogram += counts
        digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
        return _Decoded((width, height), decode.is_grey(image), deep, int(image.max()), lost, digest)

    def _window(self) -> tuple[float, float]:
        """The 16-bit values that become 0 and 65535.

        Percentiles are those of all images, not of the training split: so arrays do not depend on how they are split.
        """
        if self.settings.window is not None:
            return self.settings.window
        share = np.cumsum(self.histogram)
        low, high = (float(np.searchsorted(share, share[-1] * p / 100)) for p in PERCENTILES)
        return low, max(high, low + 1)

    def _notes(self, decoded: Sequence[_Decoded], window: tuple[float, float] | None) -> list[str]:
        notes = []
        high, wide = self.settings.frame
        sizes = Counter(image.size for image in decoded if image.size[0] * high != image.size[1] * wide)
        if sizes:
            common = ", ".join(f"{count} of {w}x{h}" for (w, h), count in sizes.most_common(3))
            more = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
            shape = "square" if high == wide else f"of {wide}:{high}"
            done = {"pad": "padded with black", "crop": "cropped to their centre"}[self.settings.fit]
            notes.append(f"{sizes.total()} of {len(decoded)} images are not {shape} ({common}{more}): {done}")
        if lost := sum(image.lost for image in decoded):
            notes.append(f"{lost} masks are empty after {self.settings.fit} to {max(self.settings.frame)} pixels")
        if window is not None:
            notes.append(f"16-bit values from {window[0]:g} to {window[1]:g} are scaled to the whole range")
        return notes

    def _warnings(self, decoded: Mapping[int, _Decoded]) -> list[str]:
        maxima = {row: image.maximum for row, image in decoded.items() if image.deep and image.maximum}
        if not maxima or self.settings.window is not None:
            return []
        low, high = min(maxima, key=maxima.__getitem__), max(maxima, key=maxima.__getitem__)
        if maxima[high] <= UNLIKE * maxima[low]:
            return []
        ends = " to ".join(f"{maxima[row]} ({self.samples[row].file})" for row in (low, high))
        return [
            f"the maxima of the 16-bit images go from {ends}, and one window serves all: the darkest become nearly "
            "black; scale the files alike, or set data.window=[low, high]"
        ]


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


def _stamp(path: Path | None) -> tuple[str, int, int] | None:
    if path is None:
        return None
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns
