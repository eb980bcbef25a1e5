"""What decoding told of images and masks: what cannot be meant stops, the rest is said."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from src.core.errors import UserError
from src.data.decode import is_grey
from src.data.proposal import Proposal, propose_beside

UNLIKE = 8  # one window leaves a 16-bit image nearly black where another is brighter by more than this factor
SUSPECT = 0.1  # of the images: if more have but few values, they are most likely masks among images
SMALL = 1024  # pixels, of which Python counts the values in less time than numpy
FEW, LARGE = 4, 64  # values at most of such an image, and its pixels at least
MOST, OF_MOST = 0.5, 0.75  # masks that cover more than this, in so many of the images, are most likely dark on white
WIDENED, MUCH = 2, 0.2  # a stored mask covers so many times what it did, and so much of the image: too much
MEANS = ("covered", "kept", "parts", "parts_kept")  # of Decoded: averaged over the images that have the structure
WHOLE = np.ones((3, 3), int)  # parts that touch at a corner are one
Masks = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class Decoded:
    """What decoding one image told about it; its pixels are on disk already."""

    row: int  # of the arrays
    sample: int
    file: str
    size: tuple[int, int]  # width, height of the file in pixels
    grey: bool
    deep: bool  # 16 bits
    maximum: int  # of its pixels
    few_valued: bool  # as masks and label maps are
    covered: tuple[float, ...]  # share of the image in each mask
    kept: tuple[float, ...]  # the same of the stored mask
    parts: tuple[int, ...]  # 8-connected, of each mask
    parts_kept: tuple[int, ...]
    digest: str  # of the pixels of the file
    number: int = 0  # of the slice in its file

    @classmethod
    def of(
        cls, image: np.ndarray, mask: Masks, stored: Masks, row: int, sample: int, file: str, number: int
    ) -> Decoded:
        """``mask`` and ``stored``: K of (H, W), 0 or 1, as in the file and as kept."""
        return cls(
            row, sample, file, (image.shape[1], image.shape[0]), is_grey(image), image.dtype == np.uint16,
            int(image.max()), has_few_values(image), _means(mask), _means(stored), _parts(mask), _parts(stored),
            _digest(image), number,
        )  # fmt: skip


@dataclass
class Findings:
    """Lines for the log, and numbers for a summary."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def judge(
    decoded: Sequence[Decoded],
    masks: Sequence[str],
    frame: tuple[int, int],
    fit: str,
    window: tuple[float, float] | None,
    own_window: bool,
    inverted: Sequence[str] | None,
    are_images: bool,
    questions: bool = True,
    mask_folders: Mapping[str, str] | None = None,
    others: Sequence[str] = (),
) -> Findings:
    """Raises UserError for images that are masks and masks that mark all or nothing.

    ``own_window``: the window was found here; ``inverted``: what the user said of masks dark on white, None for
    nothing; ``are_images``: the user says that images of two values are no masks; ``questions``: whether to stop;
    ``mask_folders``: where the masks lie, by name; ``others``: files beside these that were not decoded.
    """
    if questions and not are_images:
        _refuse_masks(decoded, others)
    if questions:
        _refuse_useless(decoded, masks, inverted, mask_folders or {})
    found = Findings(facts=_facts(decoded, masks))
    found.notes += _fitted(decoded, frame, fit)
    if enlarged := [one for one in decoded if max(one.size[0] / frame[1], one.size[1] / frame[0]) < 1]:
        smallest = min(enlarged, key=lambda one: max(one.size))
        line = (
            f"{len(enlarged)} images are enlarged to {max(frame)} pixels, the smallest {smallest.file} of "
            f"{_by(smallest.size)}"
        )
        usual = np.median([max(one.size) for one in decoded])
        (found.warnings if max(smallest.size) < usual / 4 else found.notes).append(line)
    lost = sum(cover > 0 and not kept for one in decoded for cover, kept in zip(one.covered, one.kept, strict=True))
    if lost:
        found.notes.append(f"{lost} masks are empty after {fit} to {max(frame)} pixels")
    for name, of in found.facts["masks"].items():
        if of["kept"] >= max(MUCH, WIDENED * of["covered"]):
            found.warnings.append(
                f"masks of {name} cover {of['covered']:.0%} of the images and {of['kept']:.0%} at {max(frame)} pixels, "
                "where what is thin is still a pixel wide: a larger resolution keeps their shape"
            )
    if window is not None:
        found.notes.append(f"16-bit values from {window[0]:g} to {window[1]:g} are scaled to the whole range")
        found.warnings += _unlike(decoded) if own_window else []
    if len(decoded) > 1 and len({one.digest for one in decoded}) == 1:
        found.warnings.append(
            f"all {len(decoded)} images have the same pixels, such as {decoded[0].file}: nothing can be learned from "
            "them; what should differ may lie in another channel (data.channel, data.alpha)"
        )
    few = [one.file for one in decoded if one.few_valued]
    if few and not are_images:
        found.warnings.append(f"{len(few)} images are of two to four values only, as masks are, such as {few[0]}")
    return found


