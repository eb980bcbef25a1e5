"""The scores: how they are written for people, and in which direction they are better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from src.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

TITLES = {
    "am_score": "AM Score",
    "mode_score": "Mode Score",
    "mode_score_xu2018": "Mode Score (Xu)",
    "inception_score": "Inception Score",
    "fid": "FID",
    "frd": "FRD",
    "kid": "KID",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "clipped_density": "Clipped density",
    "clipped_coverage": "Clipped coverage",
    "rke": "RKE",
    "ssim_diversity": "SSIM diversity",
}
LOWER_IS_BETTER = {name: name in ("am_score", "fid", "frd", "kid", "ssim_diversity") for name in TITLES}
OWN = frozenset(TITLES)


class FurtherScore(Protocol):
    """A score that a configuration adds to those of this project."""

    title: str
    lower_is_better: bool

    def __call__(self, real: Tensor, generated: Tensor) -> float:
        """Of features (N, D) and (M, D)."""
        ...


def register(name: str, score: FurtherScore) -> None:
    """Have tables and pictures show the score. Raises UserError where the project has one of that name."""
    if name in OWN:
        raise UserError(f"a score is called {name} already: choose another name for {type(score).__name__}")
    TITLES[name], LOWER_IS_BETTER[name] = score.title, score.lower_is_better
