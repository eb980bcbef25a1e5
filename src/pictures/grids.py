"""Sample grids: how their images lie in the picture, and the images or pieces cut out again."""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

COLUMNS, PADDING = 8, 2  # tiles in a full row, pixels around each
# Keys in a grid's metadata.
TILE_HEIGHT = "tile height"  # pixels
TILE_COLUMNS = "tile columns"
IMAGES = "images"
CROPPED = 4  # tiles a side, in the cells of a comparison


class Layout(NamedTuple):
    """How a grid lies: 2 px around every tile, as torchvision's ``make_grid`` has it."""

    height: int  # pixels from one tile to the next
    width: int  # likewise
    columns: int
    rows: int
    images: int | None  # None: the file does not say


def layout(picture: Image.Image) -> Layout:
    """The layout that is written into the file; a file that says nothing has 8 tiles a row, and square ones.

    Raises ValueError where the picture is no grid.
    """
    columns = int(picture.info.get(TILE_COLUMNS, COLUMNS))
    width, rest = divmod(picture.width - PADDING, columns)
    if rest or width <= PADDING:
        name = getattr(picture, "filename", "the picture")
        raise ValueError(f"{name}: a picture {picture.width} px wide is no grid of {columns} tiles a row")
    tile = picture.info.get(TILE_HEIGHT)
    height = int(tile) + PADDING if tile else width
    images = picture.info.get(IMAGES)
    return Layout(height, width, columns, (picture.height - PADDING) // height, int(images) if images else None)


def crop_grid(path: Path, tiles: int) -> Image.Image:
    """The upper-left ``tiles`` x ``tiles`` of a sample grid, without the border around them.

    Raises ValueError where the picture is no grid, and OSError where it cannot be read.
    """
    with Image.open(path) as picture:
        grid = layout(picture)
        right, bottom = grid.width * min(tiles, grid.columns), grid.height * min(tiles, grid.rows)
        return picture.convert("RGB").crop((PADDING, PADDING, right, bottom))


def grid_tiles(path: Path | IO[bytes]) -> np.ndarray:
    """The images of a sample grid, (N, H, W, 3) uint8. Raises as ``crop_grid``."""
    with Image.open(path) as picture:
        grid = layout(picture)
        pixels = np.asarray(picture.convert("RGB"))
    inner = pixels[PADDING:, PADDING:][: grid.rows * grid.height]
    tiles = inner.reshape(grid.rows, grid.height, grid.columns, grid.width, 3).swapaxes(1, 2)
    tiles = tiles.reshape(-1, grid.height, grid.width, 3)[:, :-PADDING, :-PADDING]
    if grid.images is None:
        return tiles[tiles.any(axis=(1, 2, 3))]  # the last row's unused places are black
    return tiles[: grid.images]


def try_crop(path: Path | None, tiles: int = CROPPED) -> Image.Image | None:
    """``crop_grid``, or None where there is no such picture or it cannot be used (half written, another layout)."""
    try:
        return crop_grid(path, tiles) if path else None
    except (OSError, ValueError):
        return None
