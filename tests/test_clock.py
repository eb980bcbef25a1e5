from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.clock import Clock, Stream, derive_seed, random_generator
from src.data.store import Split, Store
from src.data.stream import BatchStream
from src.errors import UserError

SIZES = st.integers(3, 40)


def split_of(count: int) -> Split:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Split(Store(images, np.arange(count), None, {}), np.arange(count))


def labels(stream: BatchStream) -> list[int]:
    return [int(i) for batch in stream for i in batch["label"]]


@given(count=SIZES, batch=st.integers(1, 3), passes=st.integers(1, 3))
def test_every_pass_shows_every_image_once(count, batch, passes):
    shown = labels(BatchStream(split_of(count), batch, count * passes, seed=0, clock=Clock()))
    for p in range(passes):
        assert sorted(shown[p * count : (p + 1) * count]) == list(range(count))


@given(count=SIZES, stop=st.integers(0, 20))
def test_a_stream_that_starts_later_shows_what_the_whole_one_shows_there(count, stop):
    whole = labels(BatchStream(split_of(count), 2, 60, seed=3, clock=Clock()))
    resumed = labels(BatchStream(split_of(count), 2, 60, seed=3, clock=Clock(images=2 * stop)))
    assert resumed == whole[2 * stop :]


def test_the_ranks_together_see_what_one_process_sees():
    def shown(rank: int, world_size: int) -> np.ndarray:
        stream = BatchStream(split_of(10), 4, 40, 0, Clock(), rank, world_size)
        return np.array(labels(stream)).reshape(10, -1)

    assert np.array_equal(np.concatenate([shown(0, 2), shown(1, 2)], axis=1), shown(0, 1))


def test_passes_and_seeds_have_orders_of_their_own():
    first, other = (labels(BatchStream(split_of(30), 3, 60, seed, Clock())) for seed in (0, 1))
    assert first[:30] != first[30:] and first[:30] != other[:30]


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="batch_size=11 is larger than the data set"):
        BatchStream(split_of(10), 11, 40, 0, Clock())


def test_a_batch_that_the_devices_cannot_share_is_refused():
    with pytest.raises(UserError, match="cannot be divided by 3 devices"):
        BatchStream(split_of(10), 4, 40, 0, Clock(), 0, 3)


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
