"""One process per device, each running the same job."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

RANK = "LOCAL_RANK"  # set in the environment of every process of a distributed job, and nowhere else


def rank() -> int:
    """Which process of its job this one is: 0 writes the run folder, the others only compute."""
    return int(os.environ.get(RANK, 0))


def is_child() -> bool:
    return RANK in os.environ


def run_on_devices(devices: int, overrides: Sequence[str], folder: Path) -> int:
    """Run a training in ``devices`` processes; returns 0, or the exit status of the first that failed.

    SIGINT and SIGTERM stop them all, -SIGTERM is returned where training had not begun.

    Every job of a sweep gets processes of its own, so that nothing of a job is left for the next. ``folder`` is the
    job's run folder.
    """
    job = [*overrides, f"hydra.run.dir='{folder}'", "hydra.mode=RUN"]
    command = [sys.executable, "-m", "src.train", *job]
    environment = {
        "WORLD_SIZE": str(devices),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices))),
    }
    processes: list[subprocess.Popen] = []
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends this process ends the others
    try:
        for number in range(devices):
            processes.append(subprocess.Popen(command, env={**os.environ, **environment, RANK: str(number)}))
        return _wait(processes)
    except KeyboardInterrupt:
        for process in processes:
            process.terminate()  # a terminal has told them already, a scheduler perhaps this process alone
        return processes[0].wait() if processes else -signal.SIGTERM  # the first is the one that saves
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in processes:
            process.kill()
            process.wait()


def _wait(processes: Sequence[subprocess.Popen]) -> int:
    """Wait for all, or for the first that fails: the others would wait for it forever."""
    while True:
        statuses = [process.poll() for process in processes]
        if any(statuses):
            time.sleep(1)  # the process that writes the run folder may fail of the same, and knows best
            return processes[0].poll() or next(status for status in statuses if status)
        if None not in statuses:
            return 0
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
