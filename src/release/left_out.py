"""What an export left out, and whether what it kept is still a sample of what its generator makes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SELECTION = 0.5  # share left out: above, what is kept are the exceptions of the generator
UNFIT = 0.1  # share kept with masks that fail the checks: above, that has to be said loudly


@dataclass(frozen=True)
class LeftOut:
    """How many images an export kept, and how many it left out, by reason."""

    kept: int
    reasons: Mapping[str, int]
    unfit: int = 0  # kept with masks that fail the checks, which were off

    @classmethod
    def of(cls, export: Path) -> LeftOut:
        """Of the folder of a finished export."""
        card = json.loads((export / "dataset.json").read_text())
        manifest = export / "manifest.csv"
        lines = manifest.read_text().splitlines() if manifest.exists() else []
        unfit = sum(row.get("masks_ok") == "false" for row in csv.DictReader(lines))
        return cls(card["n"], card.get("rejected", {}), unfit)

    @property
    def count(self) -> int:
        return sum(self.reasons.values())

    @property
    def made(self) -> int:
        return self.kept + self.count

    def cautions(self) -> Iterator[str]:
        """What it means where much was left out, or should have been."""
        if self.count > SELECTION * self.made:
            yield (
                f"the checks left out {self.count / self.made:.0%} of the images made: what was kept are exceptions of "
                "the generator, unlike what it makes, and may be unlike the real images"
            )
        if self.unfit > UNFIT * self.kept:
            yield (
                f"{self.unfit / self.kept:.0%} of the images have masks that fail the checks, which were off: a "
                "network learns from them as from right ones"
            )

    def text(self) -> str:
        """ "12 of 112 images made (lesion: speckle 10, copy 2); 3 are kept with masks that fail the checks"."""
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in self.reasons.items())
        kept = f"; {self.unfit:,} are kept with masks that fail the checks" if self.unfit else ""
        return f"{self.count:,} of {self.made:,} images made" + (f" ({reasons})" if reasons else "") + kept
