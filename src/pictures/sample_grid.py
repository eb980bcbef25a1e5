"""A grid of images as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torchvision.utils import make_grid

from src.core.atomic import atomic_write
from src.pictures.grids import COLUMNS, IMAGES, PADDING, TILE_COLUMNS, TILE_HEIGHT
from src.pictures.overlay import overlay

LETTERS = (230, 230, 230)  # colour of the rows' names


def save_grid(
    images: Tensor, path: Path, image_channels: int, columns: int = COLUMNS, names: Sequence[str] = ()
) -> None:
    """Images (N, C, H, W) in [-1, 1] → one PNG, at most ``columns`` to a row; its metadata say how they lie.

    Channels after the first ``image_channels`` (1 or 3) are masks, inside above 0: they are drawn over the image.
    ``names`` of the rows stand left of them, in a picture that is for the eye alone: it has no metadata.
    """
    shown, masks = images[:, :image_channels].cpu(), images[:, image_channels:].cpu()
    if masks.shape[1]:
        shown = overlay(shown, masks > 0)
    columns = min(columns, len(images))
    grid = make_grid(shown.float().clamp(-1, 1).add(1).div(2), nrow=columns, padding=PADDING)
    if len(images) == 1:  # which make_grid leaves without its border
        grid = F.pad(grid, [PADDING] * 4)
    pixels = grid.mul(255).add(0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    picture, facts = Image.fromarray(pixels), PngInfo()
    if names:
        picture = _with_names(picture, names, images.shape[2] + PADDING)
    else:
        for key, value in {TILE_HEIGHT: images.shape[2], TILE_COLUMNS: columns, IMAGES: len(images)}.items():
            facts.add_text(key, str(value))
    with atomic_write(path) as file:
        picture.save(file, format="PNG", pnginfo=facts)


def _with_names(grid: Image.Image, names: Sequence[str], height: int) -> Image.Image:
    """``height``: pixels from one row to the next."""
    font = ImageFont.load_default(min(max(height // 5, 11), 28))
    margin = 3 * PADDING + int(max(font.getlength(name) for name in names)) + 1
    picture = Image.new("RGB", (margin + grid.width, grid.height))
    picture.paste(grid, (margin, 0))
    draw = ImageDraw.Draw(picture)
    for row, name in enumerate(names):
        draw.text((2 * PADDING, PADDING + row * height + height // 2), name, LETTERS, font, anchor="lm")
    return picture
