"""Runs an entry point under Hydra: run folders, sweeps, and errors in one line."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.command_line import override_parsing, overrides
from src.command_line.help import describe, show
from src.command_line.resolvers import run_name
from src.command_line.slurm_launcher import Detached
from src.core import failures as notes
from src.core import processes
from src.core.errors import Interrupted, Stopped, UserError, of_the_system, one_line
from src.core.locks import Lock
from src.core.objective import objective_of
from src.core.run_folder import LOG, FolderTaken, RunFolder, place
from src.core.signals import SIGNALS

PAGE_LOCK = ".page.lock"
INTERRUPTED = 130  # exit status after Ctrl-C

Task = Callable[[DictConfig, RunFolder], float | None]


class JobFailed(Exception):
    """A job in processes of its own has failed for the reason that this says."""


def launch(
    task: Task, config_name: str, after_sweep: Callable[[Path], None] | None = None, paths: Sequence[str] = ()
) -> None:
    """Run ``task`` once, or with ``-m`` once per combination, and exit.

    ``paths`` names the settings whose values are paths, which need no quotes of their own.

    Exit status: 0 all done, 2 something failed (a line each on stderr), 130 stopped by Ctrl-C.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here instead of being printed there
    failures: dict[str, str] = {}
    try:
        if {"-h", "--help"} & set(sys.argv[1:]):
            show(describe(config_name, [argument for argument in sys.argv[1:] if not argument.startswith("-")]))
            return
        sweep_folder = _prepare_arguments(config_name, paths)

        def job(cfg: DictConfig) -> float | None:
            return run_job(task, cfg, failures)

        hydra.main(version_base="1.3", config_path=str(overrides.CONF), config_name=config_name)(job)()
    except Interrupted:
        raise SystemExit(INTERRUPTED) from None
    except Detached as left:
        print(left, file=sys.stderr)
        return
    except KeyboardInterrupt:
        print("stopped: repeat the command", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except (UserError, HydraException, OmegaConfBaseException) as problem:
        print(f"error: {one_line(problem)}", file=sys.stderr)
        raise SystemExit(2) from None
    except Exception as problem:
        if not failures:  # else a sweeper to which every job owed its objective ends in an error of its own
            if not (line := of_the_system(problem)):
                raise
            print(f"error: {line}", file=sys.stderr)
            raise SystemExit(2) from None
    if sweep_folder is not None:
        failures |= _failed_elsewhere(sweep_folder)
        _finish_sweep(after_sweep, sweep_folder, failures)
    for folder, reason in failures.items() if not processes.is_child() else ():  # its parent reports
        print(f"error: {reason}" if sweep_folder is None else f"failed: {folder}: {reason}", file=sys.stderr)
    if failures:
        raise SystemExit(2)


def run_command(
    config_name: str,
    task: Callable[[list[str]], object],
    arguments: Sequence[str] | None = None,
    goes_on: bool = True,
) -> int:
    """Run ``task`` on a command line that makes no run folder of its own; ``--help`` prints the configuration.

    ``goes_on``: whether the same command goes on where Ctrl-C stopped it.

    Exit status: 0 done, 2 wrong (a line on stderr), 130 stopped by Ctrl-C.
    """
    asked = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(asked):
        show((overrides.CONF / f"{config_name}.yaml").read_text())
        return 0
    try:
        task(asked)
    except (UserError, HydraException, OmegaConfBaseException) as problem:
        print(f"error: {one_line(problem)}", file=sys.stderr)
        return 2
    except Exception as problem:
        if not (line := of_the_system(problem)):
            raise
        print(f"error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped: the same command {'goes on from here' if goes_on else 'starts anew'}", file=sys.stderr)
        return INTERRUPTED
    return 0


def run_configured(
    config_name: str,
    task: Callable[[DictConfig], object],
    paths: Sequence[str],
    arguments: Sequence[str] | None = None,
    goes_on: bool = True,
) -> int:
    """:func:`run_command` of a ``task`` that takes the configuration; ``paths`` as in :func:`launch`."""

    def configured(asked: list[str]) -> object:
        quoted = override_parsing.quote_paths(asked, paths)
        return task(overrides.check(config_name, quoted, multirun=False, can_sweep=False))

    return run_command(config_name, configured, arguments, goes_on)


def run_job(task: Task, cfg: DictConfig, failures: dict[str, str]) -> float | None:
    """Run ``task`` in the run folder that Hydra chose; a failure goes there and, in a line, into ``failures``."""
    path = Path(HydraConfig.get().runtime.output_dir)
    try:
        processes.take_rank_from_slurm(cfg.trainer)
    except UserError as problem:  # before any of the tasks touches the folder
        failures[RunFolder(path).name] = str(problem)
        notes.note(path, str(problem))
        return None
    folder = RunFolder(path, writable=processes.rank() == 0)
    if not folder.writable:
        logging.disable(logging.WARNING)  # one voice is enough
    elif not processes.is_child():  # where another may have noted something already
        with contextlib.suppress(OSError):
            notes.forget(folder.path)
    try:
        if not cfg.dry_run:
            folder.lock()
        with log_to(folder):
            if processes.world_size(cfg.trainer) > 1 and not processes.is_rank():
                return _run_in_processes(cfg, folder, failures)
            return task(cfg, folder)
    except (FolderTaken, JobFailed) as problem:
        reason = str(problem)
    except Interrupted:
        raise
    except (KeyboardInterrupt, Stopped):
        if folder.begun and folder.status().get("state") == "running":
            with contextlib.suppress(OSError):
                folder.write_status("interrupted", "stopped by the user at once")
        last = "it goes on from the last checkpoint" if folder.begun else "nothing has begun"
        if folder.writable:
            print(f"stopped: {folder.name}: {last}; repeat the command", file=sys.stderr)
        raise Interrupted from None
    except Exception as problem:
        reason = one_line(problem)
        with contextlib.suppress(OSError):
            folder.fail(reason, _settings(cfg))
            _log_to_file(folder, problem)
    finally:
        folder.leave(keep_log=not cfg.dry_run)
        gc.collect()  # a training is full of cycles, and the next job of a sweep needs its memory and files
    failures[folder.name] = reason
    if folder.writable and (processes.is_child() or HydraConfig.get().mode == RunMode.MULTIRUN):
        with contextlib.suppress(OSError):
            notes.note(folder.path, reason)
    return None


def _settings(cfg: DictConfig) -> dict[str, Any] | None:
    """None where what they follow from is not known."""
    try:
        return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    except OmegaConfBaseException:
        return None


def _run_in_processes(cfg: DictConfig, folder: RunFolder, failures: dict[str, str]) -> float | None:
    overrides = HydraConfig.get().overrides.task
    status = processes.run_on_devices(cfg.trainer, overrides, folder.path, folder.lock_descriptor)
    if not status:
        return None if cfg.dry_run or not folder.writable else objective_of(folder.final(), cfg.objective)
    stopped = status in (INTERRUPTED, *(-number for number in SIGNALS))
    reason = notes.reason_of(folder.path) or f"one of its processes ended with exit status {status}"
    if folder.held and folder.status().get("state") == "running":  # they had no time to say how they ended
        folder.write_status(*(("interrupted", "stopped by the user") if stopped else ("failed", reason)))
    notes.forget(folder.path)
    raise Interrupted if stopped else JobFailed(reason)


def _failed_elsewhere(sweep_folder: Path) -> dict[str, str]:
    """Failed jobs by folder, also of launchers that run them in other processes."""
    found = notes.all_below(sweep_folder)
    for run in found:
        notes.forget(run)
    return {RunFolder(run).name: reason for run, reason in found.items()}


def _finish_sweep(after_sweep: Callable[[Path], None] | None, folder: Path, failures: dict[str, str]) -> None:
    page = Lock(folder / PAGE_LOCK)
    try:
        if after_sweep is not None:
            page.acquire(wait=True)  # another that ran the same sweep may be writing it too
            after_sweep(folder)
    except OSError as problem:
        failures[str(folder)] = one_line(problem)
    finally:
        page.remove()


class _Log(logging.FileHandler):
    """A log that a full disk cannot make a second problem of."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def log_to(folder: RunFolder) -> Iterator[None]:
    """Keep what is logged in the folder too, where this process holds it."""
    if not folder.held:
        yield
        return
    handler = _Log(folder.path / LOG, delay=True)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _log_to_file(folder: RunFolder, problem: BaseException) -> None:
    if not folder.held:
        return
    record = logging.LogRecord(
        "error", logging.ERROR, "", 0, "traceback", None, (type(problem), problem, problem.__traceback__)
    )
    with open(folder.path / LOG, "a") as file:
        file.write(logging.Formatter("%(asctime)s %(message)s").format(record) + "\n")


def _prepare_arguments(config_name: str, paths: Sequence[str]) -> Path | None:
    """Check the command line; pin and return the folder of a sweep, None for a single run."""
    quoted = override_parsing.quote_paths(overrides.fit_values(config_name, sys.argv[1:]), paths, sweeps=True)
    # Argument parsing stops at a flag between overrides, so -m may stand anywhere only if it is moved to the front.
    sys.argv[1:] = sorted(quoted, key=lambda argument: argument not in ("-m", "--multirun"))
    args = get_args_parser().parse_args()
    if args.hydra_help or args.info or args.cfg or args.config_dir or args.config_path:
        return None
    cfg = overrides.check(config_name, args.overrides, args.multirun)
    place(cfg.paths.outputs, run_name(cfg.name, ()))
    if not (args.multirun or cfg.hydra.mode == RunMode.MULTIRUN):
        return None
    if _is_one_by_one(cfg):  # else Hydra composes all configurations before the first job
        sys.argv.append("hydra.sweeper.max_batch_size=1")
    if any(o.startswith("hydra.sweep.dir=") for o in args.overrides):
        return Path(cfg.hydra.sweep.dir)
    folder = place(cfg.paths.outputs, run_name(cfg.name, [o for o in args.overrides if not o.startswith("hydra.")]))
    # Every job composes its own configuration, so the sweep's folder has to be said once for all of them.
    sys.argv.append(f"hydra.sweep.dir='{folder}'")
    return folder


def _is_one_by_one(cfg: DictConfig) -> bool:
    """Whether the jobs of a sweep follow each other in this process, however many of them are launched at once."""
    choices = cfg.hydra.runtime.choices
    return choices["hydra/sweeper"] == choices["hydra/launcher"] == "basic" and cfg.hydra.sweeper.max_batch_size is None
