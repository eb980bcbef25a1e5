"""Kills a small study at random moments until it is finished, and compares what it finds with an undisturbed one.

``python -m benchmarks.kill_study --kills 25``: exit status 0 where every study ends in the bits of the undisturbed one.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STUDY = (
    "name=study", "budget=smoke", "phantoms=48", "data.sizes.val=8", "data.sizes.test=12", "logger=csv",
    "trainer.threads=1", "progress=false", "generators=[pggan]", "generator.images=256", "generator.width=8",
    "fractions=[1.0]", "seeds=2", "regimes=[synthetic_then_real,mixed]", "synthetic=48", "reject_masks=false",
    "unet.images=64", "unet.model.network.width=2", "unet.model.network.depth=3", "classifier.images=64",
    "classifier.width=4", "classifier.batch_size=32",
)  # fmt: skip
FOUND = ("study.json", "results.json")


def start(place: Path) -> subprocess.Popen[str]:
    """The study in the folder ``place``, whose data are decoded there too, so that a kill can hit that as well."""
    place.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(place / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "src.study", *STUDY],
        cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_until_finished(place: Path, seconds: float, draw: random.Random, most: int) -> tuple[int, str]:
    """How many kills it took (at most ``most``), and what went wrong; the study takes ``seconds`` undisturbed."""
    kills = 0
    while True:
        process = start(place)
        try:
            process.wait(draw.uniform(0.05, 1.0) * seconds if kills < most else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        errors = process.communicate()[1]
        return kills, "" if process.returncode == 0 else errors[-2000:]


def differences(one: Path, other: Path) -> list[str]:
    folders = [place / "outputs" / "study" for place in (one, other)]
    return [name for name in FOUND if len({(folder / name).read_bytes() for folder in folders}) > 1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25, help="of all studies together, at least")
    parser.add_argument("--each", type=int, default=7, help="kills of one study, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    draw, kills, bad = random.Random(options.seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, began = Path(folder) / "undisturbed", time.monotonic()
        process = start(undisturbed)
        if process.communicate() and process.returncode:
            raise SystemExit("the undisturbed study failed")
        seconds = time.monotonic() - began
        print(f"undisturbed: {seconds:.0f} s", flush=True)
        number = 0
        while kills < options.kills:
            place = Path(folder) / f"killed{number}"
            count, problem = kill_until_finished(place, seconds, draw, options.each)
            unlike = [] if problem else differences(undisturbed, place)
            print(f"study {number}: {count} kills, {problem or unlike or 'the same bits'}", flush=True)
            kills, bad, number = kills + count, bad + bool(problem or unlike), number + 1
    print(f"{kills} kills of {number} studies: {bad} of them end otherwise than undisturbed")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
