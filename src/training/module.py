"""What every module trained here shares: the image clock, its checkpoint, and a step of an optimizer."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from src.core.clock import Clock, Stream, derive_seed
from src.data.store import Batch, Split
from src.training.checkpoint_io import check_architecture
from src.training.meter import Meter
from src.training.schedule import Schedule, State
from src.training.step_graph import Kind, StepGraphs
from src.training.strategy import average_gradients, of_all_ranks

log = logging.getLogger(__name__)

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def seed_noise(device: torch.device, seed: int) -> None:
    """Seed what networks and augmentation draw.

    ``torch.manual_seed`` would also queue the seed for devices that are not in use, at a millisecond a step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


class ClockedModule(LightningModule, ABC):
    """Optimizes by hand, on the clock of real images shown.

    A step is prepared on the CPU and made on the device: where that is a GPU, by replaying what was captured of it
    (``src.training.step_graph``), and so what differs from step to step is given to it in tensors.

    Args:
        optimizer: makes an optimizer from parameters; called once per network.
        seed: with the clock, determines all noise.
        schedule: batch size, learning rate and the like as functions of the clock.
    """

    metrics: Sequence[str]  # names of what is measured at every step
    gives_probabilities = False  # whether the metrics tell a discriminator that has won
    streams: Sequence[Stream] = ()  # that a step draws from for the whole batch, see ``draw``
    steps_at_once = 1  # that a GPU prepares together
    lr_factors: Sequence[float] = (1.0,)  # of its optimizers, on the learning rate

    def __init__(self, name: str, optimizer: OptimizerFactory, seed: int, schedule: Schedule) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.name, self.optimizer, self.seed, self.schedule = name, optimizer, seed, schedule
        self.clock, self.meter = Clock(), Meter()
        self.graph = True  # whether a GPU replays captured steps
        self._graphs: StepGraphs | None = None
        self._numbers: dict[str, Tensor] = {}  # on the GPU, where captured steps read them
        self._generators: dict[Stream, torch.Generator] = {}

    def on_fit_start(self) -> None:
        self._generators = {stream: torch.Generator(self.device) for stream in self.streams}
        self._numbers = {}
        scales_loss = getattr(self.trainer.precision_plugin, "scaler", None)  # in float16, which waits for the GPU
        if self.graph and self.device.type == "cuda" and scales_loss is None:
            self._graphs = StepGraphs(self.device, list(self._generators.values()), self.zero_grad)

    def on_fit_end(self) -> None:
        self._graphs = None

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """A step, or as many as the batch is for; they are prepared together."""
        self._seed_noise()
        prepared = cast(dict[str, Tensor], self.prepare(batch))
        rows = self.schedule.at(self.clock.images).batch_size // self.trainer.world_size
        for number, parts in enumerate(zip(*(tensor.split(rows) for tensor in prepared.values()), strict=True)):
            if number:
                self._seed_noise()
            self._make_step(cast(Batch, dict(zip(prepared, parts, strict=True))))

    def _seed_noise(self) -> None:
        seed_noise(self.device, derive_seed(self.seed, Stream.NETWORK, self.clock.images, self.global_rank))

    def _make_step(self, batch: Batch) -> None:
        state = self.schedule.at(self.clock.images)
        self.begin_step(state)
        optimizers, growth = self.prepare_optimizers(state), self.growth(state)
        for stream, generator in self._generators.items():
            generator.manual_seed(derive_seed(self.seed, stream, self.clock.images))

        def step(batch: Batch) -> None:
            self.meter.add(self.step(batch, state, growth, optimizers))

        if self._graphs is None:
            step(batch)
        elif self._graphs.run(self.kind(state), step, batch):
            for optimizer in optimizers:  # Lightning counts its steps, which callbacks go by
                optimizer._on_before_step()
                optimizer._on_after_step()
        self.meter.steps += 1
        self.clock.advance(state.batch_size)

    @abstractmethod
    def step(
        self, batch: Batch, state: State, growth: Mapping[str, Any], optimizers: Sequence[LightningOptimizer]
    ) -> Mapping[str, Tensor]:
        """One step of the algorithm, on the device alone; returns what is measured, as scalars.

        Args:
            growth: what the networks are told of ``state``. Of ``state`` itself only what ``kind`` names may be used.
        """

    def begin_step(self, state: State) -> None:
        """What is done before a step, and not captured."""

    def prepare(self, batch: Batch) -> Batch:
        """What is done to a batch before the step, and not captured."""
        return batch

    def kind(self, state: State) -> Kind:
        """What steps that are captured together have in common."""
        return Kind((state.resolution, state.batch_size, state.alpha < 1), self.due(state))

    def due(self, state: State) -> Hashable:
        """What this step does that others of its phase do not."""
        return ()

    def growth(self, state: State) -> dict[str, Any]:
        """What the networks are told of ``state``; on a GPU α is a number there, the same one for a whole fade-in."""
        growth: dict[str, Any] = self.schedule.growth(state)
        if self.device.type == "cuda" and growth.get("alpha", 1.0) < 1:
            growth["alpha"] = self.number("alpha", growth["alpha"])
        return growth

    def number(self, name: str, value: float) -> Tensor:
        """``value`` on the device, always in the same tensor for the same ``name``."""
        if name not in self._numbers:
            self._numbers[name] = torch.empty((), device=self.device)
        return self._numbers[name].fill_(value)

    def prepare_optimizers(self, state: State) -> list[LightningOptimizer]:
        """The optimizers at the state's learning rate, without a past where the networks have just grown."""
        found = self.optimizers()
        optimizers = cast(list[LightningOptimizer], found if isinstance(found, list) else [found])
        on_gpu = self.device.type == "cuda"
        for place, (optimizer, factor) in enumerate(zip(optimizers, self.lr_factors, strict=True)):
            lr = self.number(f"lr_{place}", state.lr * factor) if on_gpu else state.lr * factor
            for group in optimizer.param_groups:
                group["lr"] = lr
                if "capturable" in group:
                    group["capturable"] = on_gpu
            if state.grows:
                optimizer.state.clear()
        return optimizers

    def draw(self, stream: Stream, sample: Callable[[int, torch.Generator], Tensor], count: int) -> Tensor:
        """``count`` rows for this rank at this step: its slice of what ``sample`` draws for the whole batch."""
        rows = sample(count * self.trainer.world_size, self._generators[stream])
        return rows[self.global_rank * count :][:count]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return {name: tensor.to(device) for name, tensor in batch.items()}

    def descend(self, loss: Tensor, optimizer: LightningOptimizer) -> None:
        self.manual_backward(loss)
        self.follow_gradients(optimizer)

    def follow_gradients(self, optimizer: LightningOptimizer) -> None:
        """A step along the gradients that were summed since the last one, which are forgotten after it."""
        average_gradients(optimizer.optimizer)
        optimizer.step()
        optimizer.zero_grad()
        # Autocast keeps low-precision copies of the weights for as long as its context lasts: now they are stale.
        torch.clear_autocast_cache()

    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """What is trained, by name."""

    def check(self, split: Split) -> None:
        """Raise UserError where the images of ``split`` lack what is learned of them."""

    def parameter_counts(self) -> dict[str, int]:
        return {name: sum(p.numel() for p in network.parameters()) for name, network in self.networks().items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The trainer's own loop counters count optimizer steps and batches; here the image clock says where to go on.
        checkpoint.pop("loops", None)
        checkpoint["images"] = self.clock.images
        checkpoint["threads"] = torch.get_num_threads()
        checkpoint["meters"] = of_all_ranks(self.meter.state_dict())  # one process writes for all

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_architecture(self.state_dict(), checkpoint["state_dict"], "the run's last checkpoint")
        self.clock.images = checkpoint["images"]
        before, now = checkpoint.get("threads"), torch.get_num_threads()
        if self.device.type == "cpu" and before not in (None, now):
            log.warning(
                f"goes on with {now} CPU threads where it had {before}: not to the same bits, which depend on their "
                f"number; trainer.threads={before} keeps them"
            )
        self.meter.load_state_dict(checkpoint["meters"][self.global_rank])
