"""Images whose masks are further channels, so that a generator makes both and a discriminator judges them together."""

from __future__ import annotations

import numpy as np

from src.core.errors import UserError
from src.data.store import Split, Store


def joint_channels(channels: int, masks: int, with_masks: bool) -> int:
    """Channels of what a generator makes: those of the image and, ``with_masks``, one per mask behind them."""
    return channels + masks if with_masks else channels


def join_masks(split: Split) -> Split:
    """``split`` with its masks (0 or 1) as further channels (0 or the pixels' maximum); held in memory.

    Raises:
        UserError: the data has no masks.
    """
    require_masks(split)
    images = split.store.images[split.rows]
    assert split.store.masks is not None
    masks = split.store.masks[split.rows].astype(images.dtype) * np.iinfo(images.dtype).max
    store = Store(np.concatenate([images, masks], 1), split.store.labels[split.rows], None, split.store.meta)
    return Split(store, np.arange(len(split)))


def require_masks(split: Split) -> None:
    """Raise UserError where ``split`` has no masks."""
    if split.store.masks is None or not split.store.masks.shape[1]:
        raise UserError(
            "with_masks=true needs data with masks: data=phantom, sunnybrook or cvc_clinicdb, "
            "or data=folder with data.mask_folders='{name: folder}'"
        )
