"""The GPUs of a machine, shared out among the jobs that run on it at the same time."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from src.core.locks import Lock

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"

_held: Lock | None = None  # until this process ends: CUDA reads once which devices there are


def visible() -> list[str]:
    """The devices that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    listed = os.environ.get(VISIBLE)
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def job_count(jobs_per_device: int) -> int:
    """How many jobs fill the machine; one where it has no GPU."""
    return max(1, len(visible())) * jobs_per_device


def take(jobs_per_device: int, devices: Sequence[str], folder: Path | None = None) -> str | None:
    """Let this process see one of ``devices``, that with the fewest jobs; returns it, or None where all is as before.

    It must be called before anything of this process uses CUDA, and does nothing the second time. Nobody waits: where
    every device has ``jobs_per_device`` jobs, of another sweep perhaps, this one joins the first.

    Args:
        folder: holds the locks by which processes know of each other; by default one for all of this user.
    """
    global _held
    if _held is not None or len(devices) < 2:
        return None
    folder = folder or Path(tempfile.gettempdir()) / f"gpus-{os.getuid()}"
    for slot in range(jobs_per_device):
        for device in devices:
            lock = Lock(folder / f"{device}-{slot}.lock")
            if lock.acquire():
                _held = lock
                os.environ[VISIBLE] = device
                return device
    os.environ[VISIBLE] = devices[0]
    return devices[0]
