"""The scores: how they are written for people, and in which direction they are better."""

from __future__ import annotations

TITLES = {
    "am_score": "AM Score",
    "mode_score": "Mode Score",
    "mode_score_xu2018": "Mode Score (Xu)",
    "inception_score": "Inception Score",
    "fid": "FID",
    "kid": "KID",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "ssim_diversity": "SSIM diversity",
}
LOWER_IS_BETTER = {name: name in ("am_score", "fid", "kid", "ssim_diversity") for name in TITLES}
