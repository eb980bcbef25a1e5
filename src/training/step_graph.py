"""Training steps captured as CUDA graphs and replayed: a GPU then never waits for Python between two kernels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from src.data.store import Batch

log = logging.getLogger(__name__)

WARM_UP = 3  # steps of a kind before it is captured: they make the optimizer's state, and libraries choose kernels


@dataclass(frozen=True)
class Kind:
    """What a captured step has as constants; where ``phase`` changes, steps of earlier phases do not come back."""

    phase: Hashable  # resolution, batch size, whether layers fade in
    due: Hashable = ()  # what some steps of a phase do and others do not


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: Mapping[str, Tensor]

    def replay(self, batch: Batch) -> None:
        for name, tensor in self.inputs.items():
            tensor.copy_(cast(Tensor, batch[name]), non_blocking=True)  # type: ignore[literal-required]
        self.graph.replay()


class StepGraphs:
    """Makes the steps of a training on a GPU, from the fourth of a kind on by replaying a graph of it.

    A step works on the GPU alone, never waits for it, and finds what differs from one step to the next in tensors that
    stay where they are: its batch, which is copied into place, learning rate and α, and the generators' seeds.

    Args:
        generators: that a step draws from, beside the default one.
        forget_gradients: of all parameters, which a step that could not be captured leaves behind.
    """

    def __init__(
        self, device: torch.device, generators: Sequence[torch.Generator], forget_gradients: Callable[[], None]
    ) -> None:
        self.device, self.generators, self.forget_gradients = device, generators, forget_gradients
        self.stream = torch.cuda.Stream(device)
        self.failed = False  # a step could not be captured: all are made as usual from then on
        self._forget()

    def run(self, kind: Kind, step: Callable[[Batch], None], batch: Batch) -> bool:
        """Make a step; returns whether it was replayed, so that nothing of ``step`` ran in Python."""
        if kind.phase != self.phase:
            self._forget(kind.phase)
        if kind in self.captured:
            self.captured[kind].replay(batch)
            return True
        if not self.failed and self.made.get(kind, 0) < WARM_UP:
            self.made[kind] = self.made.get(kind, 0) + 1
            self._warm_up(step, batch)
        elif not self.failed and (captured := self._capture(step, batch)):
            self.captured[kind] = captured
            captured.replay(batch)  # its Python part ran while it was captured
        else:
            step(batch)
        return False

    def _forget(self, phase: Hashable = None) -> None:
        """Free the graphs of the phase before, and the memory that only they use."""
        self.phase = phase
        self.captured: dict[Kind, _Captured] = {}
        self.made: dict[Kind, int] = {}
        self.pool = torch.cuda.graph_pool_handle()
        torch.cuda.empty_cache()

    def _warm_up(self, step: Callable[[Batch], None], batch: Batch) -> None:
        """An ordinary step, on the stream of the capture, so that what PyTorch keeps by stream is there."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            step(batch)
        current.wait_stream(self.stream)

    def _capture(self, step: Callable[[Batch], None], batch: Batch) -> _Captured | None:
        """The graph of a step, which is not made yet; None, for good, where it cannot be captured."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        inputs = {name: torch.empty_like(cast(Tensor, tensor)) for name, tensor in batch.items()}
        torch.clear_autocast_cache()  # of weights cast outside the graph, which it must not read
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                step(cast(Batch, inputs))
        except Exception as problem:  # of whatever the step does that a graph cannot hold
            reason = str(problem).strip().partition("\n")[0]
            log.info(
                f"steps are made one by one, none could be captured as a graph: {type(problem).__name__}: {reason}"
            )
            self.failed = True
            self.forget_gradients()
            torch.clear_autocast_cache()
            self._forget(self.phase)
            return None
        return _Captured(graph, inputs)
