from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from src.core import gpus

TAKE = """
import sys
from pathlib import Path
from src.core import gpus
print(gpus.take(2, ["0", "3"], Path(sys.argv[1])), flush=True)
input()
"""


def take_in_processes(folder: Path, count: int) -> list[str]:
    """What processes that live side by side are given."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TAKE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        return [process.stdout.readline().strip() for process in started if process.stdout]
    finally:
        for process in started:
            process.communicate("\n")


def test_jobs_side_by_side_share_out_the_devices_and_those_of_ended_ones_are_free_again(tmp_path: Path) -> None:
    assert Counter(take_in_processes(tmp_path, 2)) == {"0": 1, "3": 1}
    assert Counter(take_in_processes(tmp_path, 5)) == {
        "0": 3,
        "3": 2,
    }  # one more than there is room for joins the first


def test_a_process_sees_its_device_alone_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_held", None)
    monkeypatch.setenv(gpus.VISIBLE, "2, 5")
    assert gpus.visible() == ["2", "5"] and gpus.job_count(4) == 8
    assert gpus.take(1, gpus.visible(), tmp_path) == "2" == os.environ[gpus.VISIBLE]
    assert gpus.take(1, ["2", "5"], tmp_path) is None
    gpus._held.release()  # type: ignore[union-attr]


def test_a_single_device_is_left_to_whoever_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VISIBLE, "1")
    assert gpus.take(1, gpus.visible(), tmp_path) is None and not list(tmp_path.iterdir())
