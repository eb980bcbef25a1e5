"""What a sweep is searched by."""

from __future__ import annotations

from collections.abc import Mapping

from src.core.errors import UserError


def objective_of(final: Mapping[str, float], name: str | None) -> float:
    """What a sweeper gets back: the number ``name``, by default the generator's loss, or the loss.

    Raises:
        UserError: there is none of that name.
    """
    name = name or ("loss_g" if "loss_g" in final else "loss")
    if name not in final:
        raise UserError(f"objective={name} is no number of this run: it has {', '.join(sorted(final))}")
    return final[name]
