"""What a run minimises, as its configuration says: the numbers of unlike losses are not comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

LOSSES = "src.training.losses"  # not imported: a page needs no torch
GIVE_PROBABILITIES = ("BinaryCrossEntropy",)  # of them
NAMES = {
    "BinaryCrossEntropy": "binary cross-entropy",
    "Hinge": "hinge",
    "Relativistic": "relativistic",
    "Classification": "classification",
    "Segmentation": "segmentation",
    "Detection": "detection",
}


class Loss(NamedTuple):
    """An adversarial loss, or the task of a model that is not adversarial."""

    name: str
    penalties: tuple[str, ...]
    gives_probabilities: bool  # whether D(x) is one, as far as it is one of src.training.losses

    @property
    def text(self) -> str:
        return ", ".join([self.name, *(f"{penalty} penalty" for penalty in self.penalties)])


def loss_of(model: Mapping[str, Any]) -> Loss | None:
    """The loss that a run's ``model`` settings describe, or None where they do not say."""
    parts = (model.get("loss"), model.get("task"))
    target = next((str(part["_target_"]) for part in parts if isinstance(part, Mapping) and "_target_" in part), None)
    if target is None:
        return None
    module, _, kind = target.rpartition(".")
    penalties = model.get("penalties")
    return Loss(
        NAMES.get(kind, kind),
        tuple(map(str, penalties)) if isinstance(penalties, Mapping) else (),
        module == LOSSES and kind in GIVE_PROBABILITIES,
    )
