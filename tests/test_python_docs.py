"""What docs/python.md shows is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "python.md").read_text()
SNIPPETS = dict(re.findall(r"^## (.+?)\n.*?```python\n(.*?)```", TEXT, re.M | re.S))


@pytest.fixture
def folders(tmp_path: Path, run_tiny: Any) -> None:
    """A trained generator in ``outputs/gan``, and a folder of images."""
    assert run_tiny("name=gan", "images=64").status == 0
    Path("images").mkdir()
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)
        Image.fromarray(pixels).save(f"images/{number}.png")


def test_every_section_has_a_snippet() -> None:
    assert len(SNIPPETS) == TEXT.count("\n## ") == TEXT.count("```python")


@pytest.mark.parametrize("title", SNIPPETS)
def test_the_snippet_runs(title: str, folders: None) -> None:
    names: dict[str, Any] = {}
    exec(compile(SNIPPETS[title], title, "exec"), names)
    for name in ("scores", "images"):
        assert len(names.get(name, [1]))
