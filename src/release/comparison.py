"""What the images of a generator are compared with, to find copies among them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from src.data.base import ImageData
from src.data.provenance import TrainingRecord
from src.data.store import Split
from src.release.calibration import Calibration
from src.release.copies import Originals


@dataclass(frozen=True)
class Comparison:
    """The real images that a generator learned from, and how near to them others come: the measure of a copy."""

    learned: Split
    held_out: Split
    originals: Originals  # of ``learned``
    calibration: Calibration  # with ``held_out``
    missing: int  # images that it learned from and the data do not hold: copies of them are not found

    @classmethod
    def of(cls, record: TrainingRecord, data: ImageData, channels: int) -> Comparison:
        """With the images of ``data``, which are prepared; with its training split where ``record`` knows none of them.

        Raises:
            UserError: there is no image to compare with.
        """
        learned, held_out, missing = record.divide(data)
        return cls.between(learned if len(learned) else data.split("train"), held_out, channels, missing)

    @classmethod
    def between(cls, learned: Split, held_out: Split, channels: int, missing: int = 0, seed: int = 0) -> Comparison:
        """``seed`` draws patients (``Calibration.of``). Raises UserError where ``learned`` is empty."""
        originals = Originals.of(learned, channels)
        calibration = Calibration.of(originals, learned, held_out, channels, seed)
        return cls(learned, held_out, replace(originals, prices=calibration.prices), calibration, missing)
