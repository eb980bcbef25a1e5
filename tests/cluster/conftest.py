"""A cluster for all tests of this folder, and commands that are run on its login node."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import Cluster, missing
from tests.conftest import TINY, TRAIN

SLURM = (
    "hydra/launcher=slurm_cpu", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1",
    "hydra.launcher.poll_seconds=0.3", "hydra.launcher.timeout_min=10", "hydra.launcher.signal_delay_s=1",
)  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The quick ones run wherever Slurm is; the others take minutes."""
    asked = "slurm" in (config.option.markexpr or "")
    for item in items:
        marker = item.get_closest_marker("slurm")
        if marker and not (asked or marker.kwargs.get("quick")):
            item.add_marker(pytest.mark.skip(reason="takes minutes: make cluster-test"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if lacking := missing():
        pytest.skip(f"Slurm cannot be started here: {', '.join(lacking)} missing")
    pytest.importorskip("submitit")
    with Cluster() as running:
        yield running


class LoginNode:
    """A folder on the cluster, and ``python -m src.train`` in it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.drivers: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, asked: tuple[str, ...] = (*TINY, *SLURM)) -> subprocess.Popen[str]:
        own = {**self.cluster.environment, "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]}
        command = [*TRAIN, *asked, *arguments]
        driver = subprocess.Popen(
            command, cwd=self.folder, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

        self.drivers.append(driver)
        return driver

    def leave(self) -> None:
        """End what a test that failed has left behind."""
        for driver in self.drivers:
            driver.kill()
            driver.wait()
        for job, _ in self.cluster.jobs():
            self.cluster.output("scancel", job)
        self.wait_until(lambda: not self.cluster.jobs(), "the jobs' end")

    def run(self, *arguments: str, **options: tuple[str, ...]) -> tuple[int, str]:
        """Exit status and stderr."""
        return self.finish(self.start(*arguments, **options))

    def finish(self, process: subprocess.Popen[str], seconds: float = 900) -> tuple[int, str]:
        _, err = process.communicate(timeout=seconds)
        assert "Traceback" not in err, err
        return process.returncode, err

    def states(self, sweep: str) -> dict[str, dict]:
        """Of every run of a sweep, by its folder."""
        found = (self.folder / "outputs" / sweep).glob("*/status.json")
        return {path.parent.name: json.loads(path.read_text()) for path in found}

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited for {what}"
            time.sleep(0.2)

    def wait_for_training(self, sweep: str, count: int, images: int = 1) -> None:
        def trains() -> bool:
            shown = [state["images"] for state in self.states(sweep).values() if state["state"] == "running"]
            return sum(number >= images for number in shown) >= count

        self.wait_until(trains, f"{count} runs that train")


@pytest.fixture
def login(cluster: Cluster, tmp_path: Path) -> Iterator[LoginNode]:
    node = LoginNode(cluster, tmp_path)
    yield node
    node.cluster = cluster
    node.leave()
