"""Where images are compared: class probabilities and features of a network, both from one pass over the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.data.description import Description
from src.networks.classifier import Classifier, ResidualClassifier
from src.scoring.extractor_base import FeatureExtractor
from src.scoring.pretrained_features import EfficientNetFeatures, InceptionFeatures
from src.scoring.radiomic_features import RadiomicFeatures
from src.training.restore import load_run
from src.training.supervised import SupervisedModule

TRAIN = "train one with python -m src.train model=classifier data=<the same data>"


class ClassifierFeatures(FeatureExtractor):
    """The probabilities of a classifier, and what its last layer sees."""

    def __init__(self, network: Classifier, classes: tuple[str, ...], resolution: int) -> None:
        super().__init__()
        self.network, self.classes, self.feature_count = network, classes, network.feature_count
        self.title = f"classifier penultimate ({resolution} px, {self.feature_count} values)"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.features(images)
        return self.network.logits(features).float().softmax(1), features


class RandomFeatures(FeatureExtractor):
    """Features of a network that has learned nothing, the same everywhere: for data without classes.

    They tell images apart, but know nothing of the data: values are comparable with each other alone. Weights are
    scaled to keep the features' size from layer to layer (He et al., 2015).
    """

    def __init__(self, channels: int, resolution: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = ResidualClassifier(channels, 2)
            for module in self.network.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        self.feature_count = self.network.feature_count
        self.title = f"random features ({resolution} px, {self.feature_count} values)"

    def forward(self, images: Tensor) -> tuple[None, Tensor]:
        return None, self.network.features(images)


BESIDE_CLASSIFIER: Mapping[str, Callable[[ClassifierFeatures | None], FeatureExtractor]] = {
    "inception": InceptionFeatures,
    "efficientnet_lite0": EfficientNetFeatures,
    "radiomics": RadiomicFeatures,
}


def load_extractor(classifier: str | None, features: str, description: Description) -> FeatureExtractor:
    """The space named ``features``: of ``classifier`` (run folder or checkpoint), without one of random features.

    Raises:
        UserError: no classifier there, or one for other data; a package or weights that ``features`` needs are absent.
    """
    if features not in ("classifier", *BESIDE_CLASSIFIER):
        raise UserError(f"features={features} is unknown: choose classifier, {', '.join(BESIDE_CLASSIFIER)}")
    known = None if classifier is None else load_classifier(Path(classifier), description)
    extractor: FeatureExtractor
    if features in BESIDE_CLASSIFIER:
        extractor = BESIDE_CLASSIFIER[features](known)
    else:
        extractor = known or RandomFeatures(description.channels, description.resolution)
    return extractor.eval().requires_grad_(False)


def load_classifier(path: Path, description: Description) -> ClassifierFeatures:
    """The classifier of a run of ``model=classifier``, its average where it keeps one.

    Images of some of its classes can be scored too, as CIFAR-10's dogs with a classifier of all ten classes.

    Raises:
        UserError: no such run, no classifier, or one of other channels, resolution or classes.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # the run that is scored keeps its random state
            run = load_run(path)
    except UserError as problem:
        raise UserError(f"classifier={path}: {problem}") from problem
    module = run.module
    network = module.network if isinstance(module, SupervisedModule) else None
    if not isinstance(network, Classifier):
        raise UserError(f"classifier={path} is a {module.name}, not a classifier: {TRAIN}")
    if module.ema is not None:
        network = module.ema.module
    learned = run.settings["data"]
    for key in ("channels", "resolution"):
        here = getattr(description, key)
        if learned.get(key) != here:
            raise UserError(f"classifier={path} learned images of {key} {learned.get(key)}, not {here}: {TRAIN}")
    classes = tuple(learned.get("classes") or ())
    foreign = [name for name in description.classes if name not in classes]
    if foreign or not description.classes:
        missing = f"the class {foreign[0]}" if foreign else "no classes"
        way_out = TRAIN if foreign else "score them without one, classifier=null"
        raise UserError(f"classifier={path} knows the classes {', '.join(classes)}, the data have {missing}: {way_out}")
    return ClassifierFeatures(network, classes, description.resolution)
