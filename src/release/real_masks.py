"""What generated masks may look like, taken from the real ones: vessels are thin and nuclei many, lungs are two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from src.core.errors import UserError
from src.data.mask_reduction import reduce_masks
from src.data.store import Split
from src.release.masks import MaskLimits, Shape, fault_of

QUANTILE = 0.99  # of real masks that a derived limit lets pass
UNLIKE = 0.1  # share of real images that limits leave out: above, what passes them is unlike the real images
DERIVED = ("smallest", "largest", "parts", "may_be_empty")


@dataclass(frozen=True)
class RealMasks:
    """Limits of generated masks, and what they would leave out of the real ones."""

    limits: MaskLimits
    derived: tuple[str, ...]  # those of the limits that are of the real masks; who exports gave the others
    images: int
    left_out: int  # of these images

    @classmethod
    def of(
        cls, split: Split, names: Sequence[str], frame: tuple[int, int], given: Mapping[str, Any] | None = None
    ) -> RealMasks:
        """Of the real images of ``split``, their masks ``names`` at the ``frame`` (height, width) of an export.

        Args:
            given: limits that are not to be derived, by name.

        Raises:
            UserError: the split has other masks; a value out of its range.
        """
        stored = split.store.masks
        if stored is None or stored.shape[1] != len(names):
            raise UserError(
                f"the data have {0 if stored is None else stored.shape[1]} kinds of masks, the generator makes "
                f"{', '.join(names)}: give {usual_overrides()}, which are taken from real masks otherwise"
            )
        shapes = [[Shape.of(mask) for mask in image] for image in _at(split, frame)]
        limits = replace(limits_of(shapes, names), **(given or {}))
        faults = [fault_of(image, names, limits) for image in shapes]
        derived = tuple(name for name in DERIVED if name not in (given or {}))
        return cls(limits, derived, len(faults), sum(fault is not None for fault in faults))

    @property
    def unlike(self) -> bool:
        """Whether what passes the limits is unlike the real images."""
        return self.left_out > UNLIKE * self.images

    def describe(self) -> str:
        """One sentence, with the limits as they are given on the command line."""
        taken = " ".join(as_override(name, getattr(self.limits, name)) for name in self.derived)
        warning = "; what passes is unlike them: loosen masks.…, or leave it to them" if self.unlike else ""
        return (
            f"{taken}: taken from {self.images:,} real training images, of which the checks would leave out "
            f"{self.left_out:,}{warning}"
        )

    def facts(self) -> dict[str, Any]:
        """For who reads ``dataset.json``."""
        return {"images": self.images, "left_out": self.left_out, "limits_taken_from_them": list(self.derived)}


def limits_of(real: Sequence[Sequence[Shape]], names: Sequence[str]) -> MaskLimits:
    """The usual limits, widened until 99 of 100 of these real masks, by image and in the order of ``names``, keep each.

    Masks that a real image lacks altogether may be empty.
    """
    usual = MaskLimits()
    may_be_empty = tuple(name for k, name in enumerate(names) if not all(image[k].parts for image in real))
    present = [shape for image in real for shape in image if shape.parts]
    if not present:
        return replace(usual, may_be_empty=may_be_empty)
    covered = [shape.covered for shape in present]
    parts = np.quantile([len(shape.parts) for shape in present], QUANTILE, method="higher")
    return MaskLimits(
        smallest=min(usual.smallest, float(np.quantile(covered, 1 - QUANTILE, method="lower"))),
        largest=max(usual.largest, float(np.quantile(covered, QUANTILE, method="higher"))),
        parts=max(usual.parts, round(parts)),
        may_be_empty=may_be_empty,
    )


def _at(split: Split, frame: tuple[int, int]) -> Iterator[np.ndarray]:
    """The masks of each image, (K, height, width) bool, at ``frame`` (height, width)."""
    assert split.store.masks is not None
    for row in split.rows:
        masks = split.store.masks[row][None]
        yield (masks if masks.shape[2:] == frame else reduce_masks(masks, frame))[0] > 0


def usual_overrides() -> str:
    """The usual limits, on the command line."""
    return " ".join(as_override(name, getattr(MaskLimits(), name)) for name in DERIVED)


def as_override(name: str, value: Any) -> str:
    return f"masks.{name}=" + (f"[{','.join(value)}]" if isinstance(value, tuple) else f"{value:g}")
