"""Decodes a list of image files, in parallel, into the arrays of a store."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import cache
from pathlib import Path
from stat import S_ISLNK
from typing import Any, TypeVar

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike

from src.core.errors import UserError
from src.data.coco import Annotated
from src.data.decode import DECODER_VERSION, windowed
from src.data.decoding import NOTES, Decoding
from src.data.file_decoder import DecodeSettings, FileDecoder, Job
from src.data.findings import Decoded, Findings, judge
from src.data.formats.base import BadFile, Header
from src.data.formats.values import HU_OFFSET
from src.data.listing import Sample
from src.data.mask_pairs import MaskFile
from src.data.proposal import Proposal, propose_beside
from src.data.scale import Scale
from src.data.store import FORMAT, RowWriter, create_array

Result = TypeVar("Result")

PERCENTILES = (0.1, 99.9)  # of 16-bit values: those outside become black and white
CHUNK = 256  # images rewritten at once


@dataclass
class Builder:
    """Builds the store of ``samples``, whose labels (int) index ``classes``.

    ``build`` writes the files that ``Store.open_or_build`` asks for. The meta data: ``classes``, ``files`` (by row, a
    slice of a volume as "<file>#<number>"), ``sources`` (by row, its sample's file, where files hold several slices),
    ``cases`` (by row, where files name them), ``skipped`` (file → reason), ``window`` (low and high of 16-bit values),
    ``scale`` (what pixels stand for),
    ``notes`` and ``warnings`` (lines for the log) and ``copies`` (lists of rows whose files hold the same pixels).
    """

    samples: Sequence[Sample]
    labels: Sequence[int | Sequence[int | None]]  # of each file, or of each image in it: None leaves one out
    classes: tuple[str, ...]
    settings: DecodeSettings
    workers: int
    unpaired: Mapping[str, Sequence[str]] = field(default_factory=dict)  # masks of no image, by mask folder
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)  # images that only a JSON has, likewise
    others: Sequence[str] = ()  # files of the folder that are none of the samples
    skipped: dict[int, str] = field(default_factory=dict, init=False)  # sample → reason

    def key(self) -> str:
        """Fingerprint of the decoder, the files (path, size, time of change) and settings; splits are no part of it."""
        resolved = cache(Path.resolve)
        files = [
            (
                sample.file,
                label,
                sample.array,
                _stamp(sample.image, resolved),
                [[_stamp(path, resolved) for path in paths] for paths in sample.masks],
            )
            for sample, label in zip(self.samples, self.labels, strict=True)
        ]
        text = json.dumps([FORMAT, DECODER_VERSION, astuple(self.settings), self.classes, files])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def build(self, folder: Path) -> dict[str, Any]:
        """Write images, labels and masks into ``folder``, return the meta data. Raises UserError for bad files.

        Where an earlier build was stopped in ``folder``, it goes on there.
        """
        self.skipped.clear()
        self.check_masks()
        decoder = FileDecoder(self.settings, folder / "decoded.npy", folder / "decoded_masks.npy")
        with Decoding(folder, decoder, self.workers) as decoding:
            usable = [index for index in range(len(self.samples)) if index not in self.skipped]
            headers = dict(self._usable(usable, decoding.headers([self.samples[index] for index in usable])))
            jobs = self._jobs(headers)
            if self._make_arrays(decoder, jobs):
                decoding.forget_rows()
            of_files = self._usable([job.index for job in jobs], decoding.rows(jobs))
            decoded = [one for _, several in of_files for one in several]
        if not decoded:
            reason = next(iter(self.skipped.values()), "no slice has a structure (data.slices=masked)")
            raise UserError(f"none of the {len(self.samples)} images can be used, the first because: {reason}")
        deep = np.array([image.deep for image in decoded])
        window = self._window(decoding.histogram) if deep.any() else None
        if window is None and self.settings.window is not None:
            raise UserError("data.window is for 16-bit images, these have 8 bits: set it to null")
        found = self._judged(decoded, window)
        grey = self.settings.channels is None and all(image.grey for image in decoded)
        channels = 1 if grey else None
        rows = np.array([image.row for image in decoded])
        if window is None or self.settings.window is not None:  # which the decoder has gone by
            _write_rows(folder / "images.npy", decoder.images, rows, np.uint16 if deep.any() else np.uint8, channels)
        else:
            _write_images(folder / "images.npy", decoder.images, rows, deep, window, channels)
        if self.settings.mask_names:
            _write_rows(folder / "masks.npy", decoder.masks, rows, np.uint8)
        np.save(folder / "labels.npy", np.array([self._label(image) for image in decoded], np.int64))
        for name in (decoder.images.name, decoder.masks.name, NOTES):
            (folder / name).unlink(missing_ok=True)
        return {
            "classes": self.classes,
            "files": [image.file for image in decoded],
            **self._sources(decoded, headers),
            "skipped": {self.samples[row].file: reason for row, reason in self.skipped.items()},
            "window": window,
            "scale": asdict(self._scale([headers[image.sample] for image in decoded], deep, window, grey)),
            "notes": found.notes,
            "warnings": found.warnings,
            "facts": found.facts,
            "copies": _copies([image.digest for image in decoded]),
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
            also = f"; of no image {_are(spare)}" if spare else ""
            raise UserError(
                f"{self.skipped[without[0]]} ({len(without)} of {len(self.samples)} images are without{also}): "
                f"{self._way_out(without)}, or data.on_error=skip leaves them out"
            )

    def _way_out(self, without: Sequence[int]) -> str:
        """What to say where ``without`` (samples) have not all masks: they are masks themselves, or some have all."""
        folders = self.settings.mask_folders
        complete = {
            name: at for place, (name, at) in enumerate(folders) if all(sample.masks[place] for sample in self.samples)
        }
        if complete:
            rest = ", ".join(name for name, _ in folders if name not in complete)
            return f"{Proposal(masks=complete).overrides(Path())[0]} goes without {rest}"
        files = [sample.file for sample in self.samples]
        more = propose_beside([files[row] for row in without], [*{*files} - {files[row] for row in without}]).masks
        if more:
            said = Proposal(masks={**dict(folders), **more}).overrides(Path())[0]
            return f"{said} if they are masks too"
        return "add a file of the same stem"

    def _usable(self, indices: Sequence[int], results: Iterable[Result | BadFile]) -> Iterator[tuple[int, Result]]:
        """(sample, result) of those that are not left out."""
        for index, result in zip(indices, results, strict=True):
            if isinstance(result, BadFile):
                self.skipped[index] = str(result)
            else:
                yield index, result

    def _jobs(self, headers: Mapping[int, Header]) -> list[Job]:
        jobs, start = [], 0
        for index, header in headers.items():
            self._case(index, header)
            taken = self._taken(index, header)
            jobs.append(Job(index, self.samples[index], header, taken, start))
            start += len(taken)
        return jobs

    def _make_arrays(self, decoder: FileDecoder, jobs: Sequence[Job]) -> bool:
        """Make the arrays, unless an earlier build has; returns whether."""
        settings, headers = self.settings, [job.header for job in jobs]
        count = max(1, sum(len(job.taken) for job in jobs))
        channels = settings.channels or (3 if any(header.colour for header in headers) else 1)
        dtype = np.dtype(np.uint16 if any(header.deep for header in headers) else np.uint8)
        wanted = {
            decoder.images: (dtype, (count, channels, *settings.frame)),
            decoder.masks: (np.dtype(np.uint8), (count, len(settings.mask_names), *settings.frame)),
        }
        if all(_is_array(path, *kind) for path, kind in wanted.items()):
            return False
        for path, kind in wanted.items():
            create_array(path, *kind)
        return True

    def _taken(self, index: int, header: Header) -> Sequence[int]:
        """The slices that are read, by number."""
        labels = self.labels[index]
        if not isinstance(labels, int):
            return [number for number, label in enumerate(labels) if label is not None]
        return range(0, header.slices, self.settings.slice_step) if header.slices > 1 else range(1)

    def _label(self, image: Decoded) -> int:
        labels = self.labels[image.sample]
        return labels if isinstance(labels, int) else labels[image.number] or 0

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
            dict(settings.mask_folders), self.others,
        )  # fmt: skip

    def _scale(
        self, headers: Sequence[Header], deep: np.ndarray, window: tuple[float, float] | None, grey: bool
    ) -> Scale:
        """What the stored pixels stand for; ``headers`` and ``deep``: of each image."""
        values, edges = self.settings.reading.values, self.settings.reading.range
        if values in ("displayed", "percentile", "zscore"):
            return Scale.without(f"data.values={values} gives each file a scale of its own, so that none inverts all")
        if not grey and any(header.colour for header in headers):
            return Scale.without("colours have no unit")
        if window is None:
            return Scale(0.0, 255.0)
        hounsfield = {header.hounsfield for header in headers}
        if not deep.all() or len(hounsfield) > 1:
            return Scale.without("the files are on several scales (some of 8 bits, or some in Hounsfield units)")
        low, high = edges if values == "rescaled" and edges else window
        offset = HU_OFFSET if hounsfield == {True} else 0
        return Scale(low - offset, high - offset, "HU" if offset else "")

    def _window(self, histogram: np.ndarray) -> tuple[float, float]:
        """The 16-bit values that become 0 and 65535.

        Percentiles are those of all images, not of the training split: so arrays do not depend on how they are split.
        """
        if self.settings.window is not None:
            return self.settings.window
        share = np.cumsum(histogram)
        low, high = (float(np.searchsorted(share, share[-1] * p / 100)) for p in PERCENTILES)
        return low, max(high, low + 1)


def _are(files: Sequence[str]) -> str:
    return f"is {files[0]}" if len(files) == 1 else f"are {len(files)} masks, such as {files[0]}"


def _copies(digests: Sequence[str]) -> list[list[int]]:
    """The places of equal digests, one list for each digest that there is more than once."""
    places: dict[str, list[int]] = {}
    for place, digest in enumerate(digests):
        places.setdefault(digest, []).append(place)
    return [same for same in places.values() if len(same) > 1]


def _is_array(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> bool:
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # it is absent, or was being made
        return False
    return array.dtype == dtype and array.shape == shape


def _write_images(
    path: Path, decoded: Path, rows: np.ndarray, deep: np.ndarray, window: tuple[float, float], channels: int | None
) -> None:
    """Write (N, C, H, W) of ``rows`` as uint16, ``deep`` ones windowed to the whole range.

    ``channels``: how many are kept; None: all.
    """
    create_array(path, np.uint16, (len(rows), *np.load(decoded, mmap_mode="r")[0, :channels].shape))
    with RowWriter(path) as images:
        for start in range(0, len(rows), CHUNK):
            part = np.load(decoded, mmap_mode="r")[:, :channels]
            for place in range(start, min(start + CHUNK, len(rows))):
                images.write(place, windowed(part[rows[place]], window, deep[place]))


def _write_rows(path: Path, decoded: Path, rows: np.ndarray, dtype: DTypeLike, channels: int | None = None) -> None:
    """Write ``rows`` as they are. What is mapped is let go of in between, so that memory does not grow with them."""
    array = np.load(decoded, mmap_mode="r")
    if array.dtype == dtype and len(rows) == len(array) and channels in (None, array.shape[1]):
        decoded.rename(path)  # it is what is wanted already
        return
    create_array(path, dtype, (len(rows), *array[0, :channels].shape))
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        open_memmap(path, "r+")[start : start + CHUNK] = np.load(decoded, mmap_mode="r")[some, :channels]


def _stamp(path: MaskFile, resolved: Callable[[Path], Path]) -> tuple[Any, ...]:
    """``resolved``: of a folder, whose every file would walk up to the root again."""
    if isinstance(path, Annotated):
        return (*_stamp(path.file, resolved), path.image)
    stat, name = path.lstat(), os.path.join(resolved(path.parent), path.name)
    if S_ISLNK(stat.st_mode):
        stat, name = path.stat(), str(path.resolve())
    return name, stat.st_size, stat.st_mtime_ns
