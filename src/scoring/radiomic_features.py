"""Radiomic features: what radiologists' software measures of grey levels and texture, with no network at all."""

from __future__ import annotations

from importlib.metadata import version

import torch
from torch import Tensor

from src.core.errors import UserError
from src.core.pixels import to_bytes
from src.scoring.extractor_base import BesideClassifier, FeatureExtractor

KINDS = ("firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
REDUNDANT = ("firstorder:total_energy",)  # the energy, in images whose pixels have no size
BIN_WIDTH = 25.0  # grey levels of 256 in a bin
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class RadiomicFeatures(BesideClassifier):
    """pyradiomics' features of the whole image, as fastrad computes them; in their Fréchet distance the FRD.

    Osuala et al., "Towards Learning Contrast Kinetics with Multi-Condition Latent Diffusion Models", 2024, and Konz et
    al., "Fréchet Radiomic Distance", 2024: of the latter the standardisation by the real images and the logarithm; its
    wavelet and Laplacian images are left out. Computed on the CPU, in about 50 ms an image of 64 px.

    Raises:
        UserError: fastrad is absent.
    """

    standardised = True
    luma: Tensor

    def __init__(self, classifier: FeatureExtractor | None) -> None:
        super().__init__(classifier)
        try:
            from fastrad import FeatureExtractor as Extractor
            from fastrad import FeatureSettings
        except ImportError as problem:
            raise UserError(
                "features=radiomics needs a package: pip install -c constraints.txt -e '.[features]', or score in the "
                "classifier's space with features=classifier"
            ) from problem
        settings = FeatureSettings(feature_classes=list(KINDS), bin_width=BIN_WIDTH, device="cpu")
        self.extractor = Extractor(settings)
        # A buffer, so that it has a device as other spaces do.
        self.register_buffer("luma", torch.tensor(LUMA).view(3, 1, 1))
        self.feature_count = len(self._of(torch.zeros(16, 16)))
        self.title = (
            f"radiomics ({self.feature_count} values of the original image, bins of {BIN_WIDTH:g}, "
            f"standardised by the real images; fastrad {version('fastrad')})"
        )

    def features(self, images: Tensor) -> Tensor:
        grey = to_bytes(images).float()
        grey = (grey * self.luma).sum(1) if grey.shape[1] == 3 else grey[:, 0]
        return torch.stack([self._of(image) for image in grey.cpu()]).to(images.device)

    def _of(self, image: Tensor) -> Tensor:
        from fastrad import Mask, MedicalImage

        found = self.extractor.extract(MedicalImage(image[None]), Mask(torch.ones_like(image[None])))
        values = [value for name, value in sorted(found.items()) if name not in REDUNDANT]
        return torch.tensor(values).nan_to_num(0.0)  # of an image of one grey level some are not defined
