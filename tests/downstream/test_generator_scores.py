"""The generators of a study before one evaluator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from src.core.pixels import to_unit_range
from src.downstream.generator_scores import score_generators
from src.downstream.page_content import warnings_of
from src.scoring.scores import Rules
from tests.scoring.test_evaluation import Images


def generator_of(images: torch.Tensor) -> Any:
    """A run whose GAN makes ``images``, in [-1, 1], one after the other."""
    module = SimpleNamespace(
        device=torch.device("cpu"),
        ema=None,
        clock=SimpleNamespace(images=0),
        latent=SimpleNamespace(sample=lambda count, generator: torch.arange(count)),
        sample=lambda latents: images[latents],
    )
    return SimpleNamespace(module=module)


def test_a_page_is_warned_of_scores_that_beat_unseen_real_images(tmp_path, monkeypatch):
    monkeypatch.setattr("src.downstream.generator_scores.Rules", lambda: Rules(allow_small=True))
    data = Images(train=80, test=80)
    copies = to_unit_range(data.split("train").gather(np.arange(80))["image"])
    noise = torch.rand(80, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    both = {"copier": generator_of(copies), "noisy": generator_of(noise)}
    found = score_generators(both, data, None, 80, str(tmp_path))
    assert set(found["copier"].scores) == {"fid", "kid"}
    assert (found["copier"].better_than_real, found["noisy"].better_than_real) == (["fid"], [])
    (warning,) = warnings_of(True, found)
    assert warning.startswith("FID of copier: better than unseen real images: this space does not see the difference")


def test_real_images_are_scored_beside_the_generators_and_half_a_set_gives_no_frechet_distance(tmp_path, monkeypatch):
    monkeypatch.setattr("src.downstream.generator_scores.Rules", lambda: Rules(allow_small=True))
    noise = torch.rand(80, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for unseen, scores in ((80, {"fid", "kid"}), (40, {"kid"})):
        found = score_generators({"noisy": generator_of(noise)}, Images(train=80, test=unseen), None, 80, str(tmp_path))
        floors = {title: set(floor) for title, floor in found["noisy"].floors.items()}
        halves = "one half of the training images against the other, 40 each"
        assert floors == {f"{unseen} unseen real images": scores, halves: {"kid"}}
        kids = [floor["kid"][0] for floor in found["noisy"].floors.values()]
        assert max(kids) < found["noisy"].scores["kid"][0]
