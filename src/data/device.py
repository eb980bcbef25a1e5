"""Batches on a GPU: gathered there from a split that fits into its memory, else copied a batch ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor

from src.data.store import Batch, Split

CHUNK = 1 << 28  # bytes uploaded at once


def size_of(split: Split) -> int:
    """Bytes of the images and masks of ``split``."""
    arrays = (split.store.images, split.store.masks)
    return sum(len(split) * array[0].nbytes for array in arrays if array is not None)


def fits(split: Split, device: torch.device, share: float) -> bool:
    """Whether ``split`` takes no more than a share of the memory that is free on a GPU."""
    free, _ = torch.cuda.mem_get_info(device)
    return size_of(split) <= share * free


class ResidentSplit:
    """The arrays of a split in the memory of ``device``, from which ``gather`` takes a batch without the CPU."""

    def __init__(self, split: Split, device: torch.device) -> None:
        store = split.store
        self.device = device
        self.images, self.image_dtype = _upload(store.images, split.rows, device)
        self.labels = torch.from_numpy(store.labels[split.rows]).to(device)
        self.masks = None if store.masks is None else _upload(store.masks, split.rows, device)[0]

    def gather(self, positions: np.ndarray) -> Batch:
        """The batch at ``positions`` (B,) of the split."""
        index = torch.from_numpy(positions).to(self.device, non_blocking=True)
        batch: Batch = {"image": self.images[index].view(self.image_dtype), "label": self.labels[index]}
        if self.masks is not None:
            batch["mask"] = self.masks[index]
        return batch


def _upload(array: np.ndarray, rows: np.ndarray, device: torch.device) -> tuple[Tensor, torch.dtype]:
    """``array[rows]`` on ``device``, and its dtype: 16 unsigned bits are held as signed ones, which can be gathered."""
    dtype = torch.from_numpy(array[rows[:0]]).dtype
    held = torch.int16 if dtype == torch.uint16 else dtype
    found = torch.empty((len(rows), *array.shape[1:]), dtype=held, device=device)
    some = max(1, CHUNK // max(1, array[0].nbytes))
    for start in range(0, len(rows), some):
        part = torch.from_numpy(array[rows[start : start + some]]).view(held)
        found[start : start + some].copy_(part)
    return found, dtype


def ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """``batches`` on a GPU: those on the CPU are copied on a stream of their own while the one before is used."""
    stream = torch.cuda.Stream(device)
    waiting: Batch | None = None
    for batch in batches:
        following = _send(batch, device, stream)
        if waiting is not None:
            yield waiting
        waiting = following
        current = torch.cuda.current_stream(device)
        current.wait_stream(stream)
        for tensor in waiting.values():
            cast(Tensor, tensor).record_stream(current)
    if waiting is not None:
        yield waiting


def _send(batch: Batch, device: torch.device, stream: torch.cuda.Stream) -> Batch:
    tensors = cast(dict[str, Tensor], batch)
    if all(tensor.device == device for tensor in tensors.values()):  # gathered there
        return batch
    with torch.cuda.stream(stream):
        return cast(Batch, {k: v.pin_memory().to(device, non_blocking=True) for k, v in tensors.items()})
