"""Settings that classes did not have in earlier versions, with the value that says what they did."""

from __future__ import annotations

from typing import Any

ADDED: dict[str, dict[str, Any]] = {  # by class
    "src.networks.progressive.Discriminator": {"bias_scale": 1.0, "last_gain": 1.0, "minibatch_std_at": None},
    "src.networks.progressive.Generator": {"bias_scale": 1.0, "first_gain": None, "last_gain": 1.0},
    "src.training.adversarial.AdversarialModule": {"fresh_latents": False, "instance_noise": 0.0, "lr_ratio": 1.0},
    "src.training.ema.ExponentialMovingAverage": {"reset_at_growth": False},
    "src.training.schedule.FixedSchedule": {"lr_decay": 0.0},
    "src.training.schedule.ProgressiveSchedule": {"lr_decay": 0.0},
}


def with_added(settings: Any) -> Any:
    """``settings`` with those that an earlier version did not have."""
    if not isinstance(settings, dict):
        return settings
    return {**_added_to(settings), **{key: with_added(value) for key, value in settings.items()}}


def without_added(settings: Any) -> Any:
    """``settings`` as an earlier version has them: without those that say what it did."""
    if not isinstance(settings, dict):
        return settings
    added = _added_to(settings)
    kept = {key: value for key, value in settings.items() if key not in added or value != added[key]}
    return {key: without_added(value) for key, value in kept.items()}


def _added_to(settings: dict[str, Any]) -> dict[str, Any]:
    return ADDED.get(str(settings.get("_target_")), {})
