"""Checks what was asked on the command line before Hydra sees it.

So a typo costs nothing, leaves nothing behind, and is answered with the nearest key.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.command_line.override_parsing import (
    choices,
    group_of,
    is_group,
    is_readable,
    key_of,
    nearest,
    parse,
    values,
)
from src.command_line.schema import CONF, Schema, check_setting, check_settings, check_what_follows, compose_schema
from src.command_line.value_types import Entry, Literal, MapOf
from src.core.errors import UserError, one_line

OPEN = ("callbacks", "logger", "trainer")  # sections that take settings which no file of conf/ has
SEVERAL = ("logger",)  # groups of which several can be chosen, and none: what they hold has names


def check(
    config_name: str,
    asked: Sequence[str],
    multirun: bool,
    can_sweep: bool = True,
    shown: Callable[[str], str] = lambda key: key,
) -> DictConfig:
    """The configuration of the first job, Hydra's part included, every setting of which is what conf/ allows.

    Of several values of one setting each is checked beside the first of all others; of an interval, which a sweeper
    draws from, both ends are, and what lies between them is for the job that gets it.

    Args:
        can_sweep: whether ``-m`` would run every combination of several values.
        shown: how the user writes a key on the command line.

    Raises:
        UserError: an override that does not parse, names no setting, or has a value that conf/ does not allow; several
            values of one setting without ``multirun``.
    """
    asked = fit_values(config_name, asked)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = parse(asked)
        _check_groups(config_name, overrides)
        first = {o.get_key_element(): choices(o)[0] for o in overrides}  # data and data@data.real are two
        _check_deletions(overrides, _schema(config_name, first.values()))
        cfg = _compose(config_name, first.values(), shown)
        _check_additions(overrides, cfg, _schema(config_name, first.values()), shown)
        _check_asked(overrides, cfg, _schema(config_name, first.values()), shown)
        check_settings(cfg, _schema(config_name, first.values()), shown)
        for override in overrides:
            if _changes_one_setting(override):
                _check_choices(cfg, override, _schema(config_name, first.values()), shown)
                continue
            for choice in choices(override)[1:]:
                chosen = {**first, override.get_key_element(): choice}.values()
                check_settings(_compose(config_name, chosen, shown), _schema(config_name, chosen), shown)
    GlobalHydra.instance().clear()
    if not (multirun or cfg.hydra.mode == RunMode.MULTIRUN):
        for override in overrides:
            if override.is_sweep_override():
                way_out = "add -m to run every combination" if can_sweep else "give one"
                raise UserError(f"{override.input_line} names several values: {way_out}")
    return cfg


def _changes_one_setting(override: Override) -> bool:
    """Whether all that its choices change is a single setting, and what follows from it."""
    key = override.key_or_group
    return (
        override.is_sweep_override()
        and not (override.is_add() or override.is_force_add() or override.is_delete())
        and not (is_group(key) or "/" in key or key.startswith("hydra."))
        and not any(isinstance(value, dict) for _, value in values(override))
    )


def _check_choices(cfg: DictConfig, override: Override, schema: Schema, shown: Callable[[str], str]) -> None:
    """Check all choices but the first, which is in ``cfg``, without composing anything anew."""
    key, other = override.key_or_group, copy.deepcopy(cfg)
    for _, value in itertools.islice(values(override), 1, None):
        OmegaConf.update(other, key, value)
        if isinstance(value, str) and "${" in value:
            _check_reference(other, key, shown)
        else:
            check_setting(key, value, schema, shown)
        check_what_follows(other, schema, shown)


def compose(config_name: str, asked: Sequence[str]) -> DictConfig:
    """As ``check``, of values that nobody looks at."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = parse(asked)
        _check_groups(config_name, overrides)
        return _compose(config_name, [choices(override)[0] for override in overrides])


