"""Checks what was asked on the command line before Hydra sees it.

So a typo costs nothing, leaves nothing behind, and is answered with the nearest key.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.errors import UserError, one_line

CONF = Path(__file__).resolve().parents[1] / "conf"
MANY = 20  # names that an error still lists
LEAST = {  # whole numbers, and the least of each
    "batch_size": 1, "images": 1, "n": 1, "phantoms": 1, "samples": 1, "seed": 0, "seeds": 1, "threads": 1,
    "trainer.devices": 1, "trainer.threads": 1, "training.seed": 0, "width": 1,
}  # fmt: skip


def check(config_name: str, asked: Sequence[str], multirun: bool) -> DictConfig:
    """The configuration of the first job, Hydra's part included.

    Raises:
        UserError: an override that does not parse, names no setting, or has a value of another type or out of its
            range; several values of one setting without ``multirun``.
    """
    asked = whole_numbers(config_name, asked)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = _parse(asked)
        _check_groups(overrides)
        first = {o.get_key_element(): _choices(o)[0] for o in overrides}  # data and data@data.real are two
        cfg = _compose(config_name, first.values())
        _check_values(config_name, overrides)
        for override in overrides:
            for choice in _choices(override)[1:]:
                _compose(config_name, ({**first, override.get_key_element(): choice}).values())
    GlobalHydra.instance().clear()
    if not (multirun or cfg.hydra.mode == RunMode.MULTIRUN):
        for override in overrides:
            if override.is_sweep_override():
                raise UserError(f"{override.input_line} names several values: add -m to run every combination")
    return cfg


def quote_paths(arguments: Iterable[str], keys: Sequence[str], sweeps: bool = False) -> list[str]:
    """The overrides, with quotes around the values of ``keys``: paths of run folders hold ``=`` and ``,``.

    With ``sweeps``, what Hydra reads as it is stays so, above all several values of one key; but a path that exists
    is one value, whatever commas it holds. A ``~`` becomes the home folder, which no shell makes of it behind a ``=``.
    """

    def quote(argument: str) -> str:
        key, _, value = argument.partition("=")
        if key not in keys or value in ("", "null"):
            return argument
        value = re.sub(r"^(['\"]?)~(?=/|\1$)", lambda match: f"{match[1]}{Path.home()}", value)
        argument = f"{key}={value}"
        if set("'\"") & set(value):
            return argument
        exists, parts = os.path.exists(value), value.split(",")
        if sweeps and _is_readable(argument) and not (exists and len(parts) > 1):
            return argument
        several = sweeps and not exists and all(map(os.path.exists, parts))
        return f"{key}=" + ",".join(f"'{part}'" for part in (parts if several else [value]))

    return [quote(argument) for argument in arguments]


def whole_numbers(config_name: str, arguments: Sequence[str]) -> list[str]:
    """The overrides, with 10000 for 1e4 where a setting is a whole number; what else is wrong in them stays."""
    readable = {argument: _parse([argument])[0] for argument in arguments if _is_readable(argument)}
    floats = {argument for argument, o in readable.items() if any(_is_whole_float(value) for _, value in _values(o))}
    if not floats:
        return list(arguments)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            defaults = _defaults(config_name, readable.values())
        except UserError:
            return list(arguments)

    def rewrite(argument: str) -> str:
        override = readable[argument]
        if isinstance(override.value(), IntervalSweep):
            return argument
        if not _takes_whole_numbers(override.key_or_group, _default(defaults, override)):
            return argument
        written = [str(int(value)) if _is_whole_float(value) else str(value) for _, value in _values(override)]
        return f"{override.get_key_element()}={','.join(written)}"

    return [rewrite(argument) if argument in floats else argument for argument in arguments]


def key_of(override: str) -> str:
    """What ``key=value``, ``+key=value`` or ``~key`` is about."""
    return override.lstrip("+~").partition("=")[0]


def _is_readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _parse(overrides: Iterable[str]) -> list[Override]:
    parser = OverridesParser.create()
    parsed = []
    for override in overrides:
        try:
            parsed += parser.parse_overrides([override])
        except HydraException as problem:
            raise UserError(
                f"{override} is not of the form key=value; a value with special characters needs quotes of its own, "
                "key=\"'value'\""
            ) from problem
    return parsed


def _choices(override: Override) -> list[str]:
    if override.is_sweep_override() and override.is_discrete_sweep():
        return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    if isinstance(interval := override.value(), IntervalSweep):
        return [f"{override.get_key_element()}={bound}" for bound in (interval.start, interval.end)]
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
        raise UserError(one_line(problem)) from None


def _check_groups(overrides: Iterable[Override]) -> None:
    """Raise where a group is given true or a number, of which Hydra makes an error of its own."""
    for override in overrides:
        value = override.value()
        if _is_group(override.key_or_group) and (isinstance(value, bool) or _is_number(value)):
            options = sorted(path.stem for path in (CONF / override.key_or_group).glob("*.yaml"))
            raise UserError(f"{override.input_line}: choose one of {', '.join(options)}")


def _check_values(config_name: str, overrides: Sequence[Override]) -> None:
    """Raise where a number, or true or false, is overridden with something else, or a number is out of its range."""
    defaults = _defaults(config_name, overrides)
    for override in overrides:
        key, default = override.key_or_group, _default(defaults, override)
        for choice, value in _values(override):
            if "${" in str(value) or (value is None and (key not in LEAST or default is None)):
                continue
            if isinstance(default, bool) and not isinstance(value, bool):
                raise UserError(f"{choice} must be true or false")
            if (_is_number(default) or key in LEAST) and not _is_number(value):
                raise UserError(f"{choice} must be a number{'' if default is None else f', as its default {default}'}")
            if _takes_whole_numbers(key, default) and isinstance(value, float):
                raise UserError(f"{choice} must be a whole number")
            if _is_number(value) and value < LEAST.get(key, -math.inf):
                raise UserError(f"{choice} must be at least {LEAST[key]}")


def _defaults(config_name: str, overrides: Iterable[Override]) -> DictConfig:
    """The configuration of the groups that ``overrides`` choose, without the single settings."""
    return _compose(config_name, [_choices(o)[0] for o in overrides if _is_group(o.key_or_group)])


def _default(defaults: DictConfig, override: Override) -> Any:
    return None if _is_group(override.key_or_group) else OmegaConf.select(defaults, override.key_or_group)


def _values(override: Override) -> Iterator[tuple[str, Any]]:
    """Every choice of an override, as text and as what it says."""
    for choice in _choices(override):
        yield choice, _parse([choice])[0].value()


def _takes_whole_numbers(key: str, default: Any) -> bool:
    return key in LEAST or (isinstance(default, int) and not isinstance(default, bool))


def _is_whole_float(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _is_group(key: str) -> bool:
    return (CONF / key).is_dir()


def _group_of(override: str) -> str:
    """``data`` of ``data=phantom`` and of ``data@data.real=phantom``."""
    return re.split("[@=]", override)[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unknown_key(config_name: str, override: str, overrides: Sequence[str]) -> str | None:
    """What is wrong with ``override``, where its key is in no configuration that the valid ones compose."""
    key = key_of(override)
    groups = [p.name for p in CONF.iterdir() if p.is_dir()]
    chosen = [o for o in overrides if _group_of(o) in groups]
    cfg = hydra.compose(config_name, chosen)
    keys = [*_keys(cfg), *groups]
    if override.startswith(("+", "hydra.", "hydra/")) or key in keys or _group_of(override) in groups:
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
    if match:
        return f"did you mean {match[0]}?"
    return f"choose one of {', '.join(sorted(words))}" if len(words) <= MANY else "--help prints them all"
