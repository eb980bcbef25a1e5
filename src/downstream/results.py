"""What one job of the study leaves behind: a U-Net's Dice on every test image, and how it was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction

REAL, SYNTHETIC, SYNTHETIC_THEN_REAL, MIXED = "real", "synthetic", "synthetic_then_real", "mixed"
REGIMES = (REAL, SYNTHETIC, SYNTHETIC_THEN_REAL, MIXED)


@dataclass(frozen=True)
class Arm:
    """One way of training a U-Net; the jobs of an arm differ in their real fraction and seed only."""

    regime: str
    generator: str | None = None
    ratio: float = 0.0  # synthetic images for each real one; of the mixed regime only

    @property
    def label(self) -> str:
        """As tables and figures name it: "mixed 1:2 · enhanced"."""
        regime = self.regime.replace("_", " ")
        if self.regime == MIXED:
            regime += f" {ratio_text(self.ratio)}"
        return regime if self.generator is None else f"{regime} · {self.generator}"


@dataclass(frozen=True)
class JobResult:
    """The test of one U-Net."""

    regime: str  # one of REGIMES
    generator: str | None  # None where only real images were used
    ratio: float  # synthetic images for each real one; 0 where images are not mixed
    fraction: float  # of the real training images, above 0 up to 1
    seed: int
    dice: dict[str, float]  # test image file → mean Dice over classes, 0 to 1
    cases: dict[str, str]  # test image file → case (patient)
    run: str  # folder of the run
    command: str  # that repeats it

    @property
    def arm(self) -> Arm:
        return Arm(self.regime, self.generator, self.ratio if self.regime == MIXED else 0.0)


def ratio_text(ratio: float) -> str:
    """Synthetic to real as people write it: 0.5 → "1:2"."""
    parts = Fraction(ratio).limit_denominator(100)
    return f"{parts.numerator}:{parts.denominator}"


def to_json(results: Sequence[JobResult]) -> str:
    return json.dumps([asdict(result) for result in results], indent=1)
