"""How far training is: a live bar in a terminal, a line per interval elsewhere."""

from __future__ import annotations

import logging
from typing import Any

from pytorch_lightning import Callback, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

log = logging.getLogger(__name__)


class ImagesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "– images/s", style="progress.data.speed")


SHOWN = {"loss": "loss", "loss_d": "loss D", "loss_g": "G", "d_real": "· D(x)", "d_fake": "D(G(z))"}


def describe(row: dict[str, float]) -> str:
    return " ".join(f"{title} {row[name]:.3f}" for name, title in SHOWN.items() if name in row)


class ProgressReport(Callback):
    """Shows images shown, images/s, losses and the time left.

    Args:
        total: images the run shows in all.
        every: images between two lines where the output is no terminal.
        recorder: holds the latest row of metrics as ``latest``.
        live: show the bar where there is a terminal.
    """

    def __init__(self, total: int, every: int, recorder: Any, live: bool) -> None:
        self.total, self.every, self.recorder, self.live = total, every, recorder, live
        self.bar: Progress | None = None

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        console = Console(stderr=True)
        if not (self.live and trainer.is_global_zero and console.is_terminal):
            return
        self.bar = Progress(
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} images"),
            BarColumn(),
            ImagesPerSecond(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console,
            refresh_per_second=2,
            speed_estimate_period=60,
        )
        self.bar.start()
        self.task = self.bar.add_task("", total=self.total, losses="")
        # What an earlier session has done counts as done, not as speed.
        self.bar.update(self.task, completed=pl_module.clock.images)
        self.bar.reset(self.task, start=True, total=self.total, completed=pl_module.clock.images)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        images = pl_module.clock.images
        if self.bar is not None:
            self.bar.update(self.task, completed=images, losses=describe(self.recorder.latest))
        elif trainer.is_global_zero and pl_module.clock.crossed(self.every):
            row = self.recorder.latest
            speed = f" · {row['images_per_s']:,.0f} images/s" if row else ""
            log.info(f"{images:,}/{self.total:,} images{speed} · {describe(row)}")

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
