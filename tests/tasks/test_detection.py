from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from src.core.errors import UserError
from src.data.phantom import PhantomData
from src.tasks.detection import Detection, RealOrGenerated, look_strip, save_roc
from tests.conftest import SMALL


def export(folder, count: int, value: int) -> str:
    """A folder as src.generate writes it, of images of one grey."""
    (folder / "images").mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((16, 16), value, np.uint8)).save(folder / "images" / f"{i:06d}.png")
    return str(folder)


@pytest.fixture
def real(tmp_path) -> PhantomData:
    sizes = {"train": 12, "val": 4, "test": 8}
    return PhantomData(16, 1, ["normal", "nodule"], ["lung"], sizes, 0, tmp_path / "cache")


def data_of(real, tmp_path, generated, **others) -> RealOrGenerated:
    return RealOrGenerated("both", real, generated, others, str(tmp_path / "cache"))


def test_every_split_has_as_many_generated_as_real_images_and_shares_none_with_another(real, tmp_path):
    data = data_of(real, tmp_path, export(tmp_path / "made", 24, 7))
    files: list[str] = []
    for name, count in (("train", 12), ("val", 4), ("test", 8)):
        split = data.split(name)
        batch = split.gather(np.arange(len(split)))
        assert batch["label"].tolist() == [0] * count + [1] * count and "mask" not in batch
        assert (batch["image"][count:] == 7).all()
        files += split.files()[count:]
    assert len(set(files)) == 24
    assert data.description.classes == ("real", "generated")


def test_fewer_generated_images_take_fewer_real_ones(real, tmp_path):
    data = data_of(real, tmp_path, export(tmp_path / "made", 12, 7))
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [12, 4, 8]


def test_another_generator_is_tested_against_the_same_held_out_images(real, tmp_path):
    made, other = export(tmp_path / "made", 24, 7), export(tmp_path / "other", 8, 9)
    data = data_of(real, tmp_path, made, rival=other)
    test = data.split("test_rival").gather(np.arange(16))
    assert (test["image"][8:] == 9).all()
    assert {f for f in data.split("test_rival").files()[:8]} == {f for f in data.split("test").files()[:8]}


def test_where_fewer_were_generated_another_generator_is_still_tested_against_the_same_real_images(real, tmp_path):
    made, other = export(tmp_path / "made", 12, 7), export(tmp_path / "other", 8, 9)  # 12 for 24: half of each split
    data = data_of(real, tmp_path, made, rival=other)
    assert data.split("test_rival").files()[:4] == data.split("test").files()[:4]
    assert len(data.split("test_rival")) == 8


def test_fewer_images_of_another_generator_meet_a_draw_of_the_real_ones_and_not_the_first(real, tmp_path):
    made = export(tmp_path / "made", 24, 7)
    firsts = real.split("test").files()[:4]
    data = data_of(real, tmp_path, made, rival=export(tmp_path / "other", 4, 9))
    files = data.split("test_rival").files()[:4]
    assert set(files) < set(data.split("test").files()) and files != firsts


def test_another_generator_needs_a_test_split(tmp_path):
    real = PhantomData(16, 1, ["normal"], [], {"train": 12}, 0, tmp_path / "cache")
    data = data_of(real, tmp_path, export(tmp_path / "made", 12, 7), rival=export(tmp_path / "other", 4, 9))
    for _ in range(2):  # and is no half-made data set afterwards
        with pytest.raises(UserError, match=r"data\.others needs a test split, the real data have train: leave it out"):
            _ = data.splits


@pytest.mark.parametrize(("generated", "said"), [(None, "data.generated is missing"), (1, "too few: generate 24")])
def test_without_generated_images_it_is_one_clear_line(real, tmp_path, generated, said):
    folder = generated and export(tmp_path / "made", generated, 7)
    with pytest.raises(UserError, match=said):
        _ = data_of(real, tmp_path, folder).splits


def test_the_auc_is_the_share_of_pairs_in_order():
    output = torch.tensor([[0.0, 1.0], [0.0, 3.0], [0.0, 2.0], [0.0, 4.0]])
    batch = {"label": torch.tensor([0, 0, 1, 1])}
    scores = Detection().evaluate([(output, batch)])
    assert tuple(scores) == Detection.scores
    assert scores["auc"] == pytest.approx(3 / 4) and scores["accuracy"] == pytest.approx(2 / 4)


def test_the_auc_keeps_the_order_of_large_logits_and_halves_ties(tmp_path, monkeypatch):
    label = torch.arange(2).repeat_interleave(40)
    score = (np.random.default_rng(0).normal(size=80) + 1.8 * label.numpy() + 25).round(1)  # from 22.7 to 28.8
    output = torch.stack([torch.zeros(80), torch.from_numpy(score).float()], 1)
    predictions: list = [(output, {"label": label})]
    assert Detection().evaluate(predictions)["auc"] == pytest.approx(0.945)  # of scikit-learn 1.9

    drawn = []
    monkeypatch.setattr("src.tasks.detection.figure_png", lambda figure, **_: drawn.append(figure) or b"")
    save_roc(output[:, 1], label, tmp_path / "roc.png")
    (axes,) = drawn[0].axes
    false, true = axes.lines[0].get_data()
    assert axes.get_title() == "AUC 0.945" and np.trapezoid(true, false) == pytest.approx(0.945)


def test_the_strip_is_brightest_where_the_answer_is_decided():
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].weight.view(2, 16, 16)[1, 3, 12] = 1.0
    rows = look_strip(network, torch.zeros(8, 1, 16, 16))
    assert rows.shape == (16, 1, 16, 16)
    y, x = divmod(int(rows[8, 0].argmax()), 16)
    assert abs(y - 3) <= 2 and abs(x - 12) <= 2


def test_the_detector_is_trained_by_one_command_on_whichever_real_data_are_named(run_train, tmp_path):
    made = export(tmp_path / "made", 48, 7)
    outcome = run_train(
        *SMALL, "model=detector", f"data.generated={made}", "data@data.real=phantom", "data.real.sizes.train=32",
        "data.real.sizes.val=8", "data.real.sizes.test=8", "images=64", "width=4", "name=d",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert {"test_roc.png", "test_looked_at.png"} <= {path.name for path in Path("outputs/d").iterdir()}
    assert "test_auc" in json.loads(Path("outputs/d/summary.json").read_text())["final"]
    assert "result: AUC " in outcome.err and " · accuracy " in outcome.err and " on 16 test images of " in outcome.err
    again = run_train(*json.loads(Path("outputs/d/overrides.json").read_text()))
    assert "result: AUC " in again.err and "finished already" in again.err
