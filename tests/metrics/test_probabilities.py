from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import MetricCollection

from src.core.errors import UserError
from src.metrics.probabilities import AMScore, InceptionScore, ModeScore, am_score, inception_score, mode_score
from tests.conftest import ROOT

# Values of the formulas from outside this code; where they are absent, the tests that need them are skipped.
REFERENCE = Path(os.environ.get("DATA_DIR", ROOT.parent / "shared" / "datasets")).parent / "reference"
GOLDEN = json.loads(f.read_text()) if (f := REFERENCE / "metric_golden.json").exists() else []
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
A, B, C = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]


def matrix(*rows: list[float], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(rows, dtype=dtype)


def metrics_of(classes: int) -> dict[str, AMScore | ModeScore | InceptionScore]:
    return {
        "am_score": AMScore(classes),
        "inception_score": InceptionScore(classes),
        "mode_score": ModeScore(classes),
        "mode_score_xu2018": ModeScore(classes, "xu2018"),
    }


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_every_score_has_its_golden_value(case, dtype):
    generated, training = (matrix(*case[side], dtype=dtype) for side in ("generated", "training"))
    found = {
        "am_score": am_score(generated, training),
        "inception_score": inception_score(generated),
        "mode_score": mode_score(generated, training),
        "mode_score_xu2018": mode_score(generated, training, "xu2018"),
    }
    for name, value in found.items():
        assert float(value) == pytest.approx(case["expected"][name], abs=TOLERANCE[dtype]), name


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_every_metric_has_its_golden_value_in_batches_of_any_size(case, dtype, batch):
    for name, metric in metrics_of(len(case["training"][0])).items():
        for side in ("generated", "training"):
            for rows in matrix(*case[side], dtype=dtype).split(batch):
                metric.update(rows, real=side == "training")
        assert float(metric.compute()) == pytest.approx(case["expected"][name], abs=TOLERANCE[dtype]), name


@st.composite
def pairs(draw) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    classes, sharpness = draw(st.integers(1, 12)), draw(st.floats(0, 20))

    def probabilities() -> torch.Tensor:
        logits = torch.randn(draw(st.integers(1, 30)), classes, generator=generator, dtype=torch.float64)
        return (sharpness * logits).softmax(1)

    return probabilities(), probabilities()


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_mode_score_as_che_et_al_write_it_equals_the_inception_score(pair):
    generated, training = pair
    mean_g, mean_t = generated.mean(0), training.mean(0)
    as_written = (
        (generated * (generated / mean_t).log()).sum(1).mean() - (mean_g * (mean_g / mean_t).log()).sum()
    ).exp()
    assert float(mode_score(generated, training)) == pytest.approx(float(as_written), rel=1e-6)
    assert float(inception_score(generated)) == pytest.approx(float(as_written), rel=1e-6)


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_scores_stay_within_their_bounds_and_xu_et_al_score_no_higher_than_che_et_al(pair):
    generated, training = pair
    assert float(am_score(generated, training)) > -1e-9
    assert 1 - 1e-9 < float(inception_score(generated)) < generated.shape[1] + 1e-9
    assert float(mode_score(generated, training, "xu2018")) < float(mode_score(generated, training)) + 1e-9


def test_a_training_class_that_is_never_generated_makes_the_am_score_infinite():
    assert float(am_score(matrix(A, A), matrix(A, B))) == math.inf


def test_a_class_absent_from_the_training_set_leaves_am_and_che_finite_and_xu_at_0():
    generated, training = matrix(A, B, C), matrix(A, B)
    assert float(am_score(generated, training)) == pytest.approx(math.log(3 / 2))
    assert float(mode_score(generated, training)) == pytest.approx(3)
    assert float(mode_score(generated, training, "xu2018")) == 0


def test_one_image_has_the_inception_score_1():
    assert float(inception_score(matrix([0.2, 0.5, 0.3]))) == pytest.approx(1)


def test_integer_one_hot_rows_are_probabilities():
    assert float(inception_score(torch.eye(4, dtype=torch.long))) == pytest.approx(4)


def test_a_softmax_in_half_precision_is_accepted():
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    exact = float(inception_score(logits.softmax(1)))
    assert float(inception_score(logits.half().softmax(1))) == pytest.approx(exact, rel=1e-2)


@pytest.mark.parametrize("off", [9e-4, -9e-4])
def test_rows_whose_sums_are_off_by_a_thousandth_are_refused(off):
    with pytest.raises(UserError, match=r"row 0 .* has the sum (1.0009|0.9991) "):
        inception_score(matrix([0.2, 0.5, 0.3 + off]))


def test_a_softmax_in_bfloat16_is_accepted_whose_sums_are_off_by_more():
    rows = torch.randn(2000, 10, generator=torch.Generator().manual_seed(0)).bfloat16().softmax(1)
    off = (rows.double().sum(1) - 1).abs().max()
    assert off > 1e-3 and float(inception_score(rows)) > 1
    with pytest.raises(UserError, match="has the sum"):  # in float32 nothing explains it
        inception_score(rows.float())


def test_sums_are_exact_in_half_precision_too():
    probabilities = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0)).half().softmax(1)
    metric = InceptionScore(10)
    metric.update(probabilities, real=False)
    expected = float(inception_score(probabilities.double()))
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-10)
    assert float(inception_score(probabilities)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ("generated", "message"),
    [
        (matrix(A, [0.5, 0.3, 0.1]), "row 1 of the class probabilities of the generated images has the sum 0.9 "),
        (matrix([1.2, -0.2, 0.0]), "smallest value -0.2: give the classifier's softmax"),
        (matrix(A, [math.nan, 0.5, 0.5]), "row 1 .* has the sum nan"),
        (matrix([1.0, 0.0]), "generated images have 2 classes, expected 3: score .* with the same classifier"),
        (torch.ones(3), r"the shape \(3,\), not \(images, classes\)"),
        (torch.ones(0, 3), "there are no generated images to score"),
    ],
)
def test_what_are_no_probabilities_of_the_training_sets_classes_is_an_error_in_one_line(generated, message):
    metric = AMScore(3)
    metric.update(matrix(A, B, C), real=True)

    def stream() -> None:
        metric.update(generated, real=False)
        metric.compute()

    for score in (lambda: am_score(generated, matrix(A, B, C)), stream):
        with pytest.raises(UserError, match=message) as raised:
            score()
        assert "\n" not in str(raised.value)


