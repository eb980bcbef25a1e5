"""What one job of the study leaves behind: a U-Net's Dice on every test image, and how it was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction

from src.errors import UserError

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


def from_json(text: str, source: str = "results") -> list[JobResult]:
    """The results that ``to_json`` wrote. Raises UserError naming ``source`` where the text holds something else."""
    try:
        return [_from_dict(entry) for entry in json.loads(text)]
    except (ValueError, TypeError) as problem:
        raise UserError(f"{source} holds no study results ({problem}): delete it and run the study again") from problem


def _from_dict(entry: dict[str, object]) -> JobResult:
    names = {field.name for field in fields(JobResult)}
    if not isinstance(entry, dict) or set(entry) != names:
        raise ValueError(f"expected the keys {', '.join(sorted(names))}")
    if entry["regime"] not in REGIMES:
        raise ValueError(f"regime {entry['regime']!r} is none of {', '.join(REGIMES)}")
    return JobResult(**entry)  # type: ignore[arg-type]
