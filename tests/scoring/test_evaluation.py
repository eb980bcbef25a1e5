"""One pass over the images gives every score, and the scores are those of the pure functions."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from src.core.errors import UserError
from src.data.base import ImageData
from src.data.description import Description
from src.data.store import Split, Store
from src.metrics.frechet import frechet_distance, mean_and_covariance
from src.metrics.intervals import Interval
from src.metrics.probabilities import am_score, mode_score
from src.networks.classifier import ResidualClassifier
from src.scoring.feature_extractors import ClassifierFeatures, FeatureExtractor, RandomFeatures, load_extractor
from src.scoring.image_features import ImageFeatures, extract, shuffled, split_batches
from src.scoring.reference import Reference, load_reference
from src.scoring.scores import LOWER_IS_BETTER, Rules, compute_intervals, compute_scores, resample


class Images(ImageData):
    """Grey images of 16 px: blobs, whose brightness is their class."""

    name = "blobs"

    def __init__(self, train: int = 60, test: int = 40, seed: int = 0, patients: int | None = None) -> None:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, train + test)
        images = rng.integers(0, 60, (train + test, 1, 16, 16)) + (80 + 80 * labels)[:, None, None, None]
        self.store = Store(images.astype(np.uint8), labels, None, {})
        self.train, half = train, max(1, (patients or 0) // 2)
        self.cases = [f"{(patients or 0) // 2 * int(label) + i % half}" for i, label in enumerate(labels)]
        self.named = patients is not None  # a patient's images are of one class

    def prepare(self) -> None: ...

    @property
    def description(self) -> Description:
        return Description(1, 16, ("dark", "bright"), ())

    @property
    def splits(self) -> dict[str, Split]:
        rows = np.arange(len(self.store.labels))
        parts = {"train": slice(None, self.train), "test": slice(self.train, None)}
        return {
            name: Split(self.store, rows[part], self.cases[part] if self.named else None)
            for name, part in parts.items()
        }


class Counting(FeatureExtractor):
    """Counts the images that its network sees."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = make_space()
        self.title, self.feature_count, self.classes = "counting", self.inner.feature_count, self.inner.classes
        self.seen = 0
        body: Any = self.inner.network.body
        body.register_forward_hook(lambda module, inputs, output: self.count(inputs[0]))

    def count(self, images: torch.Tensor) -> None:
        self.seen += len(images)

    def forward(self, images):
        return self.inner(images)


def make_space() -> ClassifierFeatures:
    torch.manual_seed(0)
    network = ResidualClassifier(1, 2, width=4)
    network.scale = 20.0  # an untrained one is undecided: let it have opinions
    return ClassifierFeatures(network, ("dark", "bright"), 16).eval().requires_grad_(False)


def images_of(count: int, seed: int) -> list[torch.Tensor]:
    return list((torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1).split(16))


def intervals_of(reference: Reference, seen: ImageFeatures, scores: dict[str, float]) -> dict[str, Interval]:
    return compute_intervals(scores, resample(reference, seen, scores))


SMALL = Rules(allow_small=True)


def test_probabilities_and_features_come_from_one_look_at_each_image(tmp_path):
    extractor = Counting().eval()
    reference = load_reference(extractor, Images(), tmp_path, 16)
    extractor.seen = 0
    scores = compute_scores(reference, extract(extractor, images_of(50, 1)), SMALL)
    assert extractor.seen == 50
    assert set(scores) == set(LOWER_IS_BETTER) - {"frd"}


def test_classifier_gives_in_one_pass_what_its_forward_gives():
    network = ResidualClassifier(1, 3, width=4).eval()
    images = images_of(8, 0)[0]
    assert torch.equal(network.logits(network.features(images)), network(images))
    (probabilities, _) = ClassifierFeatures(network, ("a", "b", "c"), 16)(images)
    assert torch.equal(probabilities, network(images).softmax(1))


def test_scores_are_those_of_the_pure_functions_over_all_images(tmp_path):
    extractor, data = make_space(), Images()
    seen = extract(extractor, images_of(50, 1))
    scores = compute_scores(load_reference(extractor, data, tmp_path, 16), seen, SMALL)
    train = extract(extractor, split_batches(data.split("train"), 7))
    assert seen.probabilities is not None and train.probabilities is not None
    assert scores["am_score"] == pytest.approx(float(am_score(seen.probabilities, train.probabilities)), rel=1e-4)
    xu = mode_score(seen.probabilities, train.probabilities, "xu2018")
    assert scores["mode_score_xu2018"] == pytest.approx(float(xu), rel=1e-4)
    fid = frechet_distance(*mean_and_covariance(train.features), *mean_and_covariance(seen.features))
    assert scores["fid"] == pytest.approx(float(fid), rel=1e-4)


