"""Where images are compared: class probabilities and features of a network, both from one pass over the images."""

from __future__ import annotations

import urllib.error
from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.core.pixels import to_bytes
from src.data.description import Description
from src.networks.classifier import Classifier, ResidualClassifier
from src.training.checkpoint_io import weights_digest
from src.training.restore import load_run
from src.training.supervised import SupervisedModule

TRAIN = "train one with python -m src.train model=classifier data=<the same data>"
WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"  # torch-fidelity's conversion of the original FID's network


class FeatureExtractor(nn.Module, ABC):
    """Images (B, C, H, W) in [-1, 1] → class probabilities (B, K), or None where there are no classes, and features.

    Attributes:
        title: name for passports.
        feature_count: D of the (B, D) features.
        classes: names of the K classes; () for None.
    """

    title: str
    feature_count: int
    classes: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor | None, Tensor]: ...

    def digest(self) -> str:
        """sha256 of the title and all weights."""
        return weights_digest(self, self.title)


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


class InceptionFeatures(FeatureExtractor):
    """InceptionV3's features, the literature's FID, with the probabilities of ``classifier`` where there is one.

    Raises:
        UserError: torch-fidelity or its weights are absent.
    """

    def __init__(self, classifier: ClassifierFeatures | None) -> None:
        super().__init__()
        try:
            library = import_module("torch_fidelity.feature_extractor_inceptionv3")
        except ImportError as problem:
            raise UserError(
                "features=inception needs InceptionV3 from torch-fidelity: pip install torch-fidelity, "
                "or score in the classifier's space with features=classifier"
            ) from problem
        try:
            self.inception = library.FeatureExtractorInceptionV3("inception", ["2048"])
        except (urllib.error.URLError, OSError) as problem:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise UserError(
                f"features=inception: InceptionV3's weights could not be downloaded ({problem}): put {WEIGHTS}, from "
                f"the releases of github.com/toshas/torch-fidelity, into {folder}, or use features=classifier"
            ) from problem
        self.classifier, self.feature_count = classifier, 2048
        self.classes = classifier.classes if classifier else ()
        self.title = "InceptionV3 pool3 (2048 values)"

    def forward(self, images: Tensor) -> tuple[Tensor | None, Tensor]:
        (features,) = self.inception(to_bytes(images).expand(-1, 3, -1, -1))
        return self.classifier(images)[0] if self.classifier else None, features


def load_extractor(classifier: str | None, features: str, description: Description) -> FeatureExtractor:
    """The space of ``classifier`` (run folder or checkpoint), of InceptionV3, or, with neither, of random features.

    Raises:
        UserError: no classifier there, or one for other data; InceptionV3 cannot be had.
    """
    if features not in ("classifier", "inception"):
        raise UserError(f"features={features} is unknown: choose classifier or inception")
    known = None if classifier is None else load_classifier(Path(classifier), description)
    extractor: FeatureExtractor
    if features == "inception":
        extractor = InceptionFeatures(known)
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