def fit_values(config_name: str, arguments: Sequence[str]) -> list[str]:
    """The overrides, with values of the kind that their settings take; what else is wrong in them stays.

    10000 for 1e4 where a whole number is wanted, text for a number where text is, and named values that replace those
    of the default instead of joining them.
    """
    readable = {argument: parse([argument])[0] for argument in arguments if is_readable(argument)}
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            schema = _schema(config_name, readable)
        except (UserError, HydraException, ValueError):
            return list(arguments)
        fitted = []
        for argument in arguments:
            override = readable.get(argument)
            entry = None if override is None else schema.entries.get(override.key_or_group)
            if override is None or entry is None or isinstance(override.value(), IntervalSweep) or override.is_delete():
                fitted.append(argument)
                continue
            given = list(values(override))
            if not override.is_add() and _replaces(config_name, readable, override, entry):
                key = override.key_or_group
                fitted += [*([] if f"~{key}" in fitted else [f"~{key}"]), f"+{key}={argument.partition('=')[2]}"]
            elif all(entry.fit(value) is value for _, value in given):
                fitted.append(argument)
            else:
                written = [_rewritten(choice.partition("=")[2], value, entry) for choice, value in given]
                fitted.append(f"{override.get_key_element()}={','.join(written)}")
    return fitted


def _rewritten(text: str, value: Any, entry: Entry) -> str:
    fitted = entry.fit(value)
    if fitted is value:
        return text
    if isinstance(fitted, list):
        return "[" + ",".join(f"'{item}'" for item in fitted) + "]"
    return f"'{text}'" if isinstance(fitted, str) else str(fitted)


def _compose(config_name: str, overrides: Iterable[str], shown: Callable[[str], str] = lambda key: key) -> DictConfig:
    overrides = list(overrides)
    try:
        with _missing_named():
            return hydra.compose(config_name, overrides, return_hydra_config=True)
    except HydraException as problem:
        for override in overrides:
            if message := _unknown_key(config_name, override, overrides, shown):
                raise UserError(message) from None
        raise UserError(one_line(problem)) from None


@contextmanager
def _missing_named() -> Iterator[None]:
    """Answer the choice of a group that there is not with the nearest one that there is."""
    try:
        yield
    except MissingConfigException as problem:
        group, _, option = (problem.missing_cfg_file or "").rpartition("/")
        raise UserError(
            f"{group}={option}: there is no such {group}; {nearest(option, problem.options or [])}"
        ) from None


def _schema(config_name: str, overrides: Iterable[str]) -> Schema:
    """The schema of a configuration under those of ``overrides`` that choose groups."""
    chosen = tuple(choices(o)[0] for o in parse(overrides) if is_group(o.key_or_group))
    _check_groups(config_name, parse(chosen))
    with _missing_named():
        return _cached_schema(config_name, chosen)


_cached_schema = lru_cache(maxsize=64)(compose_schema)


def _check_groups(config_name: str, overrides: Iterable[Override]) -> None:
    """Raise where a group is another command's, is given what is no name, or is left out: Hydra's errors say less."""
    for override in overrides:
        if not (is_group(override.key_or_group) or "/" in override.key_or_group):
            continue
        if message := _unknown_key(config_name, override.input_line or "", (), str):
            raise UserError(message)
        several = override.key_or_group in SEVERAL
        for choice, value in [(override.input_line, None)] if override.is_delete() else values(override):
            names = value if several and isinstance(value, list) else [value]
            if not all(isinstance(name, str) and name and "${" not in name for name in names):
                # Hydra's own groups, such as its launchers, are not in conf/ alone.
                options = ", ".join(GlobalHydra.instance().config_loader().get_group_options(override.key_or_group))
                raise UserError(f"{choice}: {f'choose one of {options}' if options else 'give a name'}")


