"""The recipes of docs/extending.md, done as they stand there in a folder outside of the repository."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from src.training import restore
from src.training.restore import load_run
from tests.conftest import ROOT, SMALL, TINY

RECIPES = re.findall(
    r"^## (.+?)\n.*?```python\n# (mine/\w+\.py)\n(.*?)```.*?```bash\npython -m src\.train (.*?)```",
    (ROOT / "docs" / "extending.md").read_text(),
    re.M | re.S,
)


def test_all_recipes_are_found() -> None:
    assert len(RECIPES) == 4


@pytest.mark.parametrize(("title", "file", "code", "command"), RECIPES, ids=[title for title, *_ in RECIPES])
def test_the_recipe_trains_and_what_it_made_loads_again(
    title: str, file: str, code: str, command: str, run_train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(file).parent.mkdir()
    Path(file).write_text(code)
    monkeypatch.syspath_prepend(Path.cwd())
    asked = shlex.split(command.replace("\\\n", " "))
    small = SMALL if "model=classifier" in asked or "mine.generator" in command else TINY
    outcome = run_train(*small, *asked, "images=64", "name=a")
    assert outcome.status == 0, outcome.err
    monkeypatch.setattr(restore, "trusted_packages", lambda: ["mine"])
    assert load_run(Path("outputs/a")).settings["images"] == 64
