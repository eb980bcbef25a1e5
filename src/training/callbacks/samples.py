"""Pictures of what the generator makes, always from the same latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pytorch_lightning import Callback, Trainer
from torch import Tensor
from torchvision.utils import make_grid

from src.atomic import atomic_write
from src.clock import Stream, random_generator
from src.data.store import Split
from src.pixels import to_unit_range
from src.reporting.grids import COLUMNS, IMAGES, PADDING, TILE_COLUMNS, TILE_HEIGHT, layout
from src.reporting.overlay import overlay


def save_grid(images: Tensor, path: Path, image_channels: int, columns: int = COLUMNS) -> None:
    """Images (N, C, H, W) in [-1, 1] → one PNG, at most ``columns`` to a row; its metadata say how they lie.

    Channels after the first ``image_channels`` (1 or 3) are masks, inside above 0: they are drawn over the image.
    """
    shown, masks = images[:, :image_channels].cpu(), images[:, image_channels:].cpu()
    if masks.shape[1]:
        shown = overlay(shown, masks > 0)
    columns = min(columns, len(images))
    grid = make_grid(shown.float().clamp(-1, 1).add(1).div(2), nrow=columns, padding=PADDING)
    if len(images) == 1:  # which make_grid leaves without its border
        grid = F.pad(grid, [PADDING] * 4)
    pixels = grid.mul(255).add(0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    facts = PngInfo()
    for key, value in {TILE_HEIGHT: images.shape[2], TILE_COLUMNS: columns, IMAGES: len(images)}.items():
        facts.add_text(key, str(value))
    with atomic_write(path) as file:
        Image.fromarray(pixels).save(file, format="PNG", pnginfo=facts)


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
                logger.log_image("samples", [str(path)], caption=[f"{images:,} images shown"])

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
