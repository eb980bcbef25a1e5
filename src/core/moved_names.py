"""Classes that run folders of earlier versions name by where they were."""

from __future__ import annotations

from typing import Any

MOVED = {  # modules
    "src.data.mix": "src.data.training_images",
    "src.downstream.augmentation": "src.tasks.augmentation",
    "src.downstream.classification": "src.tasks.classification",
    "src.downstream.detection": "src.tasks.detection",
    "src.downstream.segmentation": "src.tasks.segmentation",
    "src.training.generator_scorer": "src.scoring.generator_scorer",
}


def with_present_names(settings: Any) -> Any:
    """``settings`` with every ``_target_`` where it is today."""
    if isinstance(settings, dict):
        return {key: _moved(v) if key == "_target_" else with_present_names(v) for key, v in settings.items()}
    return [with_present_names(value) for value in settings] if isinstance(settings, list) else settings


def _moved(target: Any) -> Any:
    module, _, name = str(target).rpartition(".")
    return f"{MOVED[module]}.{name}" if module in MOVED else target
