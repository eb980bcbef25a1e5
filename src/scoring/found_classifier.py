"""Finds the classifier that a GAN can be scored by without being told of it: of the same data, image by image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.core.run_folder import RunFolder

DEPTHS = ("*", "*/*", "*/classifier/*")  # a run, one of a sweep, and that of a study, below the folder of all runs


def find_classifier(outputs: Path, fingerprint: str) -> Path | None:
    """The most accurate finished classifier of the data with this ``fingerprint`` below ``outputs``."""
    found = [(accuracy(summary), str(path)) for path, summary in _classifiers(outputs, fingerprint)]
    return Path(max(found)[1]) if found else None


def accuracy(summary: dict[str, Any]) -> float:
    """On test images, or on those of validation, 0 to 1; 0 where it was not tested."""
    final = summary.get("final", {})
    return float(final.get("test_accuracy", final.get("val_accuracy", 0.0)))


def _classifiers(outputs: Path, fingerprint: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted({path for depth in DEPTHS for path in outputs.glob(f"{depth}/summary.json")}):
        try:
            summary = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if not isinstance(summary, dict) or summary.get("model") != "classifier":
            continue
        if summary.get("data_fingerprint") == fingerprint and RunFolder(path.parent).status().get("state") == "done":
            yield path.parent, summary
