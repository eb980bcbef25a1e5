import numpy as np
import pytest
from PIL import Image

from src.pictures import figures
from src.pictures.figures import run_style, save_losses


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_losses_are_drawn_from_any_number_of_rows(tmp_path, rows):
    metrics = {name: np.linspace(0, 1, rows) for name in ("images", "loss_d", "loss_g", "d_real", "d_fake")}
    save_losses(metrics, tmp_path / "losses.png", probabilities=True)
    assert Image.open(tmp_path / "losses.png").size == (1600, 1080)
    assert [path.name for path in tmp_path.iterdir()] == ["losses.png"]  # no temporary file stays


def test_losses_that_are_not_finite_are_left_out(tmp_path):
    metrics = {"images": np.arange(3.0), "loss_d": np.array([1.0, np.inf, np.nan])}
    save_losses(metrics, tmp_path / "losses.png", probabilities=True)


@pytest.mark.parametrize(
    ("probabilities", "title"),
    [(True, "Mean probability of being real"), (False, "Mean output of the discriminator")],
)
def test_the_outputs_of_a_critic_are_not_called_probabilities(tmp_path, monkeypatch, probabilities, title):
    drawn = []
    monkeypatch.setattr(figures, "figure_png", lambda figure, **options: drawn.append(figure) or b"")
    metrics = {name: np.linspace(0, 0.4, 5) for name in ("images", "loss_d", "loss_g", "d_real", "d_fake")}
    save_losses(metrics, tmp_path / "losses.png", probabilities)
    lower = drawn[0].axes[1]
    assert lower.get_title(loc="left") == title
    assert (lower.get_ylim() == (-0.02, 1.02)) == probabilities


def test_24_runs_have_24_styles():
    assert len({run_style(i) for i in range(24)}) == 24
