"""PNG files in a folder per class, as torchvision's ImageFolder and the hubs' ``imagefolder`` read them."""

from __future__ import annotations

from src.release.formats.base import Loader
from src.release.formats.png import HUB, Png


class ImageFolder(Png):
    folder_per_class = True
    loaders = (
        Loader(
            "torchvision",
            ("torchvision",),
            "from torchvision.datasets import ImageFolder\n\n"
            'images = ImageFolder("images")  # images[0] is (picture, class)',
        ),
        HUB,
    )
