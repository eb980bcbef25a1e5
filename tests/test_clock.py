from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.core.clock import Clock, Stream, derive_seed, random_generator
from src.core.errors import UserError
from src.data.store import Split, Store
from src.data.stream import BatchStream
from src.training.schedule import FixedSchedule, Phase, Schedule

SIZES = st.integers(3, 40)


def split_of(count: int) -> Split:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Split(Store(images, np.arange(count), None, {}), np.arange(count))


def make_stream(split: Split, batch_size: int, total: int, seed: int, clock: Clock, *ranks: int) -> BatchStream:
    return BatchStream(split, FixedSchedule(1, batch_size, 1e-3, total), total, seed, clock, *ranks)


def labels(stream: BatchStream) -> list[int]:
    return [int(i) for batch in stream for i in batch["label"]]


@given(count=SIZES, batch=st.integers(1, 3), passes=st.integers(1, 3))
def test_every_pass_shows_every_image_once(count, batch, passes):
    shown = labels(make_stream(split_of(count), batch, count * passes, seed=0, clock=Clock()))
    for p in range(passes):
        assert sorted(shown[p * count : (p + 1) * count]) == list(range(count))


@given(count=SIZES, stop=st.integers(0, 20))
def test_a_stream_that_starts_later_shows_what_the_whole_one_shows_there(count, stop):
    whole = labels(make_stream(split_of(count), 2, 60, seed=3, clock=Clock()))
    resumed = labels(make_stream(split_of(count), 2, 60, seed=3, clock=Clock(images=2 * stop)))
    assert resumed == whole[2 * stop :]


def test_the_ranks_together_see_what_one_process_sees():
    def shown(rank: int, world_size: int) -> np.ndarray:
        stream = make_stream(split_of(10), 4, 40, 0, Clock(), rank, world_size)
        return np.array(labels(stream)).reshape(10, -1)

    assert np.array_equal(np.concatenate([shown(0, 2), shown(1, 2)], axis=1), shown(0, 1))


def test_passes_and_seeds_have_orders_of_their_own():
    first, other = (labels(make_stream(split_of(30), 3, 60, seed, Clock())) for seed in (0, 1))
    assert first[:30] != first[30:] and first[:30] != other[:30]


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="batch_size=11 is larger than the data set"):
        make_stream(split_of(10), 11, 40, 0, Clock())


def test_a_batch_that_the_devices_cannot_share_is_refused():
    with pytest.raises(UserError, match="cannot be divided by 3 devices"):
        make_stream(split_of(10), 4, 40, 0, Clock(), 0, 3)


@given(st.integers(1, 50), st.integers(1, 100), st.integers(1, 50))
def test_the_clock_crosses_each_multiple_exactly_once(batch, every, steps):
    clock, crossings = Clock(), 0
    for _ in range(steps):
        clock.advance(batch)
        crossings += clock.crossed(every)
    assert crossings == (steps * batch // every if batch <= every else steps)


def test_no_interval_is_never_crossed():
    clock = Clock()
    clock.advance(10)
    assert not clock.crossed(None)


def test_draws_depend_on_seed_stream_and_position_alone():
    def draw(*arguments: int) -> torch.Tensor:
        return torch.rand(4, generator=random_generator(arguments[0], Stream(arguments[1]), *arguments[2:]))

    assert torch.equal(draw(0, 1, 5), draw(0, 1, 5))
    for other in ((1, 1, 5), (0, 2, 5), (0, 1, 6)):
        assert not torch.equal(draw(0, 1, 5), draw(*other))
    assert derive_seed(0, Stream.LATENT, 7) == derive_seed(0, Stream.LATENT, 7) >= 0


def test_batches_follow_the_schedules_resolution_and_size_and_the_images_go_on_in_order():
    images = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 8, 8), np.uint8)
    split = Split(Store(images, np.arange(12), None, {}), np.arange(12))
    schedule = Schedule([Phase(4, False, 0, 12, 6, 1e-3), Phase(8, False, 12, 12, 4, 1e-3)])
    batches = list(BatchStream(split, schedule, 24, 0, Clock()))
    assert [b["image"].shape for b in batches] == [(6, 1, 4, 4)] * 2 + [(4, 1, 8, 8)] * 3
    shown = [int(i) for b in batches for i in b["label"]]
    assert sorted(shown[:12]) == sorted(shown[12:]) == list(range(12))
    assert all((b["image"][:, 0, 0, 0] == b["label"]).all() for b in batches)


def test_a_lower_resolution_is_the_mean_of_its_pixels():
    images = np.random.default_rng(0).integers(0, 256, (600, 3, 8, 8), dtype=np.uint8)
    split = Split(Store(images, np.arange(600), None, {}), np.arange(600)[::-1])
    small = split.at(2).gather(np.array([0, 599]))
    expected = images[[599, 0]].reshape(2, 3, 2, 4, 2, 4).mean(axis=(3, 5))
    assert np.abs(small["image"].numpy() - expected).max() <= 0.5 and small["label"].tolist() == [599, 0]
    assert split.at(8) is split
