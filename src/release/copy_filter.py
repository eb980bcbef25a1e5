"""Which images an export leaves out as copies, and why: what its record says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from src.release.comparison import Comparison
from src.release.copies import FILTER

NOT_LOOKED = {"filter": None, "why": "copies.share and copies.min_distance are null: nobody looked for copies"}


@dataclass(frozen=True)
class CopyFilter:
    """Leaves out what is nearer than ``min_distance`` to an image that the generator learned from.

    Args:
        share: of the held-out images, which set that distance; None where it was given.
    """

    comparison: Comparison
    min_distance: float
    share: float | None

    @classmethod
    def of(cls, comparison: Comparison, share: float | None, min_distance: float | None) -> CopyFilter:
        """The distance that is given, else that which ``share`` of the images of held-out patients are nearer than.

        Raises:
            UserError: none is given, and no patient was held out.
        """
        if min_distance is not None:
            return cls(comparison, min_distance, None)
        assert share is not None
        return cls(comparison, comparison.calibration.threshold(share), share)

    def facts(self) -> dict[str, Any]:
        """For the record of an export."""
        why = (
            "given"
            if self.share is None
            else f"nearer are at most {self.share:g} of the images of other patients, as those held out show"
        )
        return {
            "filter": FILTER,
            "min_distance": self.min_distance,
            "why": why,
            "originals": len(self.comparison.learned),
            "held_out": self.comparison.calibration.facts(),
        }

    def lines(self) -> Iterator[str]:
        """What to tell before the export."""
        calibration = self.comparison.calibration
        asked = "copies.min_distance" if self.share is None else f"copies.share={self.share:g}"
        yield f"{asked}: images nearer than {self.min_distance:g} to a training image are left out"
        yield calibration.describe()
        if caution := calibration.caution():
            yield f"caution: {caution}"
