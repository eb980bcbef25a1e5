"""The command that trains on a folder as it was found, and its configuration file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from src.command_line.override_parsing import key_of
from src.command_line.schema import CONF
from src.core.atomic import write_atomically
from src.core.errors import UserError
from src.inspection.look import Look

OWN = ("look", "write", "out")  # settings of inspect that are none of train


def train_command(
    asked: Sequence[str], assumed: Sequence[str], written: str | None = None, most: int | None = None
) -> str:
    """What to type to train on it: ``asked`` on the command line, and ``assumed`` by its questions.

    ``most``: images that there are to learn from, where they are fewer than a batch.
    """
    words = [f"data={written}"] if written else _words(asked, assumed, OWN)
    words = words if any(key_of(word) == "data" for word in words) else ["data=folder", *words]
    words += [f"batch_size={2 ** (most.bit_length() - 1)}"] if most else []
    return " ".join(["python -m src.train", *map(shlex.quote, words)])


def inspect_command(asked: Sequence[str], assumed: Sequence[str]) -> str:
    """What to look with again, once the answer to a question stands beside it."""
    return " ".join(["python -m src.inspect", *map(shlex.quote, _words(asked, assumed))])


def _words(asked: Sequence[str], assumed: Sequence[str], without: Sequence[str] = ()) -> list[str]:
    later = {*without, *map(key_of, assumed)}
    return [word for word in asked if key_of(word) not in later] + list(assumed)


def file_of(name: str) -> Path:
    """Where a configuration of that name goes. Raises UserError where there is one, or it is no name."""
    if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii() or not name[0].isalnum():
        raise UserError(f"write={name}: a name of letters, digits, - and _ is wanted, as in write=my_data")
    path = CONF / "data" / f"{name}.yaml"
    if path.exists():
        raise UserError(f"write={name}: {path} is there already: take another name, or delete it")
    return path


def write_config(name: str, found: Look, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> Path:
    """``settings``: those of the data set, of which what differs from ``defaults`` is written."""
    path = file_of(name)
    kept = {key: value for key, value in settings.items() if value != defaults.get(key)}
    if "splits" in kept:  # files of conf/ add up: a split that is not named would be that of the defaults
        kept["splits"] = {**dict.fromkeys(defaults["splits"], 0), **kept["splits"]}
    kept |= {"name": name, "root": str(found.data.root.resolve())}
    for key in ("resolution", "cache", "_target_"):
        kept.pop(key, None)
    lines = [f"# {name}: as src.inspect found it", "defaults:", "  - folder", "  - _self_"]
    write_atomically(path, "\n".join([*lines, *(f"{key}: {_text(value)}" for key, value in kept.items())]) + "\n")
    return path


def _text(value: Any) -> str:
    """In one line of YAML, which Hydra would not interpolate."""
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else _scalar(value)
    return text.replace("${", "\\${")


def _scalar(text: str) -> str:
    return yaml.safe_dump(text, width=10**6, allow_unicode=True, default_style=None).removesuffix("\n...\n").strip()