@pytest.mark.parametrize("with_classes", [True, False])
def test_unseen_real_images_score_better_than_noise(tmp_path, with_classes):
    data = Images()
    extractor = make_space() if with_classes else RandomFeatures(1, 16).eval().requires_grad_(False)
    reference = load_reference(extractor, data, tmp_path, 16)
    real = compute_scores(reference, extract(extractor, split_batches(data.split("test"), 16)), SMALL)
    noise = compute_scores(reference, extract(extractor, images_of(40, 1)), SMALL)
    for name in ("fid", "kid"):
        assert real[name] < 0.5 * noise[name], name
    for name in ("precision", "recall", "density", "coverage"):
        assert real[name] > noise[name], name


def test_random_features_give_no_class_scores_and_say_so(tmp_path):
    extractor = load_extractor(None, "classifier", Description(1, 16, (), ()))
    scores = compute_scores(
        load_reference(extractor, Images(), tmp_path, 16), extract(extractor, images_of(40, 1)), SMALL
    )
    assert not {"am_score", "mode_score", "mode_score_xu2018", "inception_score"} & set(scores)
    assert {"fid", "kid", "precision", "recall"} <= set(scores)
    assert extractor.title.startswith("random features")


def test_random_features_are_the_same_everywhere_and_leave_the_random_state_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = RandomFeatures(1, 16).digest()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert RandomFeatures(1, 16).digest() == first


def test_kept_statistics_of_real_images_give_the_same_scores_without_looking_again(tmp_path):
    extractor = Counting().eval()
    seen = extract(extractor, images_of(50, 1))
    first = compute_scores(load_reference(extractor, Images(), tmp_path, 16), seen, SMALL)
    extractor.seen = 0
    assert compute_scores(load_reference(extractor, Images(), tmp_path, 16), seen, SMALL) == first
    assert extractor.seen == 0


def test_other_images_other_weights_and_a_broken_file_are_measured_anew(tmp_path):
    extractor = make_space()
    first = load_reference(extractor, Images(), tmp_path, 16)
    assert not torch.equal(load_reference(extractor, Images(seed=1), tmp_path, 16).mean, first.mean)
    other = make_space()
    next(iter(other.parameters())).add_(0.1)
    assert not torch.equal(load_reference(other, Images(), tmp_path, 16).mean, first.mean)
    for file in (tmp_path / "scores").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(load_reference(extractor, Images(), tmp_path, 16).mean, first.mean)


def test_accuracy_is_that_of_the_weights_on_the_test_images(tmp_path):
    extractor, data = make_space(), Images()
    test = data.split("test")
    probabilities, _ = extractor(next(split_batches(test, 100)))
    right = probabilities.argmax(1).numpy() == test.gather(np.arange(len(test)))["label"].numpy()
    reference = load_reference(extractor, data, tmp_path, 16)
    assert reference.accuracy == pytest.approx(right.mean())
    classes = test.gather(np.arange(len(test)))["label"].numpy()
    by_hand = (right[classes == 0].mean() + right[classes == 1].mean()) / 2
    assert reference.balanced_accuracy == pytest.approx(by_hand)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_whose_features_are_not_finite_is_told_with_whose_images_it_saw(value):
    extractor = make_space()
    next(iter(extractor.parameters())).mul_(value)
    with pytest.raises(UserError, match="the features of real training image 0 are not finite"):
        extract(extractor, images_of(4, 0), "real training")


def test_the_split_into_batches_changes_no_score(tmp_path):
    extractor, data = make_space(), Images()
    results = []
    for batch_size in (5, 40):
        reference = load_reference(extractor, data, tmp_path / str(batch_size), batch_size)
        seen = extract(extractor, split_batches(shuffled(data.split("test"), 0), batch_size))
        results.append(compute_scores(reference, seen, SMALL))
    assert results[0] == pytest.approx(results[1], rel=1e-3)


def test_intervals_hold_their_score_and_narrow_with_more_images(tmp_path):
    extractor = make_space()
    reference = load_reference(extractor, Images(), tmp_path, 16)
    widths = {}
    for count in (40, 640):
        seen = extract(extractor, images_of(count, 1))
        scores = compute_scores(reference, seen, SMALL)
        intervals = intervals_of(reference, seen, scores)
        assert set(intervals) == {"am_score", "mode_score", "mode_score_xu2018", "inception_score", "fid", "kid"}
        for name in intervals:
            assert intervals[name][0] <= scores[name] <= intervals[name][1]
        subsets = Rules(kid_subset=8, allow_small=True)
        kid = compute_scores(reference, seen, subsets)["kid"]
        low, high = intervals_of(reference, seen, scores | {"kid": kid})["kid"]
        assert low <= kid <= high
        widths[count] = intervals["inception_score"][1] - intervals["inception_score"][0]
    assert widths[640] < 0.5 * widths[40]


