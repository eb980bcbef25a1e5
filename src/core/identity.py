"""Which settings decide what is trained: two commands that are equal in them are of the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from src.core.added_settings import without_added

# Top-level settings that may differ between two visits to a run: they do not change what is trained.
FREE_SETTINGS = (
    "callbacks", "detach", "divergence_patience", "dry_run", "every", "force", "logger", "name", "objective", "paths",
    "progress", "scores",
)  # fmt: skip

# Of which others are computed, those of the model and the optimiser, and nothing else.
SOURCES = ("growing",)

# Of the trainer's, those that decide on the numbers; a flag of Lightning's, or how a GPU is used, may differ.
TRAINER_SETTINGS = ("accelerator", "devices", "num_nodes", "precision", "threads")


def first_difference(old: Any, new: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """The first key, in order, under which two nested settings differ, with both values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(n for n in new if n not in old)]:
            if found := first_difference(old.get(name), new.get(name), f"{key}.{name}" if key else name):
                return found
        return None
    return None if old == new else (key, old, new)


def identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide what is trained, as an earlier version has them; ``images`` alone says for how long."""
    kept = {key: _without_cache(value) for key, value in settings.items() if key not in FREE_SETTINGS + SOURCES}
    model = without_added(kept["model"])
    if "trainer" in kept:
        trainer = {"num_nodes": 1, **kept["trainer"]}  # which earlier versions did not have
        kept["trainer"] = {key: value for key, value in trainer.items() if key in TRAINER_SETTINGS}
    return {**kept, "model": {**model, "schedule": {k: v for k, v in model["schedule"].items() if k != "total"}}}


def digest(settings: Mapping[str, Any]) -> str:
    """sha256 of settings, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _without_cache(settings: Any) -> Any:
    """Where decoded data are kept changes nothing of them."""
    if isinstance(settings, Mapping):
        return {key: _without_cache(value) for key, value in settings.items() if key != "cache"}
    return settings