def has_few_values(image: np.ndarray) -> bool:
    """Whether two to four values or colours occur in an image that is large enough to show more."""
    height, width = image.shape[:2]
    some = image[:: max(1, height // 16), :: max(1, width // 16)]  # most images show more there
    return height * width >= LARGE and _count(some) <= FEW and 1 < _count(image) <= FEW


def _count(image: np.ndarray) -> int:
    """Values, or colours as numbers of three bytes or words."""
    if image.ndim == 2:
        return len(set(image.ravel().tolist())) if image.size <= SMALL else len(np.unique(image))
    return len(np.unique(image.astype(np.int64) @ (1 << 16 * np.arange(image.shape[2]))))


def _refuse_masks(decoded: Sequence[Decoded], others: Sequence[str]) -> None:
    of_files: dict[int, bool] = {}
    for one in decoded:  # the last slices of a volume may have few values
        of_files[one.sample] = of_files.get(one.sample, True) and one.few_valued
    few = [sample for sample, two in of_files.items() if two]
    if len(few) >= max(1, SUSPECT * len(of_files)):
        first = next(one for one in decoded if one.sample == few[0])
        files = {one.sample: one.file for one in decoded}
        masks, images = [files[sample] for sample in few], [files[sample] for sample in of_files.keys() - {*few}]
        others = [*{*others} - {*masks}]
        if proposed := propose_beside(masks, images, others).overrides(Path()):
            said = f"set {' '.join(proposed)}; "
        else:
            said = (
                "name the folders of the images and of the masks, data.images=<folder> "
                "data.mask_folders='{name: <folder>}', or "
            )
        raise UserError(
            f"{len(few)} of {len(of_files)} images are of two to four values only, as masks are, such as {first.file}: "
            f"{said}data.mask_folders={{}} says that they are no masks"
        )


def _refuse_useless(
    decoded: Sequence[Decoded], masks: Sequence[str], inverted: Sequence[str] | None, folders: Mapping[str, str]
) -> None:
    for channel, name in enumerate(masks):
        covered = np.array([one.covered[channel] for one in decoded])
        if not covered.any():
            raise UserError(f"all {len(covered)} masks of {name} are empty: name other files in data.mask_folders")
        if inverted is None and (covered > MOST).mean() > OF_MOST:
            rest = Proposal(masks={other: at for other, at in folders.items() if other != name and name in folders})
            without = "".join(f", or {said} leaves them out" for said in rest.overrides(Path()))
            raise UserError(
                f"the masks of {name} cover {covered.mean():.0%} of the images on average: "
                f"data.inverted_masks=[{name}] if they are dark on white, data.inverted_masks=[] if that is right"
                f"{without}"
            )


def _facts(decoded: Sequence[Decoded], masks: Sequence[str]) -> dict[str, Any]:
    sizes = Counter(one.size for one in decoded)
    facts: dict[str, Any] = {
        "bits": sorted({16 if one.deep else 8 for one in decoded}),
        "sizes": [[*size, count] for size, count in sizes.most_common(3)],
        "other_sizes": max(0, len(sizes) - 3),
        "masks": {},
    }
    for channel, name in enumerate(masks):
        with_it = [one for one in decoded if one.covered[channel]]
        facts["masks"][name] = {
            "empty": len(decoded) - len(with_it),
            **{of: _mean([getattr(one, of)[channel] for one in with_it]) for of in MEANS},
        }
    return facts


def _fitted(decoded: Sequence[Decoded], frame: tuple[int, int], fit: str) -> list[str]:
    high, wide = frame
    sizes = Counter(image.size for image in decoded if image.size[0] * high != image.size[1] * wide)
    if not sizes:
        return []
    common = ", ".join(f"{count} of {_by(size)}" for size, count in sizes.most_common(3))
    more = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
    shape = "square" if high == wide else f"of {wide}:{high}"
    done = {"pad": "padded with black", "crop": "cropped to their centre"}[fit]
    return [f"{sizes.total()} of {len(decoded)} images are not {shape} ({common}{more}): {done}"]


def _unlike(decoded: Sequence[Decoded]) -> list[str]:
    deep = [image for image in decoded if image.deep and image.maximum]
    if not deep:
        return []
    low, high = min(deep, key=lambda one: one.maximum), max(deep, key=lambda one: one.maximum)
    if high.maximum <= UNLIKE * low.maximum:
        return []
    ends = " to ".join(f"{image.maximum} ({image.file})" for image in (low, high))
    return [
        f"the maxima of the 16-bit images go from {ends}, and one window serves all: the darkest become nearly "
        "black; scale the files alike, or set data.window=[low, high]"
    ]


def _digest(image: np.ndarray) -> str:
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _means(masks: Masks) -> tuple[float, ...]:
    return tuple(float(mask.mean()) for mask in masks)


def _parts(masks: Masks) -> tuple[int, ...]:
    return tuple(int(ndimage.label(mask, WHOLE)[1]) for mask in masks)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
