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

from src.core.locks import INHERITED

RANK = "LOCAL_RANK"  # set in the environment of every process of a distributed job, and nowhere else


def rank() -> int:
    """Which process of its job this one is: 0 writes the run folder, the others only compute."""
    return int(os.environ.get(RANK, 0))


def is_child() -> bool:
    return RANK in os.environ


def count(devices: int | Sequence[int]) -> int:
    """How many processes ``trainer.devices`` asks for: a number, or the devices themselves."""
    return devices if isinstance(devices, int) else len(devices)


def run_on_devices(devices: int, overrides: Sequence[str], folder: Path, lock: int | None) -> int:
    """Run a training in ``devices`` processes; returns 0, or the exit status of the first that failed.

    SIGINT, SIGTERM and SIGHUP stop them all, -SIGTERM is returned where training had not begun.

    Every job of a sweep gets processes of its own, so that nothing of a job is left for the next. ``folder`` is the
    job's run folder, and ``lock`` the descriptor under which this process holds it: they hold it together.
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
    # What ends this process ends the others; who started it with nohup wants no end.
    ending = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, signal.default_int_handler) for number in ending}
    held = () if lock is None else (lock,)
    environment |= {INHERITED: str(lock)} if held else {}
    try:
        for number in range(devices):
            own = {**os.environ, **environment, RANK: str(number)}
            processes.append(subprocess.Popen(command, env=own, pass_fds=held))
        return _wait(processes)
    except KeyboardInterrupt:
        for process in processes:
            process.terminate()  # a terminal has told them already, a scheduler perhaps this process alone
        return processes[0].wait() if processes else -signal.SIGTERM  # the first is the one that saves
    finally:
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)
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
