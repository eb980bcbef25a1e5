import numpy as np
import pytest
import torch
from PIL import Image

from src.pictures.grids import crop_grid, grid_tiles, layout, try_crop
from src.pictures.sample_grid import save_grid
from tests.comparison.conftest import draw_grid


@pytest.mark.parametrize("tile", [4, 32])
def test_crop_grid_returns_the_upper_left_tiles(tmp_path, tile):
    draw_grid(tmp_path / "grid.png", tile)
    crop = np.asarray(crop_grid(tmp_path / "grid.png", 3))
    assert crop.shape == (3 * tile + 4, 3 * tile + 4, 3)
    assert crop[:: tile + 2, :: tile + 2, 0].tolist() == [[0, 1, 2], [8, 9, 10], [16, 17, 18]]
    assert crop[tile - 1 :: tile + 2, tile - 1 :: tile + 2, 0].tolist() == [[0, 1, 2], [8, 9, 10], [16, 17, 18]]


def test_crop_grid_of_a_grid_with_fewer_rows_returns_what_there_is(tmp_path):
    draw_grid(tmp_path / "grid.png", tile=4, rows=2)
    assert crop_grid(tmp_path / "grid.png", 4).size == (22, 10)


def test_crop_grid_refuses_a_picture_that_is_no_grid(tmp_path):
    Image.new("L", (51, 51)).save(tmp_path / "other.png")
    with pytest.raises(ValueError, match=r"other\.png"):
        crop_grid(tmp_path / "other.png", 4)


def test_a_half_written_picture_is_no_picture(tmp_path):
    draw_grid(tmp_path / "grid.png", 32)
    content = (tmp_path / "grid.png").read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    assert try_crop(tmp_path / "half.png") is None


@pytest.mark.parametrize("size", [(16, 16), (12, 16)])
def test_the_tiles_of_a_grid_are_the_images_it_was_made_of(tmp_path, size):
    images = torch.randint(1, 256, (11, 3, *size), dtype=torch.uint8)
    save_grid(images.float() / 127.5 - 1, tmp_path / "grid.png", image_channels=3)
    assert np.array_equal(grid_tiles(tmp_path / "grid.png"), images.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("count", [1, 3, 4, 8, 9])
def test_a_grid_of_any_number_of_images_is_read_as_it_was_written(tmp_path, count):
    images = torch.randint(1, 256, (count, 1, 16, 16), dtype=torch.uint8)
    save_grid(images.float() / 127.5 - 1, tmp_path / "grid.png", image_channels=1)
    assert np.array_equal(grid_tiles(tmp_path / "grid.png")[..., :1], images.permute(0, 2, 3, 1).numpy())
    assert crop_grid(tmp_path / "grid.png", 4).width == 18 * min(count, 4) - 2


def test_black_images_are_images(tmp_path):
    save_grid(torch.full((11, 1, 16, 16), -1.0), tmp_path / "grid.png", image_channels=1)
    assert len(grid_tiles(tmp_path / "grid.png")) == 11


def test_a_grid_without_metadata_has_8_tiles_a_row_and_no_black_ones(tmp_path):
    draw_grid(tmp_path / "grid.png")  # its first tile is black
    assert layout(Image.open(tmp_path / "grid.png")) == (6, 6, 8, 8, None)
    assert len(grid_tiles(tmp_path / "grid.png")) == 63
