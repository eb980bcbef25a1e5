"""What a study says of itself."""

from pathlib import Path

import numpy as np
from PIL import Image

from src.data.folder import FolderData
from src.data.phantom import PhantomData
from src.downstream.gather import warnings_of


def test_the_page_says_where_images_of_one_patient_may_be_on_both_sides(tmp_path: Path) -> None:
    for number in range(20):
        Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(tmp_path / f"p{number // 2}-{number % 2}.png")

    def said(group: str | None) -> bool:
        data = FolderData(str(tmp_path), str(tmp_path / "cache"), 8, group=group)
        return "data.group" in "".join(warnings_of(data, per_fraction=True))

    assert said(None) and not said("^(p.)")
    assert not list(
        warnings_of(PhantomData(16, 1, ["normal"], ["lung"], {"train": 2, "test": 2}, 0, tmp_path / "cache"), True)
    )
