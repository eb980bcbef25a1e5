"""Runs the jobs of a sweep in Slurm's queue, and waits until each has said how it ended.

What runs where is kept in ``<sweep>/.slurm/jobs.json``: a driver may end, and the same command finds its jobs again.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from omegaconf import DictConfig, open_dict

from src.command_line.override_parsing import key_of
from src.core import failures, processes, scheduler
from src.core.atomic import write_atomically
from src.core.errors import UserError
from src.core.identity import FREE_SETTINGS
from src.core.locks import Lock
from src.core.objective import objective_of
from src.core.run_folder import FolderTaken, RunFolder

if TYPE_CHECKING:
    from hydra_plugins.slurm_launcher import SlurmLauncher

log = logging.getLogger(__name__)

LOGS, LEDGER, LOCK = ".slurm", "jobs.json", ".lock"
EARLY = 3  # times that a job may reach its time limit before it trains: then it never does
OWN = ("poll_seconds", "max_num_timeout")  # settings that are none of sbatch's
SHARED = (  # settings that are those of any cluster to submitit
    "cpus_per_task", "gpus_per_node", "mem_gb", "nodes", "stderr_to_stdout", "tasks_per_node", "timeout_min",
)  # fmt: skip


class Detached(Exception):
    """The jobs are in the queue, and nobody waits for them."""


@dataclass(frozen=True, eq=False)
class Planned:
    """A job of the sweep, before it is one of Slurm's."""

    overrides: tuple[str, ...]
    cfg: DictConfig
    folder: RunFolder
    number: int

    @property
    def is_finished(self) -> bool:
        """Whether its run is done, by the same overrides that decide on it, and told: then it need not be queued."""
        if self.cfg.force or not self.folder.path.is_dir() or not self.folder.is_finished(self.cfg.images):
            return False
        if "wandb" in self.cfg.logger and self.folder.lacks_wandb_end:
            return False
        with suppress(OSError, ValueError):
            return _decisive(json.loads((self.folder.path / "overrides.json").read_text())) == _decisive(self.asked)
        return False

    @property
    def asked(self) -> list[str]:
        return list(self.cfg.hydra.overrides.task)

    def returned(self) -> JobReturn:
        value = None
        if self.folder.path.is_dir() and self.folder.is_finished(self.cfg.images):
            value = objective_of(self.folder.final(), self.cfg.objective)
        place = str(self.folder.path)
        return JobReturn(self.overrides, self.cfg, working_dir=place, status=JobStatus.COMPLETED, _return_value=value)


