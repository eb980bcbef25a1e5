from __future__ import annotations

import pytest
import torch

from src.release.copies import Originals
from tests.release.test_copies import draw, split_of


@pytest.fixture(scope="module")
def real() -> torch.Tensor:
    return draw(40, seed=0)


@pytest.fixture(scope="module")
def originals(real) -> Originals:
    return Originals.of(split_of(real), 1)
