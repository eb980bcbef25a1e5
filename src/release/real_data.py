"""The real images of a run's data, as an export needs them: they set the limits of masks and the measure of a copy."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from src.core.errors import UserError
from src.data.base import ImageData
from src.data.description import image_size
from src.release.comparison import Comparison
from src.release.real_masks import DERIVED, RealMasks, usual_overrides
from src.training.restore import TrainedRun, learned_from, load_data

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RealData:
    """What ``run``, a GAN, was trained on; read when it is needed."""

    run: TrainedRun

    @cached_property
    def data(self) -> ImageData:
        data = load_data(self.run)
        data.prepare()
        return data

    def bits(self, possible: Sequence[int]) -> int:
        """Per grey pixel, as the real images have them: 16 where the export can hold them, else 8."""
        if 16 not in possible or self.run.settings["data"]["channels"] != 1:
            return 8
        try:
            return 8 * self.data.split("train").store.images.dtype.itemsize
        except UserError as problem:
            log.info(f"{problem}; so bits=8, say bits=16 if the images of the run have them")
            return 8

    def masks(self, size: int, given: Mapping[str, Any]) -> RealMasks | None:
        """Limits for masks at ``size`` pixels on the longer side; None where the run makes none, or all are ``given``.

        Raises:
            UserError: the real masks, of the training split, cannot be read.
        """
        names = mask_names(self.run)
        if not names or given.keys() >= set(DERIVED):
            return None
        frame = image_size(size, self.run.settings["data"].get("aspect", (1, 1)))
        try:
            split = self.data.split("train")
        except UserError as problem:
            raise UserError(
                f"{problem}; the limits of masks are taken from the real ones: put the data back, or say "
                f"{usual_overrides()}"
            ) from problem
        return RealMasks.of(split, names, frame, given)

    def comparison(self, way_out: str = "or do not look with copies.share=null") -> Comparison:
        """With the images that the run learned from.

        Args:
            way_out: what else to do where they are gone.

        Raises:
            UserError: they, or some of them, are not in the data (any more).
        """
        wanted = "copies are looked for among the real images: put the data back"
        try:
            record = learned_from(self.run)
            found = Comparison.of(record, self.data, self.run.settings["data"]["channels"])
        except UserError as problem:
            raise UserError(f"{problem}; {wanted}{way_out and ', '}{way_out}") from problem
        if found.missing:
            raise UserError(
                f"{found.missing} of the {len(record.images)} images that the generator learned from are not in the "
                f"data any more, so copies of them would not be found: put them back as they were{way_out and ', '}"
                f"{way_out}"
            )
        return found


def mask_names(run: TrainedRun) -> tuple[str, ...]:
    """Of the masks that a GAN makes, in the order of their channels."""
    return tuple(run.settings["data"].get("masks") or ()) if run.settings.get("with_masks") else ()
