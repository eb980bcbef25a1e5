"""What Slurm tells of jobs, and what it is told: of others by a driver, of itself by a job."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Collection, Mapping
from typing import NamedTuple

from src.core.errors import UserError

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
AT_WORK = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "STAGE_OUT", "SIGNALING", "RESIZING")
REASONS = {  # why a job ended that could not say it itself
    "CANCELLED": ("cancelled", "it was cancelled (scancel); the same command runs it"),
    "TIMEOUT": ("interrupted", "its time was over (hydra.launcher.timeout_min); the same command goes on from there"),
    "OUT_OF_MEMORY": ("failed", "it took more memory than it had asked for: raise hydra.launcher.mem_gb"),
    "NODE_FAIL": ("interrupted", "its node failed; the same command goes on from the last checkpoint"),
    "PREEMPTED": ("interrupted", "another job took its place; the same command goes on from the last checkpoint"),
}
PATIENT = ("None", "Priority", "Resources", "BeginTime", "JobArrayTaskLimit")  # of a job that waits for its turn
TIMEOUT = 60  # seconds that Slurm gets to answer


class Job(NamedTuple):
    """As Slurm names it: ``12``, or ``12_3`` of an array."""

    id: str
    state: str
    reason: str = ""

    @property
    def has_ended(self) -> bool:
        return self.state not in (*WAITING, *AT_WORK)


def inside() -> str | None:
    """The id of the job that this process is part of, if any."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def jobs(ids: Collection[str]) -> dict[str, Job] | None:
    """Those of ``ids`` that have not been forgotten; None where Slurm does not answer now."""
    if not ids:
        return {}
    main = sorted({number.partition("_")[0] for number in ids})
    answer = _ask("squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r", "--jobs", ",".join(main))
    if answer is None or (answer.returncode and "Invalid job id" not in answer.stderr):
        return None
    found = (Job(*line.split("|", 2)) for line in answer.stdout.splitlines() if line.count("|") >= 2)
    return {job.id: job for job in found if job.id in ids}


def name_job(number: str, name: str) -> None:
    """What ``squeue`` calls the job; of no importance where Slurm refuses."""
    _ask("scontrol", "update", f"JobId={number}", f"JobName={name}")


def outcome_of(number: int | signal.Signals | None) -> str:
    """How a job that was signalled, and has saved itself, ends: ``requeued``, ``cancelled`` or ``interrupted``.

    Where the signal came before a time limit, or since another job takes this one's place, Slurm is told to start the
    job again.
    """
    job = inside()
    if job is None or number not in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        return "interrupted"
    about = describe(job)
    if number == signal.SIGTERM:
        if about.get("JobState") != "RUNNING":  # of one in its grace time that is its state
            return "requeued" if _starts_again(about) else "cancelled"
        if about.get("PreemptTime", "None") == "None":  # sent by hand: scancel --signal=TERM
            return "interrupted"
    return "requeued" if requeue(job) else "interrupted"


def requeue(job: str) -> bool:
    """Have Slurm start the job again; whether it will."""
    answer = _ask("scontrol", "requeue", job)
    return answer is not None and answer.returncode == 0


def describe(job: str) -> Mapping[str, str]:
    """What ``scontrol show job`` says; empty where Slurm does not answer."""
    answer = _ask("scontrol", "show", "job", "--oneliner", job)
    return dict(re.findall(r"(\S+?)=(\S*)", answer.stdout)) if answer and answer.returncode == 0 else {}


def _starts_again(about: Mapping[str, str]) -> bool:
    """Of a job that is being ended: whether Slurm has put it back into the queue, where it has no end."""
    return about.get("EndTime") == "Unknown" or about.get("Reason") in ("BeginTime", "Preempted")


def refusal(message: str) -> UserError:
    """Of ``sbatch``, in a line."""
    lines = [re.sub(r"^sbatch: (error: )?", "", line).strip() for line in message.splitlines() if line.strip()]
    said = next((line for line in lines if "submission failed" in line), lines[-1] if lines else "no reason given")
    detail = next((line for line in lines if line != said and "submission failed" not in line), "")
    return UserError(f"Slurm refuses the jobs: {said}{f' ({detail})' if detail else ''}: see hydra.launcher.*")


def _ask(*command: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return None
