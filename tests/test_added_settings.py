from __future__ import annotations

import inspect

from hydra.utils import get_object
from omegaconf import OmegaConf

from src.core.added_settings import ADDED, with_added, without_added
from src.core.identity import digest, identity


def test_a_class_without_a_later_setting_does_what_the_table_says():
    """So a run of an earlier version means what it meant."""
    for target, settings in ADDED.items():
        parameters = inspect.signature(get_object(target)).parameters
        assert {key: parameters[key].default for key in settings} == settings


def test_a_run_of_before_a_setting_was_added_is_the_same_as_one_with_its_value(compose):
    cfg = OmegaConf.to_container(compose("model=pggan", "budget=paper"), resolve=True)
    before = identity({**cfg, "model": without_added(cfg["model"])})
    assert "bias_scale" not in before["model"]["generator"]
    assert digest(before) == digest(identity(cfg))
    assert with_added(before)["model"]["generator"] == cfg["model"]["generator"]
    cfg["model"]["generator"]["bias_scale"] = "he"
    assert digest(before) != digest(identity(cfg))
