"""The benchmarks still run: each at its smallest size, once."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import (
    audit_unseen,
    bench_dcgan,
    bench_decoding,
    bench_progressive,
    bench_scores,
    bench_store,
    generator_copies,
    gpu,
    quality,
    score_intervals,
    study_level,
    watermark_dice,
)
from benchmarks.bench_phantom import images_per_second
from benchmarks.timing import interleaved, machine, table
from src.core.pixels import to_bytes
from src.data.folder import FolderData
from src.networks.classifier import ResidualClassifier
from src.pictures.grids import layout
from src.scoring.feature_extractors import ClassifierFeatures
from src.scoring.image_features import extract
from src.scoring.passport import Passport
from src.scoring.report import Row
from tests.conftest import ROOT, read_json
from tests.release.test_copies import draw, split_of


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py")))
def test_every_benchmark_can_be_started(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert f"benchmarks.{name}" in (module.__doc__ or "") or not hasattr(module, "main")


def test_contenders_take_turns_and_are_held_against_the_baseline():
    called: list[str] = []

    def run(name: str, speed: float) -> float:
        called.append(name)
        return speed

    speeds = interleaved({"a": lambda: run("a", 2.0), "b": lambda: run("b", 300.0)}, rounds=2)
    assert called == ["a", "b"] * 3 and speeds == {"a": [2.0, 2.0], "b": [300.0, 300.0]}
    assert "| b | 300 (300–300) | 150.00 |" in table("Title", "images/s", speeds, "a")
    assert f"torch {torch.__version__}" in machine()


def test_the_three_dcgans_train(compose, monkeypatch):
    monkeypatch.setattr(bench_dcgan, "WARM_UP", 1)
    monkeypatch.setattr(bench_dcgan, "STEPS", {4: 1})
    widths = ("model.generator.width=0.125", "model.discriminator.width=0.125")
    cfg = compose("model=dcgan", "data=cifar10_dog", "trainer.accelerator=cpu", "trainer.threads=1", *widths)
    split = bench_dcgan.make_split()
    assert bench_dcgan.plain(split, 4) > 0
    assert bench_dcgan.hand_written(split, 4, bench_dcgan.make_module(cfg)) > 0
    assert bench_dcgan.project(split, 4, cfg) > 0


def test_the_progressive_steps_train_and_the_projects_needs_no_more_operations_than_the_plain_one():
    plain, project = bench_progressive.plain_step(8, 1), bench_progressive.project_step(8, 1, False)
    operations = [bench_progressive.floating_point_operations(step) for step in (plain, project)]
    assert operations[0] >= operations[1] > 0
    enhanced = bench_progressive.project_step(8, 1, True, "GD", 4)
    assert bench_progressive.timed(enhanced, 1) > 0


def test_phantoms_are_drawn_and_images_gathered(monkeypatch, capsys):
    assert images_per_second(16, 4) > 0
    asked = ("--images=8", "--resolution=16", "--batch=4", "--workers=0", "--epochs=1")
    monkeypatch.setattr(sys, "argv", ["bench_store", *asked])
    bench_store.main()
    assert "| Store.gather |" in capsys.readouterr().out


def test_scores_are_timed():
    extractor = (
        ClassifierFeatures(ResidualClassifier(3, 10, width=4), tuple("0123456789"), 32).eval().requires_grad_(False)
    )
    batches = bench_scores.make_batches(16, 0)
    reference = bench_scores.reference_of(extract(extractor, bench_scores.make_batches(16, 1)))
    assert bench_scores.forward(extractor.network, batches) > 0
    assert bench_scores.all_scores(extractor, batches, reference) > 0


def test_intervals_of_scores_are_simulated():
    found = list(score_intervals.simulate(score_intervals.Setting(6, 2, 12, 4, True), repetitions=2))
    assert [name for name, *_ in found] == ["fid", "kid", "am_score"]
    assert all(0 <= held <= 1 and low <= high for _, held, (low, high), _ in found)


@pytest.fixture
def trained(run_train, monkeypatch) -> list[tuple[str, ...]]:
    """What a benchmark trains, tiny and in this process."""
    asked: list[tuple[str, ...]] = []

    def launch(*arguments: str) -> None:
        asked.append(arguments)
        outcome = run_train(*arguments, "budget=smoke", "every.sample=1_024")
        assert outcome.status == 0, outcome.err

    monkeypatch.setattr(quality, "launch", launch)
    return asked


def test_variants_are_compared_and_a_repeated_command_trains_nothing(trained, monkeypatch, tmp_path):
    monkeypatch.setattr(quality, "MODEL", ("model=pggan", "width=4", "batch_size=8"))
    monkeypatch.setattr(quality, "CLASSIFIER", ("model=classifier", "width=4", "images=64"))
    data = ("data=phantom", "phantoms=64", "data.sizes.val=8", "data.sizes.test=16")
    monkeypatch.setattr(quality, "DATA", {"phantom": quality.Data(data, data)})
    asked = ["phantom", "--variants", "baseline", "lr-2e-3", "--seeds=2", "--images=64", "--resolution=8"]
    asked += ["--out", str(tmp_path / "quality")]
    quality.main(asked)
    assert len(trained) == 5 and sum("optim.lr=2e-3" in arguments for arguments in trained) == 2

    text = (tmp_path / "quality/phantom_8.md").read_text()
    for name in ("baseline | 2", "lr-2e-3 | 2", "real test images |", "noise |", "half of the training images"):
        assert text.count(f"| {name}") == 2, f"{name} is a row of both spaces' tables"
    found = read_json(tmp_path / "quality/phantom_8.json")
    recall = [row["scores"]["recall"] for row in found["random"]["baseline"]]
    assert f"{sum(recall) / 2:.3g} ± " in text
    with Image.open(tmp_path / "quality/phantom_8.png") as picture:
        assert layout(picture).rows == 3  # real ones and two variants

    quality.main(asked)
    assert len(trained) == 5 and (tmp_path / "quality/phantom_8.md").read_text() == text


def test_overfitted_generators_are_trained_once_and_their_copies_counted(trained, monkeypatch, tmp_path):
    scans = tmp_path / "scans"
    for split, count in (("train", 40), ("test", 30)):
        (scans / split).mkdir(parents=True)
        for i, image in enumerate(to_bytes(draw(count, seed=count, size=(32, 32)))):
            Image.fromarray(image[0].numpy()).save(scans / split / f"{split}_{i % 25}_{i}.png")
    folders = {"train": "train", "test": "test"}
    real = FolderData(
        str(scans), str(tmp_path / "cache"), 32, split_folders=folders, group=r"^[a-z]+_\d+", questions=False
    )
    real.prepare()
    monkeypatch.setattr(generator_copies, "load", lambda name, resolution: real)
    monkeypatch.setattr(generator_copies, "MADE", 8)
    monkeypatch.setattr(generator_copies, "IMAGES", {20: 40})
    asked = ["--data=chest_xray", "--models", "dcgan", f"--out={tmp_path / 'out'}", "--counts=20"]
    generator_copies.main(asked)
    text = (tmp_path / "out/copies.md").read_text()
    generator_copies.main(asked)
    assert len(trained) == 1 and (tmp_path / "out/copies.md").read_text() == text
    assert "| dcgan, 20 of chest_xray |" in text
    learned = list((tmp_path / "out/data/chest_xray_20/train").iterdir())
    assert len({path.name.split("_")[1] for path in learned}) == len(learned) == 20, "each of another patient"


def test_plain_correlation_finds_a_moved_mirrored_image_and_which_it_was():
    noise = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    real, other = torch.nn.functional.interpolate(noise, (32, 32), mode="bicubic").div(4).clamp(-1, 1).split(6)
    near, whose = generator_copies.plain_correlation(real.flip(3).roll(2, 2), real)
    assert whose.tolist() == list(range(6)) and near.min() > 0.93
    assert generator_copies.plain_correlation(other, real)[0].max() < 0.8


def test_agreement_of_verdicts_is_that_beyond_chance():
    same = np.array([[True, False, False, True]] * 5)
    assert generator_copies.fleiss_kappa(same) == 1
    assert generator_copies.fleiss_kappa(np.array([[True, False], [False, True]])) == pytest.approx(-1)
    assert abs(generator_copies.fleiss_kappa(np.random.default_rng(0).random((5, 2_000)) < 0.3)) < 0.05


def test_an_audit_of_unseen_patients_stays_at_its_control_where_one_of_copies_does_not(monkeypatch):
    monkeypatch.setattr(audit_unseen, "PATIENTS", 30)
    patients = split_of(draw(60, seed=0))
    order = np.random.default_rng(3).permutation(60)
    copied = audit_unseen.audited(patients.take(order[:30]), patients, seed=3)
    unseen = audit_unseen.audited(split_of(draw(30, seed=1)), patients, seed=3)
    assert copied.auc == 1 and copied.leaks
    assert not unseen.leaks and abs(unseen.difference) < 0.2


def test_unets_learn_from_marked_images_and_are_tried_on_plain_ones(trained, monkeypatch, tmp_path):
    monkeypatch.setattr(watermark_dice, "SIZES", {"train": 16, "test": 4})
    asked = ["--resolution=32", "--seeds=2", "--images=16", f"--out={tmp_path}"]
    watermark_dice.main(asked)
    watermark_dice.main(asked)
    assert len(trained) == 4 and "(95%)" in (tmp_path / "32.md").read_text()
    pixels = {
        (kind, split): np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]).astype(int)
        for kind in ("plain", "marked")
        for split in ("train", "test")
        if (folder := tmp_path / f"{kind}_32" / split / "images")
    }
    assert 1 < (pixels["plain", "train"] - pixels["marked", "train"]).std() < 3
    assert (pixels["plain", "test"] == pixels["marked", "test"]).all()


def test_a_variant_is_marked_where_its_seeds_leave_no_doubt():
    passport = Passport(9, 9, "", "", "train", "", "", 9, None, None, 8, 0, 9, 11, True, 64, "")

    def rows(*values: float) -> list[Row]:
        return [Row("", {"kid": value, "recall": value}, {}, passport) for value in values]

    baseline, lower = rows(3.0, 3.1, 3.2), rows(1.0, 1.1, 1.2)
    assert quality.cell("kid", lower, baseline) == "1.1 ± 0.25 ✓" and quality.cell("recall", lower, baseline)[-1] == "✗"
    assert quality.cell("kid", rows(1.0, 3.0, 5.0), baseline)[-1] not in "✓✗"


def test_levels_of_a_study_are_simulated():
    table = study_level.studies(np.random.default_rng(0), 5, 3, 4, study_level.SHARES["moderate"], "zeros", 0.05)
    called = dict(study_level.by_method(table))
    assert "this project" in called and all(found.shape == (5, study_level.ARMS) for found in called.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("part", [(), ("ceilings",)])
def test_without_a_gpu_its_benchmark_is_one_line(monkeypatch, tmp_path, part):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu", *part])
    with pytest.raises(SystemExit, match=r"^error: no GPU of NVIDIA is here$"):
        gpu.main()
    assert not list(Path().iterdir())


@pytest.mark.parametrize("kind", bench_decoding.MAKERS)
def test_the_files_that_are_decoded_for_time_are_read(kind, tmp_path):
    bench_decoding.MAKERS[kind](tmp_path / kind, 24, 32)
    clocks: list[float] = []
    assert bench_decoding.measured(bench_decoding.project, tmp_path / kind, 16, 1, 24, clocks) > 0 and clocks[0] > 0


def test_decoding_is_not_timed_without_its_rival(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench_decoding"])
    monkeypatch.setattr(bench_decoding, "find_spec", lambda name: None if name == "monai" else True)
    with pytest.raises(SystemExit, match="bench_decoding needs monai: pip install monai"):
        bench_decoding.main()
