"""A GAN is scored while it learns: the same images every time, and training does not notice."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytorch_lightning.strategies import SingleDeviceStrategy

from src.core.errors import UserError
from src.scoring.evaluator import Evaluator
from src.scoring.generator_scorer import GeneratorScorer
from src.scoring.image_features import generated_batches
from src.scoring.scores import Rules, score_names
from src.training.restore import load_data, load_generator
from tests.conftest import SMALL, TINY, Outcome

CLASSES = "data.classes=[normal,effusion]"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifiers")


@pytest.fixture
def classifier(shelf: Path, run_train: Callable[..., Outcome]) -> str:
    """A run of ``model=classifier`` on the phantoms of the other runs here, trained once."""
    if not (shelf / "clf").exists():
        outcome = run_train(*SMALL, "model=classifier", "width=4", "images=256", "name=clf", f"paths.outputs={shelf}")
        assert outcome.status == 0, outcome.err
    return str(shelf / "clf")


@pytest.fixture
def run_scored(run_train: Callable[..., Outcome], classifier: str) -> Callable[..., Outcome]:
    scored = ("scores=generator", f"scores.scorer.classifier={classifier}", "scores.scorer.count=48", "every.score=64")
    return lambda *arguments: run_train(*TINY, *scored, "callbacks=none", *arguments)


def read_scores(run: str) -> list[dict[str, str]]:
    with open(Path("outputs") / run / "scores.csv", newline="") as file:
        return list(csv.DictReader(file))


def checkpoint(run: str, name: str = "last") -> dict:
    return torch.load(f"outputs/{run}/checkpoints/{name}.ckpt", weights_only=True)


def test_best_checkpoint_is_the_one_of_the_lowest_fid_and_reports_have_the_scores(run_scored):
    outcome = run_scored("name=a", "images=256", "optim.lr=1e-2", "objective=fid")
    assert outcome.status == 0, outcome.err
    rows = read_scores("a")
    assert [int(row["images"]) for row in rows] == [64, 128, 192, 256]
    assert list(rows[0]) == ["images", *score_names(classes=True, fid=True, side=16)]
    best = min(rows, key=lambda row: float(row["fid"]))
    assert checkpoint("a", "best")["images"] == int(best["images"])

    final = json.loads(Path("outputs/a/summary.json").read_text())["final"]
    assert final["fid"] == pytest.approx(float(rows[-1]["fid"]))
    (written,) = json.loads(Path("outputs/a/scores.json").read_text())
    assert written["scores"]["am_score"] == final["am_score"]
    assert written["intervals"]["fid"][0] <= final["fid"] <= written["intervals"]["fid"][1]
    passport = written["passport"]
    assert (passport["n_real"], passport["n_fake"], passport["images_shown"]) == (128, 48, 256)
    assert passport["ema"] is False and 0 <= passport["accuracy"] <= 1 and len(passport["network"]) == 64
    assert passport["features"] == "classifier penultimate (16 px, 32 values)"


def test_final_scores_are_computed_where_the_model_was_trained(run_scored, monkeypatch):
    """By another name of the CPU, as there may be no other device."""
    trained_on = torch.device("cpu", 0)
    monkeypatch.setattr(SingleDeviceStrategy, "root_device", property(lambda _: trained_on))
    devices = []
    generated = Evaluator.generated
    monkeypatch.setattr(Evaluator, "generated", lambda *a: devices.append(a[1].device) or generated(*a))
    assert run_scored("name=a", "images=64").status == 0
    assert devices == [trained_on, trained_on]  # while it learns and at the end


def test_a_resumed_run_has_the_scores_of_an_uninterrupted_one(run_scored):
    run_scored("name=whole", "images=256")
    run_scored("name=parts", "images=128")
    run_scored("name=parts", "images=256")
    assert read_scores("parts") == read_scores("whole") and len(read_scores("whole")) == 4


@pytest.mark.parametrize("change", ["scores.scorer.count=64", "scores.best=kid"])
def test_another_judge_starts_the_scores_and_the_best_anew(run_scored, change):
    """Its values are no better or worse than those before, wherever they lie."""
    run_scored("name=a", "images=128", "scores.lower=false")
    before = Path("outputs/a/scores.csv").read_text()
    state = checkpoint("a")["callbacks"]["Scores"]["best_value"]
    assert run_scored("name=a", "images=256", "scores.lower=false", change).status == 0
    assert [int(row["images"]) for row in read_scores("a")] == [192, 256]
    assert Path("outputs/a/scores_until_000000128.csv").read_text() == before
    best = max(float(row["kid" if "kid" in change else "fid"]) for row in read_scores("a"))
    assert checkpoint("a")["callbacks"]["Scores"]["best_value"] == pytest.approx(best) != state
    assert checkpoint("a", "best")["images"] > 128


def test_scoring_changes_nothing_that_is_trained(run_scored, run_train):
    run_scored("name=scored", "images=128", "model.generator.dropout=0.2")
    run_train(*TINY, "callbacks=none", "name=alone", "images=128", "model.generator.dropout=0.2")
    one, other = (checkpoint(run)["state_dict"] for run in ("scored", "alone"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_images_depend_on_the_seed_and_not_on_the_batch_size_and_masks_are_left_out(run_scored):
    assert run_scored("name=a", "images=128", "with_masks=true").status == 0
    module = load_generator(Path("outputs/a")).module

    def images(seed: int, batch_size: int) -> torch.Tensor:
        return torch.cat(list(generated_batches(module, 20, seed, 1, batch_size)))

    assert images(0, 20).shape == (20, 1, 16, 16)
    torch.testing.assert_close(images(0, 20), images(0, 7), atol=0.02, rtol=0)  # a rounding to 8 bits
    assert not torch.equal(images(0, 20), images(1, 20))


def test_real_images_are_looked_at_once_for_all_runs(run_scored, classifier, tmp_path, monkeypatch):
    run_scored("name=a", "images=64")
    run = load_generator(Path("outputs/a"))
    data = load_data(run)
    data.prepare()

    def scorer() -> GeneratorScorer:
        return GeneratorScorer(data, classifier, "classifier", 48, 0, 32, None, False, str(tmp_path / "cache"))

    first = scorer().during(run.module)
    assert first["fid"] == pytest.approx(float(read_scores("a")[-1]["fid"]))
    monkeypatch.setattr("src.scoring.reference._measure", lambda *_: pytest.fail("measured again"))
    assert scorer().during(run.module) == first


def test_the_average_is_scored_where_there_is_one(run_scored, classifier, tmp_path):
    ema = ("model.ema={_target_: src.training.ema.ExponentialMovingAverage, _partial_: true, decay: 0.9}",)
    assert run_scored("name=a", "images=64", *ema).status == 0
    run = load_generator(Path("outputs/a"))
    data = load_data(run)
    data.prepare()
    evaluator = Evaluator(data, classifier, "classifier", 0, 32, Rules(allow_small=True), tmp_path)
    averaged = evaluator.scores(evaluator.extract(evaluator.generated(run.module, 48), "generated"))
    assert evaluator.passport(48, run.module).ema is True
    run.module.ema = None
    assert evaluator.scores(evaluator.extract(evaluator.generated(run.module, 48), "generated"))[
        "fid"
    ] != pytest.approx(averaged["fid"])
    assert averaged["fid"] == pytest.approx(float(read_scores("a")[-1]["fid"]))


def test_where_images_are_too_few_for_fid_training_says_so_and_keeps_the_checkpoint_of_the_best_kid(run_scored):
    outcome = run_scored("name=a", "images=128", "scores.scorer.count=20")
    assert outcome.status == 0, outcome.err
    said = "FID is left out: of 32 features it needs more than 32 images a side, there are 128 real and 20 generated"
    assert said in Path("outputs/a/run.log").read_text()
    rows = read_scores("a")
    assert "fid" not in rows[0]
    assert checkpoint("a", "best")["images"] == int(min(rows, key=lambda row: float(row["kid"]))["images"])


def test_a_generator_that_diverges_before_a_metric_shows_it_gets_no_scores(run_scored, classifier, tmp_path):
    run_scored("name=a", "images=64")
    run = load_generator(Path("outputs/a"))
    data = load_data(run)
    data.prepare()
    scorer = GeneratorScorer(data, classifier, "classifier", 48, 0, 32, None, False, str(tmp_path / "cache"))
    run.module.checkpoint = ""  # as while it is trained
    run.module.generator.register_forward_hook(lambda network, inputs, images: images * float("inf"))
    with pytest.raises(UserError, match="training diverged: an image of the generator is not finite after 64 images"):
        scorer.during(run.module)


def test_without_a_classifier_scores_are_of_random_features_and_the_passport_says_so(run_train):
    arguments = ("scores=generator", "scores.scorer.count=48", "scores.allow_small=true", "every.score=128")
    outcome = run_train(*TINY, "name=a", "images=128", "data.classes=[normal]", *arguments)
    assert outcome.status == 0, outcome.err
    (written,) = json.loads(Path("outputs/a/scores.json").read_text())
    assert written["passport"]["features"] == "random features (16 px, 512 values)"
    assert written["passport"]["accuracy"] is None
    assert "fid" in written["scores"] and "am_score" not in written["scores"]
    low, high = written["intervals"]["fid"]
    assert f"FID {written['scores']['fid']:.4g} ({low:.4g} to {high:.4g})" in outcome.err.partition("result: ")[2]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["data.channels=3"], "learned images of channels 1, not 3"),
        (["resolution=32"], "learned images of resolution 16, not 32"),
        (["scores.scorer.count=20", "scores.best=fid"], "scores.best=fid is no number of this run: it has am_score,"),
        (["scores.scorer.count=20", "objective=fid"], "objective=fid is no number of this run: it has accuracy_fake,"),
        (["scores.kid_subset=100"], "scores.kid_subset=100 does not fit"),
        (
            ["scores.scorer.features=incept"],
            "scores.scorer.features=incept must be classifier, inception, efficientnet_lite0 or radiomics",
        ),
        (["scores.scorer.classifier=outputs/none"], "outputs/none is neither a run folder nor a checkpoint"),
    ],
)
def test_what_cannot_be_scored_is_one_line_before_anything_is_trained(run_scored, asked, said):
    outcome = run_scored("name=a", "images=128", *asked)
    assert outcome.status == 2 and said in outcome.error
    assert not Path("outputs/a/metrics.csv").exists()


def test_a_gan_for_a_classifier_and_unknown_classes_are_refused(run_train, run_scored, classifier):
    run_scored("name=a", "images=128")
    outcome = run_scored("name=b", "images=128", "scores.scorer.classifier=outputs/a")
    assert "outputs/a is a dcgan, not a classifier" in outcome.error
    run_train(*SMALL, "model=classifier", "width=4", "images=128", "name=two", CLASSES)
    outcome = run_scored("name=c", "images=128", "scores.scorer.classifier=outputs/two")
    assert "knows the classes normal, effusion, the data have the class nodule" in outcome.error


def test_a_classifier_of_more_classes_scores_data_of_some(run_scored):
    outcome = run_scored("name=a", "images=128", CLASSES)
    assert outcome.status == 0, outcome.err


def test_a_classifier_of_the_same_data_among_the_runs_scores_a_gan_without_being_named(run_train, classifier):
    """The better of two; none of other data, nor one that is not finished."""
    outputs = Path("outputs")
    outputs.mkdir()
    for name, change in (("good", {}), ("worse", {"accuracy": 0.0}), ("other", {"fingerprint": "0"})):
        shutil.copytree(classifier, outputs / name)
        summary = json.loads((outputs / name / "summary.json").read_text())
        summary["final"]["test_accuracy"] = change.get("accuracy", 0.9 if name == "good" else 1.0)
        summary["data_fingerprint"] = change.get("fingerprint", summary["data_fingerprint"])
        (outputs / name / "summary.json").write_text(json.dumps(summary))
    shutil.copytree(outputs / "good", outputs / "unfinished")
    (outputs / "unfinished/status.json").write_text('{"state": "running", "images": 1}')
    small = ("images=128", "every.score=128", "scores.scorer.count=48")
    outcome = run_train(*TINY, *small, "name=gan")
    assert outcome.status == 0 and outcome.err.count("scored by outputs/good, a classifier of these data") == 1
    assert {"am_score", "mode_score"} <= read_scores("gan")[0].keys()
    assert json.loads(Path("outputs/gan/scores.json").read_text())[0]["scores"]["am_score"] > 0

    for asked in (("seed=3", "scores=none"), ("phantoms=96", "seed=4")):  # of other data there is none
        outcome = run_train(*TINY, "images=128", *asked, "name=unscored", "force=true")
        assert outcome.status == 0 and not Path("outputs/unscored/scores.csv").exists(), outcome.err