@dataclass(frozen=True)
class SlurmJob:
    """What a node runs: a job of the sweep, from its overrides on."""

    launcher: SlurmLauncher
    overrides: tuple[str, ...]
    number: int
    singletons: Mapping[type, Singleton]

    def __call__(self) -> None:
        Singleton.set_state(dict(self.singletons))
        setup_globals()
        cfg = _compose(self.launcher, self.overrides, self.number)
        run_job(
            hydra_context=self.launcher.hydra_context,
            task_function=self.launcher.task_function,
            config=cfg,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

    def checkpoint(self) -> Any:
        """The same again: the run folder knows where it goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def launch_in_slurm(launcher: SlurmLauncher, job_overrides: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
    """Queue the jobs that are not done, and wait for their ends; each that is not done then has a note of its reason.

    Raises:
        UserError: Slurm refuses the jobs, or is not there.
        Detached: they are queued, and ``detach`` asks for no more.
    """
    sweep = Path(str(launcher.config.hydra.sweep.dir)).absolute()
    planned = list(_plan(launcher, job_overrides, first))
    mine = _queue(launcher, planned, sweep)
    if launcher.config.detach and mine:
        raise Detached(f"{len(mine)} jobs are queued ({_short(mine.values())}): repeat the command for their page")
    try:
        _wait(mine, launcher.settings["poll_seconds"])
    except KeyboardInterrupt:
        if left := [number for job, number in mine.items() if job.folder.status().get("state") != "done"]:
            print(
                f"the jobs go on in the queue: repeat the command to wait for them, or end them with "
                f"scancel {' '.join(sorted({number.partition('_')[0] for number in left}))}",
                file=sys.stderr,
            )
        raise
    return [job.returned() for job in planned]


def _queue(launcher: SlurmLauncher, planned: Sequence[Planned], sweep: Path) -> dict[Planned, str]:
    """Queue the jobs that are neither done nor in the queue; the number there of each that is not done."""
    ledger, alone = sweep / LOGS / LEDGER, Lock(sweep / LOGS / LOCK)
    alone.acquire(wait=True)  # two drivers that begin at the same moment would queue each job twice
    try:
        queued, new, mine = _still_queued(ledger), [], {}
        for job in planned:
            if job.is_finished:
                log.info(f"finished already: {job.folder.name}")
            elif number := queued.get(str(job.folder.path)):
                log.info(f"in the queue already: {job.folder.name}, as job {number}")
                mine[job] = number
            else:
                new.append(job)
        if new:
            for job in new:
                failures.forget(job.folder.path)
            mine |= dict(zip(new, _submit(launcher, new, sweep), strict=True))
            queued |= {str(job.folder.path): mine[job] for job in new}
            write_atomically(ledger, json.dumps(queued, indent=1))
            for job in new:
                log.info(f"queued: {job.folder.name}, as job {mine[job]}")
                scheduler.name_job(mine[job], job.folder.path.name[:60])
        return mine
    finally:
        alone.remove()


def _plan(launcher: SlurmLauncher, job_overrides: Sequence[Sequence[str]], first: int) -> Iterator[Planned]:
    tasks, nodes = launcher.settings["tasks_per_node"], launcher.settings["nodes"]
    for number, overrides in enumerate(job_overrides, first):
        cfg = _compose(launcher, overrides, number)
        devices = processes.count(cfg.trainer.devices)
        if tasks > 1 and tasks != devices:
            raise UserError(
                f"hydra.launcher.tasks_per_node={tasks} starts {tasks} processes of a job, and trainer.devices="
                f"{devices} wants {devices}: set both alike, or leave tasks_per_node=1, which starts them by itself"
            )
        if nodes != cfg.trainer.num_nodes:
            raise UserError(
                f"hydra.launcher.nodes={nodes} and trainer.num_nodes={cfg.trainer.num_nodes} are to be the same"
            )
        folder = Path(cfg.hydra.sweep.dir) / cfg.hydra.sweep.subdir
        yield Planned(tuple(overrides), cfg, RunFolder(folder.absolute()), number)


def _compose(launcher: SlurmLauncher, overrides: Sequence[str], number: int) -> DictConfig:
    cfg = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    with open_dict(cfg):
        cfg.hydra.job.id, cfg.hydra.job.num = scheduler.inside() or f"job_id_for_{number}", number
    return cfg


def _submit(launcher: SlurmLauncher, jobs: Sequence[Planned], sweep: Path) -> list[str]:
    """The ids that Slurm gives them."""
    try:
        import submitit
    except ModuleNotFoundError:
        raise UserError("Slurm's launchers need an extra: pip install -c constraints.txt -e '.[cluster]'") from None
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError(
            "there is no sbatch here: Slurm's launchers run on a login node; hydra/launcher=joblib needs none"
        )
    settings = {key: value for key, value in launcher.settings.items() if key not in OWN and value is not None}
    executor = submitit.AutoExecutor(sweep / LOGS / "%j", cluster="slurm", slurm_max_num_timeout=EARLY)
    try:
        executor.update_parameters(
            **{key if key in SHARED else f"slurm_{key}": value for key, value in settings.items()},
            name=sweep.name,
        )
        with redirect_stderr(io.StringIO()), executor.batch():  # sbatch's words, which the error has too
            state = Singleton.get_state()
            made = [executor.submit(SlurmJob(launcher, job.overrides, job.number, state)) for job in jobs]
        return [str(job.job_id) for job in made]
    except submitit.core.utils.FailedJobError as problem:
        raise scheduler.refusal(str(problem)) from None
    except (TypeError, NameError, ValueError) as problem:  # a setting that submitit does not know
        raise UserError(f"hydra.launcher: {problem}") from problem


def _still_queued(ledger: Path) -> dict[str, str]:
    """The jobs of an earlier driver, by run folder, that have not ended."""
    try:
        known: dict[str, str] = json.loads(ledger.read_text())
    except (OSError, ValueError):
        return {}
    now = scheduler.jobs(known.values())
    if now is None:
        raise UserError("Slurm does not answer, and jobs of this sweep may be in its queue: try again later")
    return {folder: number for folder, number in known.items() if number in now and not now[number].has_ended}


def _wait(mine: Mapping[Planned, str], poll: float) -> None:
    """Until every job has ended; settles the account of each, and says once why one may wait for ever."""
    left, told = dict(mine), set(scheduler.PATIENT)
    while left:
        states = scheduler.jobs(left.values())
        for waiting in (states or {}).values():
            if waiting.state == "PENDING" and waiting.reason not in told:
                told.add(waiting.reason)
                log.warning(f"job {waiting.id} waits, since Slurm says {waiting.reason}: scancel it, or mend that")
        for job, number in [] if states is None else list(left.items()):
            state = states.get(number) if states else None
            if state is None or state.has_ended:
                settle(job.folder, state)
                del left[job]
        if left:
            time.sleep(poll)


def settle(folder: RunFolder, job: scheduler.Job | None) -> None:
    """Write down how a job ended that could not do it itself, and note the reason of every one that is not done."""
    status = folder.status() if folder.path.is_dir() else {}
    if status.get("state") == "done":
        return
    said = status.get("state") not in ("running", "requeued", None)  # of a last visit that could say it
    reason = failures.reason_of(folder.path) or (status.get("reason") if said else None)
    if reason is None:
        state = (job.state if job else "").partition(" ")[0]
        ending, reason = scheduler.REASONS.get(state, ("failed", f"its process ended without a word: see {LOGS}/"))
        with suppress(FolderTaken, OSError):
            if status:
                folder.lock()
                folder.write_status(ending, reason)
        folder.leave()
    failures.note(folder.path, reason)


def _decisive(overrides: Sequence[str]) -> list[str]:
    """Those that change what is trained: not ``detach=true``."""
    return [override for override in overrides if key_of(override).partition(".")[0] not in FREE_SETTINGS]


def _short(numbers: Any) -> str:
    main = sorted({number.partition("_")[0] for number in numbers})
    return ", ".join(main)
