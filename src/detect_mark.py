"""Looks for the watermark of exported images: ``python -m src.detect_mark images=<file or folder>``."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from src.command_line.launch import run_configured

CONFIG = "detect_mark"
PATHS = ("images", "out")  # settings whose values are paths


def detect_mark(cfg: DictConfig) -> None:
    """Say of the images that ``cfg`` (conf/detect_mark.yaml) names which bear the mark."""
    # Imported now: --help and a typo need none of them.
    from src.core.atomic import write_atomically
    from src.release.marked_files import image_files, read_pixels
    from src.release.watermark import FALSE_ALARMS, look_for, threshold

    files = image_files(Path(cfg.images))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["file", "marked", "score", "scale"])
    marked = 0
    for file in files:
        found = look_for(read_pixels(file))
        marked += found.is_marked
        rows.writerow([file.as_posix(), str(found.is_marked).lower(), f"{found.score:.2f}", f"{found.scale:.3g}"])
        if len(files) <= cfg.shown:
            says = "marked as synthetic" if found.is_marked else "no mark found"
            print(f"{file}: {says} (score {found.score:.1f}, threshold {threshold():.1f})")
    if cfg.out:
        write_atomically(Path(cfg.out), table.getvalue())
    print(
        f"{marked:,} of {len(files):,} images bear the mark; of unmarked ones at most {FALSE_ALARMS:.2%} would be said "
        "to. That none is found does not say that an image is real."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_configured(CONFIG, detect_mark, PATHS, arguments, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
