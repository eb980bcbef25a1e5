"""Runs an entry point under Hydra: run folders, sweeps, and errors in one line."""

from __future__ import annotations

import difflib
import hashlib
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src import processes
from src.errors import UserError
from src.run_folder import FREE_SETTINGS, FolderTaken, RunFolder

log = logging.getLogger(__name__)
CONF = Path(__file__).resolve().parents[1] / "conf"
INTERRUPTED = 130  # exit status after Ctrl-C
LONGEST_NAME = 150  # characters of a folder name, below the 255 bytes that file systems allow

Task = Callable[[DictConfig, RunFolder], float | None]


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; everything is saved."""


def run_name(name: str | None, overrides: Sequence[str]) -> str:
    """The folder name of what was asked: ``name``, or the overrides: choices first, then single settings."""
    if name:
        return name
    asked = [o for o in overrides if re.split(r"[.=]", o.lstrip("+~"))[0] not in FREE_SETTINGS]
    asked.sort(key=lambda o: ("." in o.partition("=")[0], o))  # model=…, data=… before single settings
    text = re.sub(r"[^\w.,=+\-]+", "-", ",".join(asked)) or "default"
    if len(text) > LONGEST_NAME:
        text = f"{text[:LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text


def share(total: int, parts: int) -> int:
    """An even share of ``total``, at least 1."""
    return max(1, round(total / parts))


def phase_share(total: int, start: int, final: int) -> int:
    """Images of each phase where growing from ``start`` to ``final`` px in equal phases, and two for the last."""
    return max(1, total // (2 * round(math.log2(final / start)) + 2))


OmegaConf.register_new_resolver("phase_share", phase_share, replace=True)
# Enhanced-GAN attends before its 256 px block, or before the last one of a run that stops below.
OmegaConf.register_new_resolver("attention_resolution", lambda resolution: min(256, resolution), replace=True)
OmegaConf.register_new_resolver("run_name", lambda name, overrides: run_name(name, overrides), replace=True)
OmegaConf.register_new_resolver("share", share, replace=True)


def launch(task: Task, config_name: str, after_sweep: Callable[[Path], None] | None = None) -> None:
    """Run ``task`` once, or with ``-m`` once per combination, and exit.

    Exit status: 0 all done, 1 a bug, 2 the user's to mend (one line on stderr), 130 stopped by Ctrl-C.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here instead of being printed there
    failures: dict[str, str] = {}
    started = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        sweep_folder = _check_overrides(config_name)

        def job(cfg: DictConfig) -> float | None:
            return _run_job(task, cfg, failures)

        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
    except Interrupted:
        raise SystemExit(INTERRUPTED) from None
    except (UserError, HydraException, OmegaConfBaseException) as problem:
        print(f"error: {_one_line(problem)}", file=sys.stderr)
        raise SystemExit(2) from None
    if sweep_folder is not None:
        failures = {**_failed_since(started, sweep_folder), **failures}
        if after_sweep is not None:
            after_sweep(sweep_folder)
    for folder, reason in failures.items() if not processes.is_child() else ():  # its parent reports
        print(f"error: {reason}" if sweep_folder is None else f"failed: {folder}: {reason}", file=sys.stderr)
    if failures:
        raise SystemExit(2)


def _run_job(task: Task, cfg: DictConfig, failures: dict[str, str]) -> float | None:
    folder = RunFolder(Path(HydraConfig.get().runtime.output_dir), writable=processes.rank() == 0)
    if not folder.writable:
        logging.disable(logging.WARNING)  # one voice is enough
    try:
        folder.lock()
        if cfg.force:
            folder.clear()
        if cfg.trainer.devices > 1 and not processes.is_child():
            return _run_in_processes(cfg, folder, failures)
        return task(cfg, folder)
    except FolderTaken as problem:
        reason = str(problem)
    except Exception as problem:
        reason = _one_line(problem)
        folder.write_status("failed", reason)
        _log_to_file(folder, problem)
    finally:
        folder.unlock()
        folder.remove_if_unused()
    failures[folder.name] = reason
    return math.nan


def _run_in_processes(cfg: DictConfig, folder: RunFolder, failures: dict[str, str]) -> float | None:
    folder.unlock()  # the first of the processes holds it from here on
    status = processes.run_on_devices(cfg.trainer.devices, HydraConfig.get().overrides.task, folder.path)
    if status == INTERRUPTED:
        raise Interrupted
    if status:
        reason = folder.status().get("reason") or f"one of its processes ended with exit status {status}"
        failures[folder.name] = reason
        return math.nan
    return None


def _failed_since(started: str, sweep_folder: Path) -> dict[str, str]:
    """Failed jobs by folder, also of launchers that run them in other processes."""
    folders = [RunFolder(path.parent) for path in sorted(sweep_folder.glob("*/status.json"))]
    statuses = {folder.name: folder.status() for folder in folders}
    return {name: s["reason"] for name, s in statuses.items() if s["state"] == "failed" and s["updated"] >= started}


def _log_to_file(folder: RunFolder, problem: BaseException) -> None:
    record = logging.LogRecord(
        "error", logging.ERROR, "", 0, "traceback", None, (type(problem), problem, problem.__traceback__)
    )
    with open(folder.path / "run.log", "a") as file:
        file.write(logging.Formatter("%(asctime)s %(message)s").format(record) + "\n")


