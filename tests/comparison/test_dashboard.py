"""What a workspace and a report in W&B are told to show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from src.dashboard import main

pytest.importorskip("wandb_workspaces")


def test_offline_the_dashboard_is_written_with_a_section_for_each_question(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["group=sweep", "project=mine"]) == 0, capsys.readouterr().err
    workspace, report = (
        json.loads(Path("outputs/dashboard", f"{n}.json").read_text()) for n in ("workspace", "report")
    )
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    asked = {section["name"]: json.dumps(section["panels"]) for section in sections}
    learning, scores, dice, copies = (asked[f"{title}?"] for title in TITLES)
    assert '"loss_g"' in learning and '"images"' in learning and '"samples"' in learning
    assert all(f'"{name}"' in scores for name in ("am_score", "mode_score", "fid", "kid"))
    assert "final/test_dice" in dice and "arms" in dice
    assert "ssim_diversity" in copies
    text = json.dumps(report)
    assert all(f"{title}?" in text for title in TITLES) and '"sweep"' in text


TITLES = ("Does it learn", "How good are the images", "Do they help a U-Net", "Are they copies")


def test_online_needs_the_name_of_a_team(capsys):
    assert main(["mode=online"]) == 2
    assert "entity=<name>" in capsys.readouterr().err
