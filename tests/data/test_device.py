from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from src.data import device as on_device
from src.data.device import ResidentSplit, ahead
from src.data.store import Split, Store


def make_split(dtype: Any, masks: bool) -> Split:
    random = np.random.default_rng(0)
    images = random.integers(0, np.iinfo(dtype).max, (9, 3, 4, 4), dtype, endpoint=True)
    drawn = random.integers(0, 2, (9, 2, 4, 4), np.uint8) if masks else None
    return Split(Store(images, np.arange(9), drawn, {}), np.array([8, 1, 5, 3]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("masks", [False, True])
def test_a_batch_of_a_resident_split_is_that_of_the_split(
    dtype: Any, masks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_device, "CHUNK", 200)  # so that several uploads are needed
    split, positions = make_split(dtype, masks), np.array([3, 0, 0])
    found: Any = ResidentSplit(split, torch.device("cpu")).gather(positions)
    wanted: Any = split.gather(positions)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value)


def test_the_size_of_a_split_counts_its_rows_alone() -> None:
    assert on_device.size_of(make_split(np.uint16, True)) == 4 * (3 * 16 * 2 + 2 * 16)


def test_what_goes_to_a_gpu_waits_for_none_of_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy from pageable memory would begin when all that was asked of the GPU is done."""
    monkeypatch.setattr(torch.cuda, "Stream", Mock())
    monkeypatch.setattr(
        torch.cuda, "stream", Mock(return_value=Mock(__enter__=Mock(), __exit__=Mock(return_value=None)))
    )
    monkeypatch.setattr(torch.cuda, "current_stream", Mock())
    tensors, gpu = [Mock(), Mock(), Mock()], torch.device("cuda")
    assert len(list(ahead([{"image": tensor} for tensor in tensors], gpu))) == 3
    for tensor in tensors:
        tensor.pin_memory.return_value.to.assert_called_once_with(gpu, non_blocking=True)


def test_batches_that_are_on_the_gpu_pass_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Stream", Mock())
    monkeypatch.setattr(torch.cuda, "current_stream", Mock())
    gpu = torch.device("cuda")
    batches: list[Any] = [{"image": Mock(device=gpu)} for _ in range(3)]
    assert list(ahead(batches, gpu)) == batches