def _one_line(problem: BaseException) -> str:
    """The message of the user error behind ``problem``, or the problem itself with its type, in one line."""
    for cause in _causes(problem):
        if isinstance(cause, UserError):
            return " ".join(str(cause).split())
    if isinstance(problem, HydraException | OmegaConfBaseException):
        return next(" ".join(str(cause).split()) for cause in [*_causes(problem), repr(problem)] if str(cause))
    return f"{type(problem).__name__}: {' '.join(str(problem).split())} (a bug? the traceback is in run.log)"


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__


# Overrides are checked before Hydra sees them, so that a typo costs nothing and its message names the nearest key.


def _check_overrides(config_name: str) -> Path | None:
    """Check every override of the command line; pin and return the folder of a sweep, None for a single run."""
    # Argument parsing stops at a flag between overrides, so -m may stand anywhere only if it is moved to the front.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda argument: argument not in ("-m", "--multirun"))
    args = get_args_parser().parse_args()
    if args.help or args.hydra_help or args.info or args.cfg or args.config_dir or args.config_path:
        return None
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = _parse(args.overrides)
        first = {o.key_or_group: _choices(o)[0] for o in overrides}
        cfg = _compose(config_name, first.values())
        _check_types(config_name, overrides)
        for override in overrides:
            for choice in _choices(override)[1:]:
                _compose(config_name, ({**first, override.key_or_group: choice}).values())
    GlobalHydra.instance().clear()
    if not (args.multirun or cfg.hydra.mode == RunMode.MULTIRUN):
        if swept := [o.input_line for o in overrides if o.is_sweep_override()]:
            raise UserError(f"{swept[0]} names several values: add -m to run every combination")
        return None
    asked = [o for o in args.overrides if not o.startswith("hydra.")]
    if any(o.startswith("hydra.sweep.dir=") for o in args.overrides):
        return Path(cfg.hydra.sweep.dir)
    folder = Path(cfg.paths.outputs) / run_name(cfg.get("name"), asked)
    # Every job composes its own configuration, so the sweep's folder has to be said once for all of them.
    sys.argv.append(f"hydra.sweep.dir='{folder}'")
    return folder


def _parse(overrides: Iterable[str]) -> list[Override]:
    parser = OverridesParser.create()
    parsed = []
    for override in overrides:
        try:
            parsed += parser.parse_overrides([override])
        except HydraException as problem:
            raise UserError(f"{override} is not of the form key=value ({str(problem).splitlines()[0]})") from problem
    return parsed


def _choices(override: Override) -> list[str]:
    if override.is_sweep_override() and override.is_discrete_sweep():
        return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    return [override.input_line or ""]


def _compose(config_name: str, overrides: Iterable[str]) -> DictConfig:
    overrides = list(overrides)
    try:
        return hydra.compose(config_name, overrides, return_hydra_config=True)
    except MissingConfigException as problem:
        group, _, option = (problem.missing_cfg_file or "").rpartition("/")
        raise UserError(
            f"{group}={option}: there is no such {group}; {_nearest(option, problem.options or [])}"
        ) from None
    except HydraException as problem:
        for override in overrides:
            if message := _unknown_key(config_name, override, overrides):
                raise UserError(message) from None
        raise UserError(_one_line(problem)) from None


def _check_types(config_name: str, overrides: Sequence[Override]) -> None:
    """Raise where a number, or true or false, is overridden with something else."""
    defaults = _compose(config_name, [c for o in overrides for c in _choices(o)[:1] if _is_group(o.key_or_group)])
    for override in overrides:
        default = None if _is_group(override.key_or_group) else OmegaConf.select(defaults, override.key_or_group)
        for choice in _choices(override):
            value = _parse([choice])[0].value()
            if value is None or "${" in str(value):
                continue
            if isinstance(default, bool) and not isinstance(value, bool):
                raise UserError(f"{choice} must be true or false")
            if _is_number(default) and not _is_number(value):
                raise UserError(f"{choice} must be a number, as its default {default}")


def _is_group(key: str) -> bool:
    return (CONF / key).is_dir()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unknown_key(config_name: str, override: str, overrides: Sequence[str]) -> str | None:
    """What is wrong with ``override``, where its key is in no configuration that the valid ones compose."""
    key = override.lstrip("+~").partition("=")[0]
    groups = [p.name for p in CONF.iterdir() if p.is_dir()]
    chosen = [o for o in overrides if o.partition("=")[0] in groups]
    cfg = hydra.compose(config_name, chosen)
    keys = [*_keys(cfg), *groups]
    if override.startswith(("+", "hydra.")) or key in keys:
        return None
    return f"{key} is not a setting; {_nearest(key, keys)}"


def _keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in cfg:
        key = f"{prefix}{name!s}"
        yield key
        child: Any = cfg._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from _keys(child, f"{key}.")


def _nearest(word: str, words: Iterable[str]) -> str:
    words = list(words)
    match = difflib.get_close_matches(word, words, n=1, cutoff=0.5) or [
        w for w in words if w.rpartition(".")[2] == word.rpartition(".")[2]
    ]
    return f"did you mean {match[0]}?" if match else f"choose one of {', '.join(sorted(words))}"
