"""The recipes of docs/extending.md, done as they stand there in a folder outside of the repository."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from src import evaluate
from src.training import restore
from src.training.restore import load_run
from tests.conftest import ROOT, SMALL, TINY

RECIPES = re.findall(
    r"^## (.+?)\n.*?```python\n# (mine/\w+\.py)\n(.*?)```.*?```bash\npython -m src\.train (.*?)```",
    (ROOT / "docs" / "extending.md").read_text(),
    re.M | re.S,
)


def test_all_recipes_are_found() -> None:
    assert len(RECIPES) == 5


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


def test_the_score_of_the_recipe_stands_beside_the_others(run_train: Any, capfd: Any, monkeypatch: Any) -> None:
    ((file, code),) = [(file, code) for title, file, code, _ in RECIPES if title == "A score"]
    Path(file).parent.mkdir()
    Path(file).write_text(code)
    monkeypatch.syspath_prepend(Path.cwd())
    assert run_train(*TINY, "name=a").status == 0
    asked = ["run=outputs/a", "n=32", "threads=1"]
    assert evaluate.main([*asked, "+also.spread._target_=mine.score.Spread", "out=scored"]) == 0
    assert "Spread ↑" in capfd.readouterr().out
    assert all(row["scores"]["spread"] > 0 for row in json.loads(Path("scored/scores.json").read_text()))
    GlobalHydra.instance().clear()
    assert evaluate.main([*asked, "+also.fid._target_=mine.score.Spread"]) == 2
    assert "a score is called fid already" in capfd.readouterr().err
    GlobalHydra.instance().clear()
