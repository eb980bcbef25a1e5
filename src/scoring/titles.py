"""The scores: how they are written for people, and in which direction they are better."""

from __future__ import annotations

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
