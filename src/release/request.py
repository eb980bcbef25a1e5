"""What is asked of an export."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from src.core.errors import UserError
from src.release import masks
from src.release.formats.base import Format


@dataclass(frozen=True)
class Request:
    """What is asked of an export; the same request goes on in the folder of an earlier one.

    Args:
        n: images, all with masks that pass the checks.
        size: pixels on the longer side, at most the generator's resolution.
        seed: of the latents; image i depends on seed and i alone.
        bits: per pixel, 8, or 16 for grey images.
        reject: leave out images whose masks do not pass ``limits``; false: keep them and say so in manifest.csv.
        min_distance: leave out images nearer than this to an original (``src.release.copies``); None: do not look.
        watermark: mark the pixels of the images (``src.release.watermark``).
        units: pixels, or original = what the files of the real images measure, such as Hounsfield units.
        class_name: what all images show, where the run does not know; None: it does, or nobody does.

    Raises:
        UserError: a value out of its range.
    """

    n: int
    size: int
    seed: int = 0
    bits: int = 8
    reject: bool = True
    limits: masks.MaskLimits = field(default_factory=masks.MaskLimits)
    min_distance: float | None = None
    watermark: bool = False
    units: str = "pixels"
    class_name: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("n", 1), ("size", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"{name}={value} must be an integer of at least {least}")
        if self.bits not in (8, 16):
            raise UserError(f"bits={self.bits} must be 8 or 16")
        distance = self.min_distance
        if distance is not None and not (_is_number(distance) and 0 < distance < math.inf):
            raise UserError(f"copies.min_distance={distance} must be a number above 0")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class TooFewPass(UserError):
    """Of the images that were made, too few pass the checks."""


def class_of(known: Sequence[str], given: str | None, format: Format) -> str:
    """What all images of a run show that learned from the classes ``known``; empty where nobody knows.

    Raises:
        UserError: ``given`` is one of several, or no name of a folder; the format wants one, and there is none.
    """
    if len(known) > 1 and given in known:
        raise UserError(
            f"class_name={given}: the run learned from {', '.join(known)}, and which of them an image shows is not "
            f"known: export a run that learned from it alone (data.classes=[{given}])"
        )
    if given is not None and (given in (".", "..") or Path(given).name != given or "," in given or '"' in given):
        raise UserError(f"class_name={given} cannot be the name of a folder: choose another")
    name = given or (known[0] if len(known) == 1 else "")
    if format.folder_per_class and not name:
        what = f"the run learned from {', '.join(known)} together" if known else "the run knows no classes"
        raise UserError(
            f"format={format.name} has a folder per class, and {what}: name what its images show with class_name=…, "
            "or export with format=png"
        )
    return name
