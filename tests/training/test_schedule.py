from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from src.core.errors import UserError
from src.training.schedule import FixedSchedule, ProgressiveSchedule, Schedule, State


def make(**changes: Any) -> ProgressiveSchedule:
    arguments: dict[str, Any] = {
        "start_resolution": 4,
        "resolution": 16,
        "data_resolution": 16,
        "fade_images": 40,
        "stabilise_images": 60,
        "batch_sizes": {4: 8, 16: 3},
        "learning_rates": 1e-3,
        "total": 400,
    }
    return ProgressiveSchedule(**arguments | changes)


@st.composite
def schedules(draw: st.DrawFn) -> ProgressiveSchedule:
    """Batch sizes that grow or shrink, and phases that they need not divide."""
    start = draw(st.integers(4, 32))
    sizes = [start * 2**k for k in range(draw(st.integers(1, 4)))]
    batch_sizes = {size: draw(st.integers(1, 16)) for size in sizes}
    fade, stabilise, last = (draw(st.integers(16, 80)) for _ in range(3))
    return make(
        start_resolution=sizes[0],
        resolution=sizes[-1],
        data_resolution=sizes[-1],
        fade_images=fade,
        stabilise_images=stabilise,
        batch_sizes=batch_sizes,
        learning_rates={size: 0.1 / size for size in sizes},
        total=(fade + stabilise) * (len(sizes) - 1) + last,
    )


def steps(schedule: Schedule) -> list[tuple[int, State]]:
    """(images shown before it, state) of every step of a run."""
    total = sum(phase.images for phase in schedule.phases())
    images, found = 0, []
    while images < total:
        found.append((images, schedule.at(images)))
        images += found[-1][1].batch_size
    return found


@given(schedules())
def test_phases_partition_the_images_of_the_run(schedule):
    phases = schedule.phases()
    assert phases[0].first == 0
    assert all(a.first + a.images == b.first for a, b in pairwise(phases))
    assert schedule.boundaries == [phase.first for phase in phases[1:]]


@given(schedules())
def test_alpha_is_in_the_unit_interval_and_never_falls_within_a_phase(schedule):
    for phase in schedule.phases():
        alphas = [schedule.at(images).alpha for images in range(phase.first, phase.first + phase.images)]
        assert all(0 <= a <= b <= 1 for a, b in pairwise(alphas))
        assert alphas[0] == (0 if phase.fading else 1)


@given(schedules())
def test_resolutions_double_and_never_shrink(schedule):
    resolutions = [state.resolution for _, state in steps(schedule)]
    assert all(b in (a, 2 * a) for a, b in pairwise(resolutions))


@given(schedules())
def test_the_state_at_any_image_is_that_of_the_phase_holding_it(schedule):
    for phase in schedule.phases():
        for images in range(phase.first, phase.first + phase.images):
            state = schedule.at(images)
            found = (state.resolution, state.alpha, state.batch_size, state.lr)
            assert found == (phase.resolution, phase.alpha(images), phase.batch_size, phase.lr)


@given(schedules())
def test_steps_are_numbered_without_a_gap_whatever_the_batch_sizes(schedule):
    states = [state for _, state in steps(schedule)]
    assert [state.step for state in states] == list(range(len(states)))


@given(schedules())
def test_every_phase_has_a_step_and_begins_where_the_previous_ones_last_step_ends(schedule):
    begins = [images for images, _ in steps(schedule)]
    first_of_phase = [next(i for i in begins if i >= first) for first in [0, *schedule.boundaries]]
    assert first_of_phase == [phase.start for phase in schedule.phases()]
    assert all(a < b for a, b in pairwise(first_of_phase))


@given(schedules())
def test_each_growth_is_announced_by_exactly_its_first_step(schedule):
    states = [state for _, state in steps(schedule)]
    grown = [b.step for a, b in pairwise(states) if b.resolution > a.resolution]
    assert [state.step for state in states if state.grows] == grown


@given(schedules(), st.randoms())
def test_the_state_depends_on_images_shown_and_not_on_how_the_run_came_there(schedule, random):
    """So a run resumed anywhere, on any number of devices, follows the uninterrupted one."""
    walked = steps(schedule)
    shuffled = random.sample(walked, len(walked))
    assert all(schedule.at(images) == state for images, state in shuffled)


