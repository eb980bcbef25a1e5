"""What one job of the study leaves behind: a U-Net's Dice on every test image, and how it was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction

REAL, SYNTHETIC, SYNTHETIC_THEN_REAL, MIXED = "real", "synthetic", "synthetic_then_real", "mixed"
UNAUGMENTED = "real_unaugmented"
WITH_SYNTHETIC = (SYNTHETIC, SYNTHETIC_THEN_REAL, MIXED)
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
        regime = "real, not augmented" if self.regime == UNAUGMENTED else self.regime.replace("_", " ")
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
    training_dice: float | None = None  # mean over real images it learned from; None where it saw none

    @property
    def arm(self) -> Arm:
        return Arm(self.regime, self.generator, self.ratio if self.regime == MIXED else 0.0)


def fraction_text(fraction: float) -> str:
    """ "25%", of the real training images."""
    return f"{100 * fraction:.4g}%"


def signed(value: float) -> str:
    """A difference with its sign, three decimals: +0.012, −0.003, 0.000."""
    text = f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
    return text[1:] if text[1:] == "0.000" else text


def ratio_text(ratio: float) -> str:
    """Synthetic to real as people write it: 0.5 → "1:2"."""
    parts = Fraction(ratio).limit_denominator(100)
    return f"{parts.numerator}:{parts.denominator}"


def to_json(results: Sequence[JobResult]) -> str:
    return json.dumps([asdict(result) for result in results], indent=1)