def test_an_unknown_variant_is_an_error_that_lists_the_known():
    with pytest.raises(UserError, match="variant 'chen2017': choose one of che2017, xu2018"):
        ModeScore(3, "chen2017")
    with pytest.raises(UserError, match="che2017, xu2018"):
        mode_score(matrix(A), matrix(A), "chen2017")


def test_an_empty_batch_adds_nothing():
    metric = InceptionScore(3)
    metric.update(matrix(A, B), real=False)
    metric.update(torch.ones(0, 3), real=False)
    assert float(metric.compute()) == pytest.approx(2)


def test_the_real_side_outlives_a_reset_through_its_statistics():
    metric = AMScore(3)
    metric.update(matrix(A, B, C), real=True)
    statistics = metric.real_statistics()
    metric.reset()
    metric.load_real_statistics(statistics)
    metric.update(matrix(A, A, B, C), real=False)
    assert float(metric.compute()) == pytest.approx(float(am_score(matrix(A, A, B, C), matrix(A, B, C))))


def test_loading_another_real_side_after_a_score_gives_another_score():
    metric, other = AMScore(3), AMScore(3)
    other.update(matrix(A, A, B, C), real=True)
    metric.update(matrix(A, B, C), real=True)
    metric.update(matrix(A, A, B, C), real=False)
    assert float(metric.compute()) > 0.01
    metric.load_real_statistics(other.real_statistics())
    assert float(metric.compute()) == pytest.approx(0)


@pytest.mark.parametrize("statistics", [{}, AMScore(4).real_statistics()])
def test_saved_statistics_of_other_classes_are_an_error_that_says_what_to_do(statistics):
    with pytest.raises(UserError, match=r"do not fit AMScore .*: delete them"):
        AMScore(3).load_real_statistics(statistics)


def test_a_collection_scores_all_at_once_and_keeps_their_sums_once():
    generator = torch.Generator().manual_seed(0)
    training, generated = (torch.randn(40, 10, generator=generator).double().softmax(1) for _ in range(2))
    collection, alone = MetricCollection(dict(metrics_of(10))), metrics_of(10)
    for rows, real in ((training, True), (generated, False)):
        for metric in alone.values():
            metric.update(rows, real=real)
        for part in rows.split(16):
            collection.update(part, real=real)
    for name, value in collection.compute().items():
        assert float(value) == pytest.approx(float(alone[name].compute()), abs=1e-10)
    assert len(collection.compute_groups) == 1
