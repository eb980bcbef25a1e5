import numpy as np
import pytest
import torch
from PIL import Image

from src.reporting.figures import crop_grid, grid_tiles, run_style, save_losses, try_crop
from src.training.callbacks.samples import save_grid
from tests.reporting.conftest import draw_grid


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


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_losses_are_drawn_from_any_number_of_rows(tmp_path, rows):
    metrics = {name: np.linspace(0, 1, rows) for name in ("images", "loss_d", "loss_g", "d_real", "d_fake")}
    save_losses(metrics, tmp_path / "losses.png")
    assert Image.open(tmp_path / "losses.png").size == (1600, 1080)
    assert [path.name for path in tmp_path.iterdir()] == ["losses.png"]  # no temporary file stays


def test_losses_that_are_not_finite_are_left_out(tmp_path):
    save_losses({"images": np.arange(3.0), "loss_d": np.array([1.0, np.inf, np.nan])}, tmp_path / "losses.png")


def test_24_runs_have_24_styles():
    assert len({run_style(i) for i in range(24)}) == 24


@pytest.mark.parametrize("size", [(16, 16), (12, 16)])
def test_the_tiles_of_a_grid_are_the_images_it_was_made_of(tmp_path, size):
    images = torch.randint(1, 256, (11, 3, *size), dtype=torch.uint8)
    save_grid(images.float() / 127.5 - 1, tmp_path / "grid.png", image_channels=3)
    assert np.array_equal(grid_tiles(tmp_path / "grid.png"), images.permute(0, 2, 3, 1).numpy())
