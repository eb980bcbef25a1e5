"""The sentence that everything serves, in Slurm's queue, and what W&B is given of it; and a study there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from src.training.wandb_sessions import sessions_of
from tests.cluster.conftest import SLURM
from tests.conftest import SMALL
from tests.test_study_command import TINY

OFFLINE = ("logger=wandb", "logger.wandb.system_metrics=false")


@pytest.mark.slurm
def test_a_sweep_ends_in_its_page_and_wandbs_records_of_scores_and_dice_are_one_group_on_one_axis(login):
    small = (*SMALL, "every.score=128", *OFFLINE)
    status, err = login.run("model=classifier", "width=4", "images=256", "name=classifier", asked=small)
    assert status == 0, err
    gans = ("model=dcgan,enhanced", "optim.lr=2e-4,3e-4", "scores.scorer.count=48", "images=256", "name=mission")
    status, err = login.run("-m", *gans, asked=(*small, *SLURM))
    assert status == 0, err
    unet = ("model=unet", "images=256", "model.network.width=4", "model.network.depth=3", "logger.wandb.group=mission")
    status, err = login.run(*unet, "name=unet", asked=small)
    assert status == 0, err

    sweep = login.folder / "outputs/mission"
    runs = [path.parent for path in sweep.glob("*/summary.json")]
    assert len(runs) == 4 and (sweep / "compare.html").exists()
    for folder in [*runs, login.folder / "outputs/unet"]:
        (session,) = sessions_of(folder)
        rows, summary = list(session.rows()), session.summary()
        scores = ("val_dice",) if folder.name == "unet" else ("am_score", "mode_score")
        assert all(isinstance(row["images"], int) for row in rows)
        assert [row["images"] for row in rows if scores[0] in row] == [128, 256]
        final = json.loads((folder / "summary.json").read_text())["final"]
        for name in ("test_dice",) if folder.name == "unet" else scores:
            assert summary[f"final/{name}"] == pytest.approx(final[name])
        about = session.run()
        assert about.run_group == "mission" and summary["state"] == "done"
        assert about.job_type == ("unet" if folder.name == "unet" else "generator")
        assert session.config()["optim"]["lr"] > 0


@pytest.mark.slurm
def test_a_study_trains_in_the_queue(login):
    asked = (*TINY, "regimes=[mixed]", "name=study", "launcher=slurm_cpu", *SLURM[1:])
    own = {**login.cluster.environment}
    command = [sys.executable, "-m", "src.study", *asked]
    done = subprocess.run(command, cwd=login.folder, env=own, capture_output=True, text=True, timeout=1_200)
    assert done.returncode == 0, done.stderr
    assert (login.folder / "outputs/study/study.html").exists()
    study = login.folder / "outputs/study"
    assert {path.parts[-3] for path in study.glob("*/*/status.json")} == {
        "classifier", "exports", "generators", "scores", "unets",
    }  # fmt: skip
    scores = json.loads(next(study.glob("scores/*/generator_scores.json")).read_text())
    assert scores["pggan"]["scores"]["am_score"][0] > 0
    logs = [path.read_text() for path in study.glob(".slurm/*/*_log.out")]
    assert sum("exporting 48 images" in log for log in logs) == 1  # a job
