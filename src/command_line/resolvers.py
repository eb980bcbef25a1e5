"""What the configuration computes: ``${run_name:…}``, ``${share:…}`` and the like."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from src.core import gpus
from src.core.identity import FREE_SETTINGS
from src.core.run_folder import check_name

LONGEST_NAME = 150  # bytes of a folder name, below the 255 that file systems allow


def run_name(name: str | None, overrides: Sequence[str]) -> str:
    """The folder name of what was asked: ``name``, or the overrides: choices first, then single settings."""
    if name:
        check_name(str(name))
        return str(name)
    asked = [o for o in overrides if re.split(r"[.=]", o.lstrip("+~"))[0] not in FREE_SETTINGS]
    asked.sort(key=lambda o: ("." in o.partition("=")[0], o))  # model=…, data=… before single settings
    text = re.sub(r"[^\w.,=+\-]+", "-", ",".join(asked)) or "default"
    encoded = text.encode()
    if len(encoded) > LONGEST_NAME:
        text = f"{encoded[:LONGEST_NAME].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:8]}"
    return text


def share(total: int, parts: int) -> int:
    """An even share of ``total``, at least 1."""
    return max(1, round(total / parts))


def phase_share(total: int, start: int, final: int, length: float = 1.0, batch_size: int = 1) -> int:
    """Images of each phase but the last of growing from ``start`` to ``final`` px.

    ``length``: 1 for equal phases, of which the last has two. Shorter ones still hold ``batch_size`` images where equal
    ones do.
    """
    doublings = max(0, round(math.log2(final / max(start, 1))))  # the schedule says where they cannot be
    shares = 2 * doublings + 2
    return max(1, int(total * length) // shares, min(batch_size, total // shares))


def learning_rates(lr: float, beyond_32: float) -> float | dict[int, float]:
    """By resolution: ``lr``, and ``beyond_32`` times that from 64 px."""
    return lr if beyond_32 == 1 else {4: lr, 64: beyond_32 * lr}


def attention_resolution(resolution: int) -> int:
    """Where Enhanced-GAN attends: before its 256 px block, or before the last one of a run that stops below."""
    return resolution >> max(0, math.ceil(math.log2(resolution / 256)))


def channels(of_images: int, masks: Sequence[str], with_masks: bool) -> int:
    """Of what a generator makes."""
    from src.data.mask_channels import joint_channels

    return joint_channels(of_images, len(masks), with_masks)


def size(resolution: int, aspect: Sequence[int]) -> list[int]:
    """Height and width in pixels."""
    from src.data.description import image_size

    return list(image_size(resolution, aspect))


def generator_filters(filters: Sequence[int], resolution: int, most: int) -> list[int]:
    """Those of the last stages up to ``resolution``, one for each doubling from 4 px, and none above ``most``.

    A larger resolution repeats the first. Where doublings do not lead to it the generator says so.
    """
    stages = max(1, round(math.log2(max(resolution, 4) / 4)))
    padded = [filters[0]] * (stages - len(filters)) + list(filters)
    return [min(each, most) for each in padded[len(padded) - stages :]]


def discriminator_filters(filters: Sequence[int], resolution: int, most: int) -> list[int]:
    """Those of the first stages, as many as halve ``resolution``, and none above ``most``."""
    return [min(each, most) for each in filters[: max(1, int(math.log2(max(resolution, 2))))]]


def first_folder(parent: str, names: Sequence[str]) -> str:
    """The first of ``names`` that is a folder in ``parent``, else where the first would be."""
    folders = [Path(parent).expanduser() / name for name in names]
    return str(next((folder for folder in folders if folder.is_dir()), folders[0]))


# Data and what they need are imported when a configuration is computed: --help and a typo wait for neither.
OmegaConf.register_new_resolver("phase_share", phase_share, replace=True)
# The paper's decay of 0.999 per step of 16 images is a half-life of 11,000 images; a short run must forget faster.
OmegaConf.register_new_resolver("ema_half_life", lambda images: min(11_000, share(images, 50)), replace=True)
OmegaConf.register_new_resolver("learning_rates", learning_rates, replace=True)
OmegaConf.register_new_resolver("attention_resolution", attention_resolution, replace=True)
OmegaConf.register_new_resolver("run_name", lambda name, overrides: run_name(name, overrides), replace=True)
OmegaConf.register_new_resolver("joint_channels", channels, replace=True)
OmegaConf.register_new_resolver("image_size", size, replace=True)
OmegaConf.register_new_resolver("generator_filters", generator_filters, replace=True)
OmegaConf.register_new_resolver("discriminator_filters", discriminator_filters, replace=True)
OmegaConf.register_new_resolver("first_folder", first_folder, replace=True)
OmegaConf.register_new_resolver("count", len, replace=True)
OmegaConf.register_new_resolver("least", min, replace=True)
OmegaConf.register_new_resolver("times", lambda a, b: a * b, replace=True)
OmegaConf.register_new_resolver("share", share, replace=True)
OmegaConf.register_new_resolver("gpu_jobs", gpus.job_count, replace=True)
