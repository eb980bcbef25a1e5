"""What every setting may be: read from the comments of ``conf/``, where each stands, and composed as Hydra composes.

The notation is that of ``src.command_line.value_types``. A setting that only repeats another, such as ``channels:
${data.channels}``, needs no comment, and follows the other: whoever wants it changed changes that one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.command_line.value_types import Entry, Literal, Text, as_yaml, read_entry
from src.core.errors import UserError, one_line

CONF = Path(__file__).resolve().parents[2] / "conf"
HYDRA = "hydra"  # settings of its own, which it checks
BY_HYDRA = {"_target_": Entry(Text("target")), "_partial_": Entry(Literal(True))}  # how it calls what a section is for
SETTING = re.compile(r"(?P<indent> *)(?P<key>[\w.]+):(?= |$)(?P<rest>.*)")
REFERENCE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Schema:
    entries: Mapping[str, Entry]  # by the key of a setting, or of a section that may be something else, such as null

    @cached_property
    def sections(self) -> frozenset[str]:
        """The keys that have settings of their own."""
        return frozenset(key[: dot.start()] for key in self.entries for dot in re.finditer(r"\.", key))


def compose_schema(config_name: str, groups: Sequence[str] = ()) -> Schema:
    """The entries of a configuration; ``groups``: the overrides that choose among those of ``conf/``.

    Hydra has to be initialised.
    """
    loader = GlobalHydra.instance().config_loader()
    entries: dict[str, Entry] = {}
    for part in loader.compute_defaults_list(config_name, list(groups), RunMode.RUN).defaults:
        prefix = f"{part.package}." if part.package else ""
        for key, entry in read_entries(CONF / f"{part.config_path}.yaml").items():
            if not entry.follows or f"{prefix}{key}" not in entries:
                entries[f"{prefix}{key}"] = entry
    return Schema(entries)


@cache
def read_entries(path: Path) -> Mapping[str, Entry]:
    """The entries of one file, empty where it is none of ours. Raises ValueError where one is not of the notation."""
    if not path.is_file():
        return {}
    entries: dict[str, Entry] = {}
    sections: list[tuple[int, str]] = []  # that the line is in: indentation and key
    for line in path.read_text().splitlines():
        if not (match := SETTING.fullmatch(line)):
            continue
        indent = len(match["indent"])
        sections = [*(section for section in sections if section[0] < indent), (indent, match["key"])]
        key = ".".join(name for _, name in sections)
        comment = re.search(r"(?:^| )# (.*)", match["rest"])
        if match["key"] in BY_HYDRA:
            entries[key] = BY_HYDRA[match["key"]]
        elif comment and (entry := read_entry(comment[1])):
            entries[key] = entry
        elif reference := REFERENCE.fullmatch(match["rest"].partition(" # ")[0].strip()):
            entries[key] = Entry(None, follows=reference[1])
    return entries


def check_settings(cfg: DictConfig, schema: Schema, shown: Callable[[str], str] = lambda key: key) -> None:
    """Check every setting of a composed configuration.

    Args:
        shown: how the user writes a key on the command line.

    Raises:
        UserError: the first that is not what its entry allows. What was written is looked at before what follows.
    """
    for key, parent, name in _nodes(cfg, schema):
        if not OmegaConf.is_interpolation(parent, name):
            check_setting(key, _plain(parent, name), schema, shown)
    check_what_follows(cfg, schema, shown)


def check_what_follows(cfg: DictConfig, schema: Schema, shown: Callable[[str], str] = lambda key: key) -> None:
    """As ``check_settings``, of the settings that follow from others."""
    for key, parent, name in _nodes(cfg, schema):
        entry = schema.entries.get(key)
        # What is computed may wait for the data, whose channels and classes are not known yet.
        if OmegaConf.is_interpolation(parent, name) and entry and entry.type is not None:
            try:
                value = _plain(parent, name)
            except OmegaConfBaseException as problem:
                raise UserError(f"{shown(key)}: {one_line(problem)}") from problem
            check_setting(key, value, schema, shown)


def _nodes(cfg: DictConfig, schema: Schema, prefix: str = "") -> Iterator[tuple[str, DictConfig, Any]]:
    """Key, section and name of every setting, also of what stands where a section should."""
    for name in cfg:
        key = f"{prefix}{name!s}"
        child: Any = cfg._get_node(name)
        if key == HYDRA:
            continue
        is_section = isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation()
        if is_section and (key in schema.sections or schema.entries.get(key) is None):
            yield from _nodes(child, schema, f"{key}.")
        else:
            yield key, cfg, name


def _plain(parent: DictConfig, name: Any) -> Any:
    value = parent[name]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def check_setting(key: str, value: Any, schema: Schema, shown: Callable[[str], str] = lambda key: key) -> None:
    """As ``check_settings``, of one value."""
    entry = schema.entries.get(key)
    written = f"{shown(key)}={as_yaml(value)}"
    if key in schema.sections and not (entry and entry.accepts(value)):
        children = [child for child in schema.entries if child.startswith(f"{key}.")]
        child = next((child for child in children if not child.endswith("_")), children[0])
        also = f" (or be {entry.type})" if entry else ""
        raise UserError(f"{written} must have settings of its own, such as {shown(child)}{also}")
    if entry is None:
        return  # added with +, and checked by whom it is for
    if entry.follows:
        raise UserError(f"{written}: it follows {shown(entry.follows)}; set that")
    if entry.type is None:
        raise UserError(f"{written}: it is computed, {entry.explanation}; leave it as it is")
    if value is None and entry.required:
        raise UserError(f"{shown(key)} is missing: {entry.explanation}")
    if not entry.accepts(value):
        raise UserError(f"{written} must be {entry.type}")
