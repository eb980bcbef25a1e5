"""Reads what was asked on the command line, override by override, with Hydra's own parser."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException

from src.command_line.schema import CONF
from src.core.errors import UserError

MANY = 20  # names that an error still lists


def key_of(override: str) -> str:
    """What ``key=value``, ``+key=value`` or ``~key`` is about."""
    return override.lstrip("+~").partition("=")[0]


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
        if value.startswith("[") and not exists and is_readable(argument):  # several, where a setting takes them
            return argument
        if sweeps and is_readable(argument) and not (exists and len(parts) > 1):
            return argument
        several = sweeps and not exists and all(map(os.path.exists, parts))
        return f"{key}=" + ",".join(f"'{part}'" for part in (parts if several else [value]))

    return [quote(argument) for argument in arguments]


def is_readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def parse(overrides: Iterable[str]) -> list[Override]:
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


def choices(override: Override) -> list[str]:
    if override.is_sweep_override() and override.is_discrete_sweep():
        return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    if isinstance(interval := override.value(), IntervalSweep):
        return [f"{override.get_key_element()}={bound}" for bound in (interval.start, interval.end)]
    return [override.input_line or ""]


def values(override: Override) -> Iterator[tuple[str, Any]]:
    """Every choice of an override, as text and as what it says."""
    for choice in choices(override):
        yield choice, parse([choice])[0].value()


def is_group(key: str) -> bool:
    return (CONF / key).is_dir() or key == "hydra"


def group_of(override: str) -> str:
    """``data`` of ``data=phantom`` and of ``data@data.real=phantom``."""
    return re.split("[@=]", override)[0]


def nearest(word: str, words: Iterable[str], shown: Callable[[str], str] = lambda key: key) -> str:
    words = list(words)
    match = difflib.get_close_matches(word, words, n=1, cutoff=0.5) or [
        w for w in words if w.rpartition(".")[2] == word.rpartition(".")[2]
    ]
    if match:
        return f"did you mean {shown(match[0])}?"
    return f"choose one of {', '.join(sorted(words))}" if len(words) <= MANY else "--help prints them all"
