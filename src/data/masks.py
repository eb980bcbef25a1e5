"""Reads mask files: one structure each, several in a label map, or several files of one structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from src.core.errors import UserError
from src.data import formats
from src.data.coco import Annotated, Annotations
from src.data.formats.base import BadFile, Reading, bad_file

Value = int | str  # a grey value, a colour "#ff0000", a category of a JSON, or "nonzero"
EVERYTHING = "nonzero"
FLAT = 4  # grey values by which neighbours in one area of a JPEG may differ
COLOUR_SLACK = 60  # of 255, how far a JPEG may be off a colour of mask_labels, in its worst channel
BETWEEN = 0.1  # of the range, how far from dark and bright values are labels rather than ringing
SOFT = 0.02  # of the pixels, how many may lie in flat areas between dark and bright: the meeting of soft edges


@dataclass(frozen=True)
class LabelMap:
    """By structure, in the order of the channels, the values or the categories of a JSON that are inside."""

    values: tuple[tuple[str, tuple[Value, ...]], ...]
    ignore_others: bool = False  # values that no structure has are outside of all

    @classmethod
    def of(cls, given: Mapping[str, Value | Sequence[Value]], ignore_others: bool = False) -> LabelMap:
        """Raises UserError where a value is neither a whole number nor text."""
        read = []
        for name, values in given.items():
            several = values if isinstance(values, Sequence) and not isinstance(values, str) else [values]
            read.append((name, tuple(_value(name, value) for value in several)))
        return cls(tuple(read), ignore_others)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.values)

    def split(self, labels: np.ndarray, path: Path) -> np.ndarray:
        """(H, W) or (H, W, 3) → (K, H, W) uint8, 0 or 1. Raises UserError for values that no structure has."""
        for name, values in self.values:
            for value in values:
                if isinstance(value, str) and value != EVERYTHING and not _is_colour(value):
                    raise UserError(
                        f'data.mask_labels.{name}={value} must be a whole number, a colour such as "#ff0000", '
                        f"{EVERYTHING}, or a list of them: mask {path} has no names"
                    )
        if labels.ndim == 3 and (labels == labels[..., :1]).all() and not self.has_colours():
            labels = labels[..., 0]
        if labels.ndim == 3:
            return self._split_colours(labels, path)
        present = set(np.unique(labels).tolist())
        wanted = {int(value) for _, values in self.values for value in values if value != EVERYTHING}
        unnamed = sorted(present - wanted - {0})
        if unnamed and not self.ignore_others and not any(EVERYTHING in values for _, values in self.values):
            raise UserError(
                f"mask {path} has the value{'s' * (len(unnamed) > 1)} {', '.join(f'{v:g}' for v in unnamed[:8])}, of "
                "which data.mask_labels does not speak: name it there, or data.unnamed_labels=ignore"
            )
        return np.stack([_any_of(labels, values) for _, values in self.values]).astype(np.uint8)

    def numbers(self, labels: np.ndarray, split: np.ndarray) -> np.ndarray:
        """The values of the structures that are ``nonzero``, an instance each, in place of 1."""
        every = np.array([EVERYTHING in values for _, values in self.values])[:, None, None]
        return np.where(every & (split > 0), labels, split)

    def has_colours(self) -> bool:
        """Whether a structure is named by its colour."""
        return any(isinstance(value, str) and value != EVERYTHING for _, values in self.values for value in values)

    def _split_colours(self, labels: np.ndarray, path: Path) -> np.ndarray:
        """To the nearest of the named colours and black."""
        owners: list[int] = [-1]
        colours = [(0, 0, 0)]
        for channel, (name, values) in enumerate(self.values):
            for value in values:
                if isinstance(value, int):
                    raise UserError(
                        f"mask {path} is in colour, and data.mask_labels.{name}={value} is a grey value: give a colour"
                        f', "#ff0000"; it has {colours_in(labels)}'
                    )
                if value != EVERYTHING:
                    owners.append(channel)
                    colours.append(_rgb(value))
        distances = np.abs(labels[..., None, :].astype(np.int16) - np.array(colours, np.int16)).max(-1)
        nearest, off = distances.argmin(-1), distances.min(-1)
        every = [EVERYTHING in values for _, values in self.values]
        if not self.ignore_others and not any(every) and (off > COLOUR_SLACK).mean() > SOFT:
            raise UserError(
                f"mask {path} has colours of which data.mask_labels does not speak ({colours_in(labels)}): name them "
                "there, or data.unnamed_labels=ignore"
            )
        channels = np.array(owners)[nearest]
        if self.ignore_others:
            channels[off > COLOUR_SLACK] = -1
        return np.stack([(channels == k) | (every[k] & (nearest > 0)) for k in range(len(self.values))]).astype(
            np.uint8
        )


def read_masks(
    paths: Sequence[Path | Annotated],
    labels: LabelMap | None,
    inverted: bool = False,
    axis: str = "axial",
    instances: bool = False,
) -> Iterator[np.ndarray]:
    """Slice by slice (K, H, W), 0 or 1: one channel, or one for each structure of ``labels``.

    Several files of one image are joined: inside is what is inside in any of them. With ``instances``, what is inside
    has the number of its instance: its file, its value in a label map where the structure is ``nonzero``, or its shape
    in a JSON. Raises BadFile where a file cannot be read, holds several labels, or is unlike the first in size.
    """
    files = [_read(path, labels, inverted, axis, instances) for path in paths]
    for slices in zip_longest(*files):
        first = slices[0]
        for other, path in zip(slices[1:], paths[1:], strict=True):
            if first is None or other is None or other.shape != first.shape:
                raise BadFile(f"masks {name_of(paths[0])} and {name_of(path)} of one image differ in size")
        yield _numbered(slices) if instances else np.maximum.reduce(slices)


def _numbered(slices: Sequence[np.ndarray]) -> np.ndarray:
    """Instances of several files with numbers of their own; where two overlap the first has the pixel."""
    joined, last = np.zeros(slices[0].shape, np.int64), 0
    for ids in slices:
        free = (joined == 0) & (ids != 0)
        joined[free] = ids[free].astype(np.int64) + last
        last = int(joined.max())
    return joined


def read_mask(path: Path) -> np.ndarray:
    """The only mask of a file, (H, W) uint8, 0 or 1."""
    first, *others = read_masks([path], None)
    if others:
        raise BadFile(f"mask {path} holds {1 + len(others)} images: give a file of one")
    return first[0]


def inside(mask: np.ndarray, path: Path) -> np.ndarray:
    """What a mask of one structure marks, (H, W) or (H, W, 3) → (H, W) bool. Raises UserError for several labels.

    Of two values the greater is inside. Of more, those above half of the range are, where the others are soft edges or
    the ringing of JPEG; values in areas of their own are labels. A mask in colour is black and one colour.
    """
    if mask.ndim == 3 and not (mask == mask[..., :1]).all():
        return _inside_colour(mask, path)
    mask = mask[..., 0] if mask.ndim == 3 else mask
    low, high = mask.min(), mask.max()
    if low == high:
        return np.full(mask.shape, low > 0)
    middle = low + (high - low) / 2 if low == 0 or ((mask == low) | (mask == high)).all() else high / 2
    if not ((mask == low) | (mask == high)).all():
        values = np.unique(mask)
        if values[-1] < 16 or _has_areas_between(mask):
            shown = ", ".join(f"{value:g}" for value in values[:8]) + ", …" * (len(values) > 8)
            named = ", ".join(
                f"{letter}: {value:g}" for letter, value in zip("abcdefg", values[values > 0], strict=False)
            )
            raise UserError(
                f"mask {path} is a label map with the values {shown}: data.mask_labels='{{{named}}}' says which is "
                "which structure (a, b … as you call them), '{name: nonzero}' takes all that is not 0"
            )
    return mask > middle


def _has_areas_between(mask: np.ndarray) -> bool:
    """Whether values between dark and bright fill areas, as labels do and edges do not."""
    values = mask.astype(np.float32)
    low, high = values.min(), values.max()
    between = (values > low + BETWEEN * (high - low)) & (values < high - BETWEEN * (high - low))
    if not between.any():
        return False
    flat = np.ones_like(between)
    slack = FLAT * (high - low) / 255
    for axis in (0, 1):
        step = np.abs(np.diff(values, axis=axis)) <= slack
        first, last = [slice(None)] * 2, [slice(None)] * 2
        first[axis], last[axis] = slice(1, None), slice(None, -1)
        flat[tuple(first)] &= step
        flat[tuple(last)] &= step
    marked = (values > low + BETWEEN * (high - low)).sum()
    return (between & flat).sum() > SOFT * marked


def _inside_colour(mask: np.ndarray, path: Path) -> np.ndarray:
    """Whatever is not black: brightness says nothing of colours that stand for labels."""
    codes = mask.astype(np.int64) @ np.array([1 << 32, 1 << 16, 1])  # one number a colour, 0 for black
    found = np.unique(codes)
    if len(found) <= 2 and not found[0]:
        return codes > 0
    strength = mask.max(axis=2)
    bright = strength > strength.max() / 2
    if len(found) > 8 and not _has_areas_between(strength) and _one_colour(mask[bright]):
        return bright  # a JPEG of black and one colour
    raise UserError(
        f"mask {path} has {len(found)} colours, which may be labels ({colours_in(mask)}): data.mask_labels="
        "'{name: \"#rrggbb\"}' says which is which structure, 'nonzero' takes all that is not black"
    )


def _one_colour(pixels: np.ndarray) -> bool:
    low, high = np.percentile(pixels, (10, 90), axis=0)
    return bool((high - low).max() <= COLOUR_SLACK)


def colours_in(mask: np.ndarray) -> str:
    """The most frequent colours, "#ff0000 12%", …"""
    codes = mask.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    values, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:6]
    return ", ".join(f"#{values[i]:06x} {counts[i] / codes.size:.0%}" for i in order)


def name_of(path: Path | Annotated) -> str:
    """For errors."""
    return f"{path.file} of image {path.image}" if isinstance(path, Annotated) else str(path)


def _read(
    path: Path | Annotated, labels: LabelMap | None, inverted: bool, axis: str, instances: bool
) -> Iterator[np.ndarray]:
    if isinstance(path, Annotated):
        with bad_file(path.file):
            annotations = Annotations.read(path.file)
            wanted = (
                [[v for v in values if v != EVERYTHING] or None for _, values in labels.values] if labels else [None]
            )
            yield np.stack([annotations.draw(path.image, categories, instances) for categories in wanted])
        return
    indices = labels is not None and not labels.has_colours()
    for values in formats.read_labels(path, Reading(axis=axis, indices=indices)):
        values = values.astype(np.uint8) if values.dtype == np.bool_ else values
        if labels is not None:
            split = labels.split(values, path)
            yield labels.numbers(values, split) if instances and values.ndim == 2 else split
        else:
            marked = inside(values, path)
            yield (~marked if inverted else marked).astype(np.uint8)[None]


def _any_of(labels: np.ndarray, values: Sequence[Value]) -> np.ndarray:
    tests: list[Callable[[], np.ndarray]] = []
    tests += [lambda: labels != 0] if EVERYTHING in values else []
    tests += [lambda: np.isin(labels, [value for value in values if value != EVERYTHING])]
    return np.logical_or.reduce([test() for test in tests])


def _value(name: str, value: object) -> Value:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.lower() if _is_colour(value) else value
    raise UserError(f"data.mask_labels.{name}={value} must be a whole number, text, or a list of them")


def _is_colour(text: str) -> bool:
    return len(text) == 7 and text[0] == "#" and all(letter in "0123456789abcdefABCDEF" for letter in text[1:])


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
