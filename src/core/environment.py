"""What a run was made with: library versions, processor and git state."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

import pytorch_lightning
import torch

from src.core.errors import UserError


def processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def device(asked: str) -> torch.device:
    """``auto`` (a GPU where there is one), ``cpu`` or ``cuda``. Raises UserError where it cannot be used here."""
    if asked not in ("auto", "cpu", "cuda") or (asked == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"device={asked} cannot be used here: choose auto or cpu")
    return torch.device("cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu")


def has_fast_bfloat16(accelerator: str) -> bool:
    """Whether bf16 is computed by the processor itself: AVX-512-BF16 or AMX on CPUs, tensor cores on GPUs."""
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return accelerator == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def describe(precision: str, device: torch.device) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pytorch_lightning": pytorch_lightning.__version__,
        "processor": processor(device),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def git_state() -> dict[str, Any] | None:
    """Commit and whether tracked files differ from it; None outside a repository."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "changed": bool(changed)}
