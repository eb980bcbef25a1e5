"""Writes the metrics: metrics.csv, the loggers, the curves and the status of the run."""

from __future__ import annotations

import logging
import time
from typing import Any

from pytorch_lightning import Callback, Trainer

from src.core.run_folder import RunFolder
from src.pictures.figures import save_losses
from src.training.divergence import DivergenceMonitor
from src.training.loggers import catch_up

log = logging.getLogger(__name__)

SETTLED = 1.0  # seconds between two waits for the disk: a GPU trains through several rows meanwhile


class Recorder(Callback):
    """At every ``log_every`` images writes the means since the last row; at every ``figure_every`` draws the curves."""

    def __init__(self, folder: RunFolder, log_every: int, figure_every: int, monitor: DivergenceMonitor) -> None:
        self.folder, self.log_every, self.figure_every, self.monitor = folder, log_every, figure_every, monitor
        self.latest: dict[str, float] = {}
        self._since = (0.0, 0)
        self._settled = 0.0  # when the disk was last waited for

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self.folder.metrics.drop_after(pl_module.clock.images)
            catch_up(trainer.loggers, pl_module.clock.images)
        self._since = (time.perf_counter(), pl_module.clock.images)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        clock = pl_module.clock
        if clock.crossed(self.log_every):
            self.record(trainer, pl_module)
        if clock.crossed(self.figure_every):
            self.draw(trainer, pl_module)

    def record(self, trainer: Trainer, module: Any) -> None:
        sums = trainer.strategy.reduce(module.meter.stack(), reduce_op="mean")
        row = module.meter.means(sums)
        now, images = time.perf_counter(), module.clock.images
        row["images_per_s"] = (images - self._since[1]) / (now - self._since[0])
        row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])  # on a GPU a tensor
        self._since, self.latest = (now, images), row
        module.log_dict(row, logger=False, batch_size=1)  # for callbacks that watch a number; loggers follow below
        if trainer.is_global_zero:
            settle = now - self._settled >= SETTLED
            self.folder.metrics.append(images, row, sync=settle)
            if settle:
                self.folder.write_status("running", images=images)
                self._settled = now
            for logger in trainer.loggers:
                logger.log_metrics({"images": images, **row}, step=images)
        if warning := self.monitor.check(images, row):
            log.warning(warning)
            self.folder.warn(warning)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.draw(trainer, pl_module)

    def draw(self, trainer: Trainer, module: Any) -> None:
        if trainer.is_global_zero and self.folder.metrics.exists():
            save_losses(self.folder.metrics.read(), self.folder.path / "losses.png", module.gives_probabilities)

    def state_dict(self) -> dict[str, Any]:
        if self.folder.writable:
            self.folder.metrics.sync()  # a checkpoint never knows more than the rows before it
        return {"monitor": self.monitor.state_dict(), "latest": self.latest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.monitor.load_state_dict(state_dict["monitor"])
        self.latest = dict(state_dict["latest"])
