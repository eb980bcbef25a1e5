"""What an export left out, and whether what it kept is still a sample of what its generator makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SELECTION = 0.5  # share left out: above, what is kept are the exceptions of the generator


@dataclass(frozen=True)
class LeftOut:
    """How many images an export kept, and how many it left out, by reason."""

    kept: int
    reasons: Mapping[str, int]

    @classmethod
    def of(cls, export: Path) -> LeftOut:
        """Of the folder of a finished export."""
        card = json.loads((export / "dataset.json").read_text())
        return cls(card["n"], card.get("rejected", {}))

    @property
    def count(self) -> int:
        return sum(self.reasons.values())

    @property
    def made(self) -> int:
        return self.kept + self.count

    @property
    def is_selection(self) -> bool:
        """Whether so much was left out that what was kept is unlike what the generator makes."""
        return self.count > SELECTION * self.made

    def caution(self) -> str:
        """What that means."""
        return (
            f"the checks left out {self.count / self.made:.0%} of the images made: what was kept are exceptions of the "
            "generator, unlike what it makes, and may be unlike the real images"
        )

    def text(self) -> str:
        """ "12 of 112 images made (lesion: speckle 10, copy 2)"."""
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in self.reasons.items())
        return f"{self.count:,} of {self.made:,} images made" + (f" ({reasons})" if reasons else "")
