"""What is trained when: resolution, fade-in, batch size and learning rate as pure functions of real images shown."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from src.core.errors import UserError

SMALLEST, LARGEST = 4, 1024  # pixels a side


@dataclass(frozen=True)
class Phase:
    """Images shown at one resolution: from ``first`` up to, not including, ``first + images``.

    The state at the beginning of a step rules the whole step. So where the batch size does not divide a phase, its
    last step reaches into the next phase, whose first step then begins at ``start``, a little after ``first``.
    """

    resolution: int  # pixels a side (the longer side of images that are not square)
    fading: bool  # the newest layers fade in; otherwise the networks stabilise
    first: int  # images shown before this phase
    images: int
    batch_size: int  # images per step over all devices
    lr: float
    start: int = 0  # images shown before its first step
    step: int = 0  # number of its first step, counted from the beginning of the run

    def alpha(self, images: int) -> float:
        """Share of the newest layers: 0 at the first image of a fade-in, growing linearly to 1 at its end."""
        return min(max((images - self.first) / self.images, 0.0), 1.0) if self.fading else 1.0


@dataclass(frozen=True)
class State:
    """What holds for the step that begins after some number of images."""

    resolution: int  # pixels a side
    alpha: float  # share of the newest layers, in [0, 1]
    batch_size: int  # images per step over all devices
    lr: float
    step: int  # number of this step, counted from the beginning of the run
    grows: bool  # the first step with new layers: optimizers start with fresh moments


class Schedule:
    """Phases, one after the other, that partition the images of a run.

    Nothing but the number of images shown enters: a resumed run, and a run on any number of devices, sees the same.

    Attributes:
        boundaries: images shown at each change from one phase to the next.
        resolution: pixels a side at the end.
        total: images shown by the whole run.
        lr_decay: share of them, at the end of the run, in which the learning rate falls to 0 on a straight line.
    """

    def __init__(self, phases: Iterable[Phase], lr_decay: float = 0.0) -> None:
        self._phases, self.lr_decay = _number_steps(phases), lr_decay
        self.total = self._phases[-1].first + self._phases[-1].images
        self.resolution = self._phases[-1].resolution
        self.boundaries = [phase.first for phase in self._phases[1:]]

    def phases(self) -> list[Phase]:
        return list(self._phases)

    def growth(self, state: State) -> dict[str, float]:
        """What the networks have to be told of ``state``: nothing, where they do not grow."""
        return {}

    def at(self, images: int) -> State:
        """The state of the step that begins after ``images`` images; the last phase goes on beyond its end."""
        phase = self._phases[bisect_right(self.boundaries, images)]
        return State(
            resolution=phase.resolution,
            alpha=phase.alpha(images),
            batch_size=phase.batch_size,
            lr=phase.lr * self._decay(images + phase.batch_size / 2),  # of the middle of the step
            step=phase.step + (images - phase.start) // phase.batch_size,
            grows=phase.fading and images == phase.start,
        )

    def _decay(self, images: float) -> float:
        if not self.lr_decay:
            return 1.0
        return min(max(1 - images / self.total, 0.0) / self.lr_decay, 1.0)


class FixedSchedule(Schedule):
    """One phase of ``total`` images: for networks that do not grow."""

    def __init__(self, resolution: int, batch_size: int, lr: float, total: int, lr_decay: float = 0.0) -> None:
        super().__init__([Phase(resolution, False, 0, total, batch_size, lr)], lr_decay)


class CosineSchedule(FixedSchedule):
    """One phase whose learning rate rises linearly, then falls to 0 along a half cosine (Loshchilov and Hutter, 2017).

    Args:
        decay_images: images shown when it reaches 0.
        warm_up: share of them during which it rises.
    """

    def __init__(
        self, resolution: int, batch_size: int, lr: float, total: int, decay_images: int, warm_up: float = 0.1
    ) -> None:
        super().__init__(resolution, batch_size, lr, total)
        if not 0 <= warm_up < 1:
            raise UserError(f"model.schedule.warm_up={warm_up} must be at least 0 and less than 1")
        self.decay_images, self.warm_up = decay_images, warm_up

    def at(self, images: int) -> State:
        state = super().at(images)
        done = min((images + state.batch_size / 2) / self.decay_images, 1.0)  # the middle of the step
        if done < self.warm_up:
            return replace(state, lr=state.lr * done / self.warm_up)
        return replace(state, lr=state.lr * (1 + math.cos(math.pi * (done - self.warm_up) / (1 - self.warm_up))) / 2)


class ProgressiveSchedule(Schedule):
    """Progressive growing (Karras et al., "Progressive Growing of GANs", ICLR 2018, appendix A).

    The start resolution stabilises; then each doubling fades in and stabilises; the last one does so up to ``total``.

    Args:
        start_resolution: pixels a side at the beginning.
        resolution: pixels a side at the end, the start's times a power of two.
        data_resolution: pixels a side of the stored images.
        fade_images: images shown while a resolution fades in.
        stabilise_images: images shown after that, before the next one.
        batch_sizes: images per step over all devices, by resolution (of those given, the nearest at or below applies),
            or one number.
        learning_rates: likewise.
        total: images shown by the whole run.
        lr_decay: share of them, at the end, in which the learning rate falls to 0 on a straight line.

    Raises:
        UserError: a resolution outside 4…1024, one that doubling does not reach, that shrinks or exceeds the data's; a
            resolution without batch size or learning rate; a phase shorter than a batch (its own or the previous
            phase's).
    """

    def __init__(
        self,
        start_resolution: int,
        resolution: int,
        data_resolution: int,
        fade_images: int,
        stabilise_images: int,
        batch_sizes: Mapping[int, int] | int,
        learning_rates: Mapping[int, float] | float,
        total: int,
        lr_decay: float = 0.0,
    ) -> None:
        _check_resolutions(start_resolution, resolution, data_resolution)
        phases: list[Phase] = []
        first, size = 0, start_resolution
        while size <= resolution:
            batch_size = int(nearest_lower(batch_sizes, size, "model.schedule.batch_sizes"))
            lr = float(nearest_lower(learning_rates, size, "model.schedule.learning_rates"))
            if size > start_resolution:
                phases.append(Phase(size, True, first, fade_images, batch_size, lr))
                first += fade_images
            images = stabilise_images if size < resolution else total - first
            phases.append(Phase(size, False, first, images, batch_size, lr))
            first += images
            size *= 2
        _check_lengths(phases, total)
        super().__init__(phases, lr_decay)

    def growth(self, state: State) -> dict[str, float]:
        return {"resolution": state.resolution, "alpha": state.alpha}


def _number_steps(phases: Iterable[Phase]) -> list[Phase]:
    """``phases`` with ``start`` and ``step`` filled in: steps follow one another without a gap."""
    numbered: list[Phase] = []
    start = step = 0
    for phase in phases:
        numbered.append(replace(phase, start=start, step=step))
        steps = -(-(phase.first + phase.images - start) // phase.batch_size)
        start, step = start + steps * phase.batch_size, step + steps
    return numbered


def nearest_lower(values: Mapping[int, float] | float, resolution: int, key: str) -> float:
    """What holds at ``resolution``: of values by resolution the nearest at or below, or the one number.

    Raises:
        UserError: there is none, or it is not positive; ``key`` is the setting.
    """
    # A key that comes from the command line is a string.
    table = {int(k): v for k, v in values.items()} if isinstance(values, Mapping) else {0: values}
    known = [k for k in table if k <= resolution]
    if not known:
        raise UserError(f"{key} has no value for {resolution} px: add the key {resolution} or a lower one")
    value = table[max(known)]
    if not value > 0:
        raise UserError(f"{key} is {value} at {resolution} px: it must be positive")
    return value


def _check_resolutions(start: int, final: int, data: int) -> None:
    for key, value in (("start_resolution", start), ("resolution", final)):
        if not SMALLEST <= value <= LARGEST:
            raise UserError(f"model.schedule.{key}={value} must be from {SMALLEST} to {LARGEST} (pixels a side)")
    if start > final:
        raise UserError(
            f"model.schedule.start_resolution={start} is above model.schedule.resolution={final}: networks only grow"
        )
    times, rest = divmod(final, start)
    if rest or times & (times - 1):
        raise UserError(
            f"model.schedule.resolution={final} is not model.schedule.start_resolution={start} times a power of two"
        )
    if final > data:
        raise UserError(
            f"model.schedule.resolution={final} grows past data.resolution={data}: lower it or raise the data's"
        )


def _check_lengths(phases: list[Phase], total: int) -> None:
    for before, phase in zip([phases[0], *phases[:-1]], phases, strict=True):
        # The last step of the phase before may reach almost its batch into this one, which must still get a step.
        batch_size = max(before.batch_size, phase.batch_size)
        if phase.images >= batch_size:
            continue
        if phase is phases[-1]:
            raise UserError(
                f"images={total} end before the schedule reaches {phase.resolution} px, which takes "
                f"{phase.first + batch_size}: raise images, or lower model.schedule.fade_images and .stabilise_images"
            )
        key = "fade_images" if phase.fading else "stabilise_images"
        raise UserError(
            f"model.schedule.{key}={phase.images} is shorter than a batch of "
            f"{batch_size} at {phase.resolution} px: raise it, or lower batch_size or batch_sizes"
        )