def test_fewer_patients_widen_every_interval_that_looks_at_the_real_images_and_one_patient_gives_none(tmp_path):
    extractor, few = make_space(), Images(patients=4)
    seen = extract(extractor, images_of(640, 1))
    own, grouped = (load_reference(extractor, data, tmp_path, 16) for data in (Images(), few))
    scores = compute_scores(own, seen, SMALL)
    assert compute_scores(grouped, seen, SMALL) == scores and (own.cases, grouped.cases) == (60, 4)
    wide, narrow = (intervals_of(reference, seen, scores) for reference in (grouped, own))
    for name in ("am_score", "fid", "kid"):
        assert wide[name][1] - wide[name][0] > 1.5 * (narrow[name][1] - narrow[name][0]), name
    assert intervals_of(load_reference(extractor, Images(patients=1), tmp_path, 16), seen, scores) == {}


def test_a_set_of_real_images_is_resampled_by_patient_too(tmp_path):
    extractor, data = make_space(), Images(patients=4)
    split = shuffled(data.split("test"), 0)
    seen = extract(extractor, split_batches(split, 16), "real test", split.cases)
    names = np.array(split.cases)
    assert ((names[:, None] == names) == (seen.groups[:, None] == seen.groups).numpy()).all()
    assert seen.take(3).groups.max() < 3  # numbers without gaps, as halves need them


def test_fid_of_too_few_images_is_left_out_in_words_that_name_the_setting_which_allows_it(tmp_path):
    said = Rules(prefix="scores.").left_out(300, 2048, 512)
    assert re.search(r"more than 512 images a side.*300 real and 2,048.*scores\.allow_small=true", said)
    assert Rules(allow_small=True).left_out(300, 2048, 512) == Rules().left_out(513, 513, 512) == ""
    extractor = make_space()  # 32 features
    reference = load_reference(extractor, Images(), tmp_path, 16)
    assert "fid" not in compute_scores(reference, extract(extractor, images_of(30, 1)), Rules())


def test_a_kid_subset_larger_than_the_images_names_the_key_to_lower():
    with pytest.raises(UserError, match=r"scores\.kid_subset=500.*set it from 2 to 300"):
        Rules(kid_subset=500, prefix="scores.").check(2048, 300)
    assert Rules().subset(2048, 300) == 300 and Rules().subset(5000, 2048) == 1000


def test_a_kid_subset_is_refused_where_it_passes_the_images_that_are_compared_and_nowhere_later(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"KID compares 5,000 at most: set it from 2 to 5000"):
        Rules(kid_subset=6000).check(10_000, 10_000)
    with pytest.raises(UserError, match="kid_subset=many does not fit"):
        Rules(kid_subset="many").check(100, 100)
    for module in ("scores", "reference"):
        monkeypatch.setattr(f"src.scoring.{module}.NEIGHBOURS", 30)
    Rules(kid_subset=30, allow_small=True).check(60, 50)
    extractor = make_space()
    reference, seen = load_reference(extractor, Images(), tmp_path, 16), extract(extractor, images_of(50, 1))
    everything = compute_scores(reference, seen, Rules(kid_subset=30, allow_small=True))
    assert everything["kid"] == compute_scores(reference, seen, Rules(kid_subset=40, allow_small=True))["kid"]


def test_inception_that_cannot_be_had_is_one_line_with_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match="pip install torch-fidelity"):
        load_extractor(None, "inception", Description(3, 32, (), ()))


def test_inception_looks_once_beside_the_classifier_at_three_channels_of_bytes(monkeypatch):
    class Extractor(torch.nn.Module):
        def __init__(self, name, features):
            super().__init__()
            self.seen = []

        def forward(self, images):
            self.seen.append((images.shape, images.dtype))
            return (images.float().mean((2, 3)).repeat(1, 683)[:, :2048],)

    module = type("Module", (), {"FeatureExtractorInceptionV3": Extractor})
    monkeypatch.setattr("src.scoring.pretrained_features.import_module", lambda name: module)
    extractor = load_extractor(None, "inception", Description(1, 16, (), ()))
    probabilities, features = extractor(images_of(4, 0)[0])
    assert probabilities is None and features.shape == (4, 2048) and extractor.title.startswith("InceptionV3")
    assert extractor.inception.seen == [((4, 3, 16, 16), torch.uint8)]
