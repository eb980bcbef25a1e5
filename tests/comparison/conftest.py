"""Made-up run folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

COLUMNS = ("images", "loss_d", "loss_g", "d_real", "d_fake", "images_per_s", "lr")
MakeRun = Callable[..., Path]


def draw_grid(path: Path, tile: int = 4, rows: int = 8) -> None:
    """A sample grid as make_grid lays it out; tile number i is the grey value i."""
    grid = np.full((rows * (tile + 2) + 2, 8 * (tile + 2) + 2), 255, np.uint8)
    for i in range(rows * 8):
        top, left = (2 + (tile + 2) * k for k in divmod(i, 8))
        grid[top : top + tile, left : left + tile] = i
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid).save(path)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run folder below tmp_path/runs; ``files`` replace or (None) remove the text of single files."""

    def make(
        name: str,
        model: str = "dcgan",
        lr: str = "2e-4",
        data: str = "cifar10",
        seed: int | None = None,
        loss: str = "BinaryCrossEntropy",
        batch_size: int = 32,
        overrides: tuple[str, ...] = (),
        status: dict[str, Any] | None = None,
        scores: dict[str, float] | None = None,
        samples: tuple[int, ...] = (0, 1000, 2000),
        rows: int = 4,
        files: dict[str, str | None] | None = None,
    ) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        values = [[500 * (i + 1), 1 + i / 8, 2 - i / 8, 0.625, 0.375, 1500, float(lr)] for i in range(rows)]
        final = dict(zip(COLUMNS, values[-1] if rows else [], strict=False)) | (scores or {})
        texts: dict[str, str | None] = {
            "config.yaml": f"model: {{name: {model}, generator: {{}}, loss: {{_target_: src.training.losses.{loss}}}, "
            f"schedule: {{batch_size: {batch_size}, lr: {float(lr)}}}}}\n"
            f"optim: {{lr: {float(lr)}}}\ndata: {{name: {data}}}\nseed: {seed or 0}\n",
            "overrides.json": json.dumps(
                [f"model={model}", f"optim.lr={lr}", *([] if seed is None else [f"seed={seed}"]), *overrides]
            ),
            "metrics.csv": "\n".join(",".join(map(str, row)) for row in [COLUMNS, *values]),
            "summary.json": json.dumps({"final": final, "images": 500 * rows, "seconds": 3725}),
            "status.json": json.dumps({"state": "done", "reason": "", "warnings": []} | (status or {})),
        }
        texts.update(files or {})
        for file, text in texts.items():
            if text is not None:
                (folder / file).write_text(text, encoding="utf-8")
        for images in samples:
            draw_grid(folder / "samples" / f"{images:09d}.png")
        draw_grid(folder / "samples" / "real.png")
        return folder

    return make
