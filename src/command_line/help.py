"""What ``--help`` prints of a configuration that has groups; Hydra's own takes seconds to list them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from omegaconf import OmegaConf

from src.command_line import overrides


def show(text: str) -> None:
    """Print ``text``, also to a reader that takes the beginning alone (``| head``)."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes when it ends


def describe(config_name: str, asked: Sequence[str]) -> str:
    """The groups of ``conf/`` with their choices, and the configuration that those in ``asked`` compose, as YAML.

    Raises:
        UserError: an override that names no setting or no choice.
    """
    cfg = overrides.compose(config_name, asked)
    settings = {key: cfg._get_node(key) for key in cfg if key != "hydra"}
    choices: dict[str, list[str]] = {}
    for path in sorted(overrides.CONF.rglob("*/*.yaml")):
        choices.setdefault(path.parent.relative_to(overrides.CONF).as_posix(), []).append(path.stem)
    groups = [f"{group}: {', '.join(names)}" for group, names in choices.items()]
    return "\n".join(
        [
            f"python -m src.{config_name} [-m] [key=value …]   -m: every combination of key=a,b",
            "",
            "== Groups: <group>=<choice>; what is in a choice, and what a value may be, is in conf/<group> ==",
            *groups,
            "",
            "== Settings: <key>=<value> ==",
            OmegaConf.to_yaml(settings),
        ]
    )