@given(schedules(), st.floats(0.01, 1.0))
def test_a_learning_rate_that_decays_falls_on_a_line_to_zero_at_the_end_and_changes_nothing_before(schedule, share):
    plain = {images: state for images, state in steps(schedule)}
    schedule.lr_decay = share
    for images, state in steps(schedule):
        left = 1 - (images + state.batch_size / 2) / schedule.total
        assert state.lr == pytest.approx(plain[images].lr * min(max(left, 0) / share, 1))
        assert state.lr == plain[images].lr or left < share
    assert schedule.at(schedule.total).lr == 0


def test_the_order_is_that_of_the_paper():
    schedule = make()
    found = [(p.resolution, p.fading, p.first, p.images, p.batch_size) for p in schedule.phases()]
    assert found == [
        (4, False, 0, 60, 8),
        (8, True, 60, 40, 8),
        (8, False, 100, 60, 8),
        (16, True, 160, 40, 3),
        (16, False, 200, 200, 3),
    ]
    assert [schedule.at(images).alpha for images in (60, 80, 100, 160, 200, 400)] == [0, 0.5, 1, 0, 1, 1]


def test_a_step_that_reaches_into_the_next_phase_is_ruled_by_its_beginning():
    schedule = make()
    assert (schedule.at(56).resolution, schedule.at(56).alpha) == (4, 1)  # shows images 56…63, the fade-in begins at 60
    assert (schedule.at(64).grows, schedule.at(64).alpha) == (True, 0.1)


def test_the_nearest_lower_key_applies_also_where_a_key_is_text():
    schedule = make(learning_rates=OmegaConf.create({4: 1e-3, "8": 2e-3}))
    assert [phase.lr for phase in schedule.phases()] == [1e-3, 2e-3, 2e-3, 2e-3, 2e-3]


def test_the_papers_schedule_ends_at_the_papers_size():
    """Karras et al.: 800k images per phase and 4 to 1024 px: 8 doublings, 17 phases."""
    schedule = make(
        resolution=1024, data_resolution=1024, fade_images=800_000, stabilise_images=800_000, total=15_000_000,
        batch_sizes={4: 16, 256: 14, 512: 6, 1024: 3},
    )  # fmt: skip
    assert len(schedule.phases()) == 17 and schedule.at(15_000_000).resolution == 1024


def test_a_fixed_schedule_is_one_phase():
    schedule = FixedSchedule(28, 32, 2e-4, 1000)
    (phase,) = schedule.phases()
    assert (phase.first, phase.images, schedule.boundaries) == (0, 1000, [])
    assert schedule.at(320) == State(28, 1.0, 32, 2e-4, step=10, grows=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fade_images": 7}, r"schedule\.fade_images=7 is shorter than a batch of 8 at 8 px"),
        ({"stabilise_images": 7}, r"schedule\.stabilise_images=7 is shorter than a batch of 8 at 4 px"),
        ({"batch_sizes": {4: 50, 8: 3}}, r"schedule\.fade_images=40 is shorter than a batch of 50 at 8 px"),
        ({"total": 202}, r"images=202 end before the schedule reaches 16 px, which takes 203"),
        ({"resolution": 32}, r"schedule\.resolution=32 grows past data\.resolution=16"),
        ({"resolution": 12}, r"schedule\.resolution=12 is not .*start_resolution=4 times a power of two"),
        ({"start_resolution": 6}, r"schedule\.resolution=16 is not .*start_resolution=6 times a power of two"),
        ({"start_resolution": 2}, r"schedule\.start_resolution=2 must be from 4 to 1024"),
        ({"resolution": 2048, "data_resolution": 2048}, r"schedule\.resolution=2048 must be .* to 1024"),
        ({"start_resolution": 16, "resolution": 8}, r"start_resolution=16 is above model\.schedule\.resolution=8"),
        ({"batch_sizes": {8: 4}}, r"schedule\.batch_sizes has no value for 4 px"),
        ({"batch_sizes": {4: 8, 8: 0}}, r"schedule\.batch_sizes is 0 at 8 px"),
        ({"learning_rates": -1.0}, r"schedule\.learning_rates is -1\.0 at 4 px"),
    ],
)
def test_a_schedule_that_cannot_be_run_is_one_clear_line(changes, message):
    with pytest.raises(UserError, match=message) as raised:
        make(**changes)
    assert "\n" not in str(raised.value)