def _check_deletions(overrides: Sequence[Override], schema: Schema) -> None:
    """Raise where a setting is deleted that something needs; of values by name, each can go."""
    replaced = {override.key_or_group for override in overrides if not override.is_delete()}
    for override in overrides:
        key = override.key_or_group
        if not override.is_delete() or not (key in schema.entries or key in schema.sections):
            continue
        parent = key.rpartition(".")[0]
        entry = schema.entries.get(parent)
        by_name = parent in (*SEVERAL, "callbacks") or (
            entry is not None and any(isinstance(p, MapOf) or p == Literal({}) for p in entry.parts())
        )
        if not by_name and not {key, f"{parent}._target_"} & replaced:
            raise UserError(f"~{key}: {parent or 'a training'} needs it; give it another value instead")


def _check_additions(
    overrides: Sequence[Override], cfg: DictConfig, schema: Schema, shown: Callable[[str], str]
) -> None:
    """Raise where ``+key=value`` adds what nothing reads; components take further settings, and named values others."""
    for override in overrides:
        key = override.key_or_group
        if not (override.is_add() or override.is_force_add()) or is_group(key) or re.match("hydra[./]", key):
            continue
        above = list(itertools.accumulate(key.split(".")[:-1], "{}.{}".format))
        by_name = (
            isinstance(part, MapOf) for place in above for part in getattr(schema.entries.get(place), "parts", list)()
        )
        is_component = any("_target_" in (OmegaConf.select(cfg, place) or ()) for place in above)
        known = key in schema.entries or key in schema.sections
        if not (known or is_component or any(by_name) or key.partition(".")[0] in OPEN):
            keys = [*schema.entries, *schema.sections]
            raise UserError(f"{override.input_line}: {shown(key)} is not a setting; {nearest(key, keys, shown)}")


def _check_asked(overrides: Sequence[Override], cfg: DictConfig, schema: Schema, shown: Callable[[str], str]) -> None:
    """Raise where what follows from other settings is set, or one is set to what cannot be computed.

    Before any setting that follows from it is looked at, of which the error would be.
    """
    for override in overrides:
        key = override.key_or_group
        entry = schema.entries.get(key)
        if override.is_delete() or not (entry or key in schema.sections):
            continue
        if entry and entry.type is None:
            check_setting(key, override.value(), schema, shown)
        _check_reference(cfg, key, shown)


def _check_reference(cfg: DictConfig, key: str, shown: Callable[[str], str]) -> None:
    try:
        OmegaConf.select(cfg, key)
    except OmegaConfBaseException as problem:
        raise UserError(f"{shown(key)}: {one_line(problem)}") from problem


def _replaces(config_name: str, overrides: Iterable[str], override: Override, entry: Entry) -> bool:
    """Whether an override gives values by name, and other names than the default has, which Hydra would add up."""
    given: list[Any] = [value for _, value in values(override)]
    if not (all(isinstance(value, dict) for value in given) and any(isinstance(p, MapOf) for p in entry.parts())):
        return False
    chosen = [choices(o)[0] for o in parse(overrides) if is_group(o.key_or_group)]
    default = OmegaConf.select(_compose(config_name, chosen), override.key_or_group)
    return isinstance(default, DictConfig) and any(set(value) != set(default) for value in given)


def _unknown_key(config_name: str, override: str, overrides: Sequence[str], shown: Callable[[str], str]) -> str | None:
    """What is wrong with ``override``, where its key is in no configuration that the valid ones compose."""
    key = key_of(override)
    groups = _groups(config_name)
    if override.startswith(("+", "hydra.", "hydra/")) or group_of(override) in groups:
        return None
    keys = [*_keys(hydra.compose(config_name, [o for o in overrides if group_of(o) in groups])), *groups]
    if key in keys:
        return None
    return f"{shown(key)} is not a setting; {nearest(key, keys, shown)}"


@lru_cache
def _groups(config_name: str) -> Sequence[str]:
    """That a choice can be made of: other commands have others."""
    known = GlobalHydra.instance().config_loader().compute_defaults_list(config_name, [], RunMode.RUN)
    return [group for group in dict.fromkeys(map(group_of, known.overrides.known_choices)) if is_group(group)]


def _keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in cfg:
        key = f"{prefix}{name!s}"
        yield key
        child: Any = cfg._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from _keys(child, f"{key}.")
