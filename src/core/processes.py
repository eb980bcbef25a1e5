"""One process per device, each running the same job; on several nodes, each node has those of its own devices."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.core.errors import UserError
from src.core.locks import INHERITED
from src.core.signals import Signals

# Of torchrun and Lightning: which process of its node this one is, which of the job, and which node this is.
LOCAL_RANK, RANK, NODE_RANK = "LOCAL_RANK", "RANK", "NODE_RANK"
OURS = "RUN_IS_CHILD"  # in the environment of processes that this module has started


def rank() -> int:
    """Which process of its job this one is: 0 writes the run folder, the others only compute."""
    return int(os.environ.get(RANK) or os.environ.get(LOCAL_RANK) or _node())


def _node() -> int:
    return int(os.environ.get(NODE_RANK) or os.environ.get("GROUP_RANK") or 0)


def is_rank() -> bool:
    """Whether this is one of the processes of a job that has one for every device, whoever started it."""
    return LOCAL_RANK in os.environ


def is_child() -> bool:
    """Whether a process of ours has started this one, and says what became of it."""
    return OURS in os.environ


def count(devices: int | Sequence[int]) -> int:
    """How many processes ``trainer.devices`` asks for: a number, or the devices themselves."""
    return devices if isinstance(devices, int) else len(devices)


def world_size(trainer: Mapping[str, Any]) -> int:
    """How many processes a training has, on all nodes."""
    return count(trainer["devices"]) * trainer.get("num_nodes", 1)


def threads() -> int:
    """Cores that this process may use: what a scheduler has given to it, else all."""
    given = os.environ.get("SLURM_CPUS_PER_TASK")
    if given and given.isdecimal():
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def take_rank_from_slurm(trainer: Mapping[str, Any]) -> None:
    """Where ``srun`` has started a process for every device, or for every node, say so as torchrun would.

    Raises:
        UserError: it has started another number of them, which would all train the same.
    """
    tasks = int(os.environ.get("SLURM_NTASKS") or 1)
    if "SLURM_STEP_ID" not in os.environ or tasks == 1 or is_rank():
        return
    devices, nodes = count(trainer["devices"]), trainer.get("num_nodes", 1)
    if tasks not in (devices * nodes, nodes):
        raise UserError(
            f"Slurm has started {tasks} tasks of this job, and trainer.devices={devices} on trainer.num_nodes={nodes} "
            f"take {devices * nodes}: set both alike (hydra.launcher.tasks_per_node), or start one task on each node"
        )
    job = int(os.environ["SLURM_JOB_ID"])
    os.environ |= {
        NODE_RANK: os.environ["SLURM_NODEID"],
        "MASTER_ADDR": os.environ.get("MASTER_ADDR") or first_host(os.environ["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(20_000 + job % 20_000),
    }
    if tasks == devices * nodes:
        os.environ |= {
            RANK: os.environ["SLURM_PROCID"],
            LOCAL_RANK: os.environ["SLURM_LOCALID"],
            "WORLD_SIZE": str(tasks),
        }


def first_host(hosts: str) -> str:
    """Of a list as Slurm writes it: ``node[03-05,9]`` → ``node03``."""
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", hosts, count=1).split(",")[0]


def run_on_devices(trainer: Mapping[str, Any], overrides: Sequence[str], folder: Path, lock: int | None) -> int:
    """Run a training in a process for every device of this node; returns 0, or the status of the first that failed.

    A signal is passed on to them all; -SIGTERM is returned where training had not begun.

    Every job of a sweep gets processes of its own, so that nothing of a job is left for the next. ``folder`` is the
    job's run folder, and ``lock`` the descriptor under which this process holds it: they hold it together.

    Raises:
        UserError: of several nodes, nothing says which this one is, and where they meet.
    """
    devices, nodes = count(trainer["devices"]), trainer.get("num_nodes", 1)
    if nodes > 1 and not {NODE_RANK, "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise UserError(
            f"trainer.num_nodes={nodes}: start it by srun, by torchrun, or on every node with NODE_RANK, MASTER_ADDR "
            "and MASTER_PORT in its environment"
        )
    job = [*overrides, f"hydra.run.dir='{folder}'", "hydra.mode=RUN"]
    command = [sys.executable, "-m", "src.train", *job]
    here = {NODE_RANK: "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ""} if nodes == 1 else {}
    environment = {
        **here,
        "WORLD_SIZE": str(devices * nodes),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, threads() // devices))),
        OURS: "1",
    }
    if nodes == 1:
        environment["MASTER_PORT"] = str(_free_port())
    held = () if lock is None else (lock,)
    environment |= {INHERITED: str(lock)} if held else {}
    processes: list[subprocess.Popen] = []
    try:
        with Signals() as signals, signals.noted():
            for number in range(devices):
                own = {LOCAL_RANK: str(number), RANK: str(_node() * devices + number)}
                processes.append(subprocess.Popen(command, env={**os.environ, **environment, **own}, pass_fds=held))
            return _wait(processes, signals)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _wait(processes: Sequence[subprocess.Popen], signals: Signals) -> int:
    """Wait for all, or for the first that fails: the others would wait for it forever."""
    while True:
        statuses = [process.poll() for process in processes]
        if signals.received is not None:
            for process in processes:  # a terminal has told them already, a scheduler perhaps this process alone
                process.send_signal(signal.SIGTERM if signals.received == signal.SIGINT else signals.received)
            return processes[0].wait()  # the first is the one that saves
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
