"""What stored pixels stand for in the units of the files, such as Hounsfield units, and the way back to them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from src.core.atomic import write_atomically
from src.core.errors import UserError

FILE = "scale.json"  # in a run folder


@dataclass(frozen=True)
class Scale:
    """Black is ``low`` and white is ``high``, linear in between; what lay beyond is clipped.

    Args:
        unit: of both, "HU" of Hounsfield units; empty: as the files have them.
        unknown: why there is no such scale, in words; empty where there is.
    """

    low: float
    high: float
    unit: str = ""
    unknown: str = ""

    @classmethod
    def without(cls, why: str) -> Scale:
        return cls(0.0, 1.0, "", why)

    def slope(self, top: int) -> float:
        """Units between a pixel and the next, of pixels from 0 to ``top``."""
        return (self.high - self.low) / top

    def values(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 or uint16 → float32 in units."""
        return (pixels * self.slope(np.iinfo(pixels.dtype).max) + self.low).astype(np.float32)

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """Units → uint16, rounded."""
        return np.rint((values.astype(np.float64) - self.low) / self.slope(65535)).clip(0, 65535).astype(np.uint16)

    @classmethod
    def read(cls, folder: Path) -> Scale:
        """That of a run. Raises UserError where there is none."""
        path = folder / FILE
        if not path.exists():
            raise UserError(
                f"units=original: {folder} does not say what its pixels stand for, as runs on a folder of images do "
                "since this version: export with units=pixels"
            )
        try:
            scale = cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as problem:
            raise UserError(f"{path} is damaged: restore it, or export with units=pixels") from problem
        if scale.unknown:
            raise UserError(f"units=original: {scale.unknown}: export with units=pixels")
        return scale

    def write(self, folder: Path) -> None:
        write_atomically(folder / FILE, json.dumps(asdict(self)))
