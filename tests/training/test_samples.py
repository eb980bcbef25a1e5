"""The grids that a GAN leaves behind while it learns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from src.core.clock import Clock
from src.data.store import Split, Store
from src.pictures.grids import grid_tiles
from src.training.callbacks.samples import Samples


def in_file_order(count: int) -> Split:
    """Grey images of which each is a little brighter than the one before, as the slices of one patient are alike."""
    values = np.arange(1, count + 1, dtype=np.uint8)
    images = np.broadcast_to(values[:, None, None, None], (count, 1, 4, 4))
    return Split(Store(images, np.zeros(count, int), None, {}), np.arange(count))


def real_grid(folder: Path, split: Split, seed: int = 0, shown: int = 0, count: int = 16) -> list[int]:
    """The grey values of ``real.png`` after a run of that seed began, or went on from ``shown`` images."""
    module: Any = SimpleNamespace(
        latent=SimpleNamespace(sample=lambda size, generator: torch.zeros(size, 2)),
        sample=lambda latents: torch.zeros(len(latents), 1, 4, 4),
        clock=Clock(shown),
    )
    trainer: Any = SimpleNamespace(is_global_zero=True, loggers=[])
    Samples(folder, split, 32, count, 1, seed).on_train_start(trainer, module)
    return grid_tiles(folder / "real.png")[:, 0, 0, 0].tolist()


def test_real_images_are_a_draw_from_the_whole_split_and_not_its_first(tmp_path):
    drawn = real_grid(tmp_path, in_file_order(200))
    assert len(set(drawn)) == 16 and min(drawn) < 60 and max(drawn) > 140
    assert len({value // 50 for value in drawn[:8]}) > 1  # also within what a page shows of them


def test_runs_on_one_split_show_the_same_real_images_whatever_their_seed_also_when_they_go_on(tmp_path):
    first = real_grid(tmp_path / "a", in_file_order(200), seed=0)
    written = (tmp_path / "a" / "real.png").read_bytes()
    assert real_grid(tmp_path / "b", in_file_order(200), seed=7) == first
    real_grid(tmp_path / "a", in_file_order(200), seed=0, shown=64)
    assert (tmp_path / "a" / "real.png").read_bytes() == written


def test_a_split_smaller_than_the_grid_is_shown_whole(tmp_path):
    assert sorted(real_grid(tmp_path, in_file_order(10))) == list(range(1, 11))


@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_grid_of_fewer_images_than_a_full_row_is_drawn_with_its_strip(tmp_path, count):
    assert len(real_grid(tmp_path, in_file_order(10), count=count)) == count
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.width == 6 * count + 2
