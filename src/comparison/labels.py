"""What tells runs apart: the settings by which they differ, and labels made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.comparison.runs import IDENTITY, MISSING, Run, format_lr
from src.core.identity import FREE_SETTINGS

HAVE_THEIR_PLACE = ("model", "optim.lr", "data", *(f"data.{name}" for name in IDENTITY))  # in every label and table


def differing_settings(runs: Sequence[Run]) -> list[dict[str, str]]:
    """For each run the same keys, beside model, learning rate and data set, with its values, which differ among them.

    The keys were asked for in some of the runs. Those that change nothing of what is trained are left out: where a run
    lies, what is written, how it is scored.
    """
    asked = dict.fromkeys(key for run in runs for key in run.asked if key not in HAVE_THEIR_PLACE)
    keys = [key for key in asked if re.split(r"[./]", key)[0] not in {"hydra", *FREE_SETTINGS}]
    choices = [key for key in keys if all(run.is_choice(key) for run in runs)]
    told = ["optim.lr", *(key for key in keys if key not in choices)]
    columns = {
        key: _chosen(key, runs, told) if key in choices else [_text(run.setting(key)) for run in runs] for key in keys
    }
    differing = {key: values for key, values in columns.items() if len(set(values)) > 1}
    return [{key: values[i] for key, values in differing.items()} for i in range(len(runs))]


def _text(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _chosen(choice: str, runs: Sequence[Run], told: Sequence[str]) -> list[str]:
    """What each run chose of a group of ``conf/``: as it asked, or as a run asked to which it is alike."""
    asking = [run for run in runs if choice in run.asked]

    def chosen(run: Run) -> str:
        if choice in run.asked:
            return run.asked[choice]
        return next((other.asked[choice] for other in asking if _alike(run, other, choice, told)), MISSING)

    return [chosen(run) for run in runs]


def _alike(run: Run, other: Run, choice: str, told: Sequence[str]) -> bool:
    """Whether two configurations agree where ``choice`` has its place, but for what other settings tell, and copies."""
    explained = {(str(run.setting(key)), str(other.setting(key))) for key in told}
    here, there = (dict(_leaves(one.config.get(choice, one.config))) for one in (run, other))
    return all(
        here.get(key) == there.get(key) or (str(here.get(key)), str(there.get(key))) in explained
        for key in here.keys() | there.keys()
    )


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Plain values by dotted key, but for the settings that change nothing of what is trained."""
    for key, value in settings.items():
        if key == "cache" or (not above and key in FREE_SETTINGS):
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The shortest tails of dotted keys that tell them apart, and from the learning rate and the run's seed."""
    others = {*keys, "optim.lr", "seed"}

    def tail(key: str, parts: int) -> str:
        return ".".join(key.split(".")[-parts:])

    def short(key: str) -> str:
        for parts in range(1, key.count(".") + 1):
            if all(tail(other, parts) != tail(key, parts) for other in others - {key}):
                return tail(key, parts)
        return key

    return {key: short(key) for key in keys}


def label_parts(runs: Sequence[Run], settings: Sequence[Mapping[str, str]]) -> list[tuple[str, ...]]:
    """Per run: model, learning rate, settings that differ, and the folder where that is not enough."""
    labels = [
        (
            run.model,
            f"lr {format_lr(run.lr)}",
            *(f"{name} {own[key]}" for key, name in short_names(list(own)).items()),
        )
        for run, own in zip(runs, settings, strict=True)
    ]
    folders = folder_names(runs)
    return [
        (*label, folder) if labels.count(label) > 1 else label for label, folder in zip(labels, folders, strict=True)
    ]


def folder_names(runs: Sequence[Run]) -> list[str]:
    """The names of the runs' folders, or their whole paths where two have one name, as in two sweeps of the same."""
    names = [run.folder.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]
