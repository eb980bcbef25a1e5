"""Pictures of what the generator makes, always from the same latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pytorch_lightning import Callback, Trainer
from torch import Tensor

from src.core.atomic import atomic_write
from src.core.clock import Stream, random_generator
from src.core.pixels import to_unit_range
from src.data.store import Split
from src.pictures.grids import layout
from src.pictures.sample_grid import save_grid


class Samples(Callback):
    """Writes a grid to ``samples/`` at every ``every`` images, the real grid beside them, and a strip over training.

    Args:
        split: ``count`` of its images are the real grid, drawn alike in all runs on it, for their pages to agree.
        every: images shown between two grids.
        count: images in a grid.
        image_channels: as in ``save_grid``.
        seed: of the latents.
    """

    def __init__(self, folder: Path, split: Split, every: int, count: int, image_channels: int, seed: int) -> None:
        self.folder, self.split, self.every, self.count = folder, split, every, count
        self.image_channels, self.seed = image_channels, seed
        self.latents: Tensor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.latents = pl_module.latent.sample(self.count, random_generator(self.seed, Stream.SAMPLES))
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            order = torch.randperm(len(self.split), generator=random_generator(0, Stream.SAMPLES, 1))
            real = self.split.gather(order[: self.count].numpy())["image"]
            save_grid(to_unit_range(real), self.folder / "real.png", self.image_channels)
            for grid in self.grids():
                if int(grid.stem) > pl_module.clock.images:  # from before a crash: will be drawn again
                    grid.unlink()
            if pl_module.clock.images == 0:
                self.draw(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.is_global_zero and pl_module.clock.crossed(self.every):
            self.draw(trainer, pl_module)

    def grids(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.png"))

    def draw(self, trainer: Trainer, module: Any) -> None:
        images = module.clock.images
        path = self.folder / f"{images:09d}.png"
        save_grid(module.sample(self.latents), path, self.image_channels)
        self.draw_strip()
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image("samples", [str(path)], step=images, caption=[f"{images:,} images shown"])

    def draw_strip(self) -> None:
        """The first row of every grid, one below the other."""
        rows = []
        for path in self.grids():
            with Image.open(path) as grid:
                rows.append(grid.crop((0, 0, grid.width, layout(grid).height)).convert("RGB"))
        strip = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)))
        top = 0
        for row in rows:
            strip.paste(row, (0, top))
            top += row.height
        with atomic_write(self.folder / "strip.png") as file:
            strip.save(file, format="PNG")
