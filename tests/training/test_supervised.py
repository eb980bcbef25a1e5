"""Models that learn classes or masks, through the real command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from src.core.pixels import to_unit_range
from src.data.training_images import real_images
from src.tasks.segmentation import image_dice
from src.training.from_config import build_module
from src.training.restore import load_data, load_run
from src.training.schedule import CosineSchedule
from src.training.scoring import HeldOut
from tests.conftest import SMALL
from tests.test_train import assert_same_state

UNET = (*SMALL, "model=unet", "model.network.width=4", "model.network.depth=3", "images=256", "every.log=64")
CLASSIFIER = (*SMALL, "model=classifier", "width=4", "images=256", "every.log=64")


def final(run: str) -> dict[str, float]:
    return json.loads(Path(f"outputs/{run}/summary.json").read_text())["final"]


def test_a_unet_learns_the_masks_and_reports_every_test_image(run_train):
    outcome = run_train(*UNET, "images=1024", "name=a", "every.score=512")
    assert outcome.status == 0
    scores = final("a")
    said = f"result: Dice {scores['test_dice']:.3g} (95% interval "
    assert said in outcome.err and "on 400 test images of " in outcome.err.split(said)[1]
    assert scores["test_dice_lung"] > 0.55 and scores["loss"] < 1.4
    with open("outputs/a/test_cases.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 400 and set(rows[0]) == {"file", "case", "lung", "lesion"}
    mean = sum(float(row["lung"]) for row in rows) / len(rows)
    assert mean == pytest.approx(scores["test_dice_lung"], abs=1e-5)
    with open("outputs/a/scores.csv") as file:
        assert [int(row["images"]) for row in csv.DictReader(file)] == [512, 1024]


def test_a_resumed_training_ends_in_the_bits_of_an_unbroken_one_scores_included(run_train):
    arguments = [*CLASSIFIER, "every.keep=128", "every.score=64", "scores.best=val_cross_entropy", "scores.lower=true"]
    assert run_train(*arguments, "name=whole").status == 0
    shutil.copytree("outputs/whole", "outputs/resumed")
    shutil.copy("outputs/whole/checkpoints/000000128.ckpt", "outputs/resumed/checkpoints/last.ckpt")
    Path("outputs/resumed/status.json").write_text(json.dumps({"state": "running", "images": 128}))
    assert run_train(*arguments, "name=resumed").status == 0
    a, b = (torch.load(f"outputs/{n}/checkpoints/last.ckpt", weights_only=True) for n in ("whole", "resumed"))
    assert_same_state(a["state_dict"], b["state_dict"])
    assert Path("outputs/whole/scores.csv").read_text() == Path("outputs/resumed/scores.csv").read_text()


def test_the_best_checkpoint_is_the_one_with_the_best_score(run_train):
    run_train(*CLASSIFIER, "name=a", "every.score=64", "scores.best=val_cross_entropy", "scores.lower=true")
    with open("outputs/a/scores.csv") as file:
        rows = [(float(row["val_cross_entropy"]), int(row["images"])) for row in csv.DictReader(file)]
    assert torch.load("outputs/a/checkpoints/best.ckpt", weights_only=True)["images"] == min(rows)[1]


def test_fine_tuning_starts_with_the_weights_of_another_run(run_train):
    run_train(*UNET, "name=before")
    run_train(
        *UNET,
        "name=after",
        "model.initial=outputs/before",
        "images=16",
        "every.log=16",
        "batch_size=16",
        "optim.lr=1e-12",
    )
    before, after = (
        torch.load(f"outputs/{name}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("before", "after")
    )
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before if key.endswith("weight"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model.initial=outputs/nothing"], "outputs/nothing is neither a run folder nor a checkpoint"),
        (["training.real_fraction=0"], "training.real_fraction=0 leaves no image"),
        (["data.masks=[]"], "a U-Net needs data with masks"),
        (["scores.best=val_dise"], "scores.best=val_dise is no number of this run: it has val_dice, val_dice_lesion"),
        (["scores.best=test_dice"], "scores.best=test_dice is no number of this run: it has val_dice, val_dice_lesion"),
        (["objective=fid"], "objective=fid is no number of this run: it has images_per_s, loss, lr, test_dice"),
    ],
)
def test_a_wrong_setting_is_one_line_before_anything_is_trained(run_train, arguments, said):
    outcome = run_train(*UNET, *arguments)
    assert outcome.status == 2 and said in outcome.error
    assert not list(Path("outputs").rglob("metrics.csv"))


def test_the_objective_may_be_any_number_that_the_summary_will_hold(run_train):
    assert run_train(*CLASSIFIER, "name=a").status == 0
    assert all(
        run_train(*CLASSIFIER, f"name={name}", "images=64", f"objective={name}").status == 0 for name in final("a")
    )


def test_the_learning_rate_rises_linearly_then_falls_along_a_cosine_to_nothing():
    schedule = CosineSchedule(32, 10, 1.0, 1000, decay_images=1000, warm_up=0.2)
    rates = [schedule.at(images).lr for images in range(0, 1000, 10)]
    assert rates[0] == pytest.approx(0.025) and rates[9] == pytest.approx(0.475)
    assert max(rates) == pytest.approx(1.0, abs=0.01) and rates.index(max(rates)) in (19, 20)
    assert rates[60] == pytest.approx(0.5, abs=0.02) and rates[-1] < 0.001


def test_a_unet_reports_how_well_it_fits_the_real_images_that_it_learned_from(run_train):
    arguments = (*UNET, "training.real_fraction=0.25", "training.seed=3", "scores.scorer.train=5")
    assert run_train(*arguments, "name=a").status == 0
    with open("outputs/a/train_cases.csv") as file:
        rows = {row["file"]: float(row["lung"]) for row in csv.DictReader(file)}
    assert sum(rows.values()) / 5 == pytest.approx(final("a")["train_dice_lung"], abs=1e-5)

    run = load_run(Path("outputs/a"))
    data = load_data(run)
    data.prepare()
    split = real_images(data, 0.25, 3)
    batch = split.gather(np.array([split.files().index(file) for file in rows]))
    with torch.no_grad():
        dice = image_dice(run.module.evaluated(to_unit_range(batch["image"])) > 0, batch["mask"])
    assert dice[:, 0].tolist() == pytest.approx(list(rows.values()), abs=1e-5) and len(rows) == 5


def test_the_fit_of_a_model_that_saw_no_real_image_is_not_known(compose):
    cfg = compose("model=unet", *SMALL)
    data = instantiate(cfg.data)
    data.prepare()
    module = build_module(compose("model=unet", *SMALL, "data.channels=1"))
    for fraction, known in ((0.0, False), (0.1, True)):
        _, names = HeldOut(data, 400, fraction, 0).names(module)
        assert any(name.startswith("train_") for name in names) == known and "test_dice" in names
