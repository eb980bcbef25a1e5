"""Decodes files one by one: first what their headers say, then images and masks into rows of arrays on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from src.core.errors import UserError
from src.data import decode, formats
from src.data.findings import Decoded
from src.data.formats.base import BadFile, Header, Reading
from src.data.instances import fit_instances
from src.data.listing import Sample
from src.data.mask_reduction import resize_mask
from src.data.masks import LabelMap, name_of, read_masks
from src.data.store import RowWriter

Asked = TypeVar("Asked")
Result = TypeVar("Result")


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

    def reading_of(self, sample: Sample) -> Reading:
        return replace(self.reading, array=sample.array) if sample.array else self.reading


@dataclass(frozen=True)
class Job:
    """A file whose header is known."""

    index: int  # of the sample
    sample: Sample
    header: Header
    taken: Sequence[int]  # slices, by number
    start: int  # row of the first of them


class Done(NamedTuple):
    """What became of some files: a result of each, or its BadFile where that is left out."""

    results: list[Any]
    histogram: np.ndarray | None = None  # (65536,): how often each value occurs in images of 16 bits, if there are any


@dataclass(frozen=True)
class FileDecoder:
    """What threads and processes decode with, some files at a time.

    Raises UserError for a file that cannot be used, unless ``settings.on_error`` says that it is left out.

    Args:
        images: .npy of the rows of all images, (N, C, H, W).
        masks: likewise, (N, K, H, W).
    """

    settings: DecodeSettings
    images: Path
    masks: Path

    def headers(self, samples: Sequence[Sample]) -> Done:
        """A Header each."""
        return Done([self._attempt(self._header, sample) for sample in samples])

    def rows(self, jobs: Sequence[Job]) -> Done:
        """Write the rows, 16-bit values windowed where the settings say how; a list of Decoded each."""
        with RowWriter(self.images) as images, RowWriter(self.masks) as masks:
            rows = _Rows(images, masks, self.settings.window)
            return Done([self._attempt(lambda job: list(self._decode(job, rows)), job) for job in jobs], rows.histogram)

    def _attempt(self, function: Callable[[Asked], Result], asked: Asked) -> Result | BadFile:
        try:
            return function(asked)
        except BadFile as error:
            if self.settings.on_error == "fail":
                raise UserError(f"{error}; repair or remove it, or data.on_error=skip leaves it out") from error
            return BadFile(str(error))  # without a traceback, which holds arrays

    def _header(self, sample: Sample) -> Header:
        return formats.read_header(sample.image, self.settings.reading_of(sample))

    def _decode(self, job: Job, stored: _Rows) -> Iterator[Decoded]:
        sample, header, settings = job.sample, job.header, self.settings
        several = header.slices > 1 or sample.array is not None
        rows = {number: job.start + place for place, number in enumerate(job.taken)}
        self._check_places(sample, header)
        stretch = (1.0, 1.0) if header.spacing is None else decode.square_pixels(header.spacing)

        def fit_mask(plane: np.ndarray) -> np.ndarray:
            plane = decode.stretch(plane, stretch, resize_mask)
            return decode.fit_frame(plane, settings.frame, settings.fit, resize_mask)

        slices = formats.read_slices(sample.image, settings.reading_of(sample))
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
            fitted_masks = [fit_instances(plane, fit_mask) if settings.instances else fit_mask(plane) for plane in mask]
            stored.write(row, image, decode.fit_frame(decode.stretch(image, stretch), settings.frame, settings.fit))
            if fitted_masks:
                stored.masks.write(row, fitted_masks)
            file = f"{sample.file}#{number:03d}" if several else sample.file
            yield Decoded.of(image, mask > 0, fitted_masks, row, job.index, file, number)

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


@dataclass
class _Rows:
    """The arrays, and what is counted of what goes there."""

    images: RowWriter
    masks: RowWriter
    window: tuple[float, float] | None
    histogram: np.ndarray | None = None

    def write(self, row: int, image: np.ndarray, fitted: np.ndarray) -> None:
        """``fitted``: of ``image``, which is what counts where the window is still to be found."""
        if self.window is None and image.dtype == np.uint16:
            counts = np.bincount(image.ravel(), minlength=65536)
            self.histogram = counts if self.histogram is None else self.histogram + counts
        pixels = decode.to_channels(fitted, self.images.shape[0])
        if self.window is not None and self.images.dtype == np.uint16:
            pixels = decode.windowed(pixels, self.window, image.dtype == np.uint16)
        self.images.write(row, pixels)
