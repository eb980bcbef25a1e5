"""Put runs side by side: ``python -m src.compare outputs/<run or sweep> [...] [--out FOLDER]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from src.core.errors import UserError

DEFAULT_OUT = Path("outputs/compare")


def compare(paths: Sequence[Path], out: Path | None = None) -> Path:
    """Write the page of all runs in ``paths`` and return its path. Raises UserError where there are no runs."""
    # Imported now: --help and a typo need none of it.
    from src.comparison.overview import write_comparison
    from src.comparison.runs import find_runs

    runs = find_runs(paths)
    if not runs:
        raise UserError(f"no runs in {', '.join(map(str, paths))}: a run folder has config.yaml and status.json")
    folder = out or (paths[0] if len(paths) == 1 else DEFAULT_OUT)
    try:
        return write_comparison(runs, folder)
    except OSError as error:
        raise UserError(
            f"the page cannot be written to {folder} ({error.strerror or error}): give another --out"
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m src.compare", description="Put runs side by side on one page.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="FOLDER", help="a run, or a folder with runs below it")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help=f"where compare.html and compare.png go (default: the folder given, or {DEFAULT_OUT} for several)",
    )
    options = parser.parse_args(arguments)
    try:
        page = compare(options.paths, options.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: no page was written; repeat the command", file=sys.stderr)
        return 130
    print(f"comparison: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
