from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.core.errors import UserError
from src.data import phantom
from src.data.phantom import PhantomData
from src.data.phantom_drawing import CLASSES, draw

CONFIG = Path(__file__).parents[2] / "conf/data/phantom.yaml"


def drawn(index: Any = range(200), resolution: int = 64, channels: int = 1, seed: int = 0) -> dict[str, Any]:
    return draw(np.asarray(index), seed=seed, resolution=resolution, channels=channels, classes=CLASSES)


def data(cache: Path, **changes: Any) -> PhantomData:
    settings: dict[str, Any] = {
        "resolution": 16,
        "channels": 1,
        "classes": CLASSES,
        "masks": ("lung", "lesion"),
        "sizes": {"train": 24, "val": 8, "test": 12},
        "seed": 0,
        "cache": cache,
    }
    return PhantomData(**(settings | changes))


@pytest.fixture(scope="module")
def images() -> dict[str, Any]:
    return drawn()


def test_an_image_depends_on_seed_and_index_and_not_on_its_batch() -> None:
    index = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 2**33 + 5])
    together = drawn(index, channels=3)
    for positions in [[i] for i in range(10)] + [[9, 2, 5]]:
        alone = drawn(index[positions], channels=3)
        for key, values in together.items():
            np.testing.assert_array_equal(alone[key], values[positions])


def test_another_seed_or_index_is_another_image(images: dict[str, Any]) -> None:
    other = drawn(seed=1)
    assert (images["image"] != other["image"]).any(axis=(1, 2, 3)).all()
    assert len(np.unique(images["image"], axis=0)) == 200
    assert len(np.unique(images["lung"], axis=0)) == 200


@pytest.mark.parametrize("resolution", [16, 48, 64])
def test_lesions_lie_in_the_lungs_and_all_but_normal_images_have_one(resolution: int) -> None:
    images = drawn(resolution=resolution)
    assert images["image"].shape == (200, 1, resolution, resolution)
    assert not (images["lesion"] & ~images["lung"]).any()
    ill = images["label"] != CLASSES.index("normal")
    np.testing.assert_array_equal(images["lesion"].any(axis=(1, 2)), ill)
    area = images["lung"].mean(axis=(1, 2))
    assert area.min() > 0.15 and area.max() < 0.6


def test_a_lesion_changes_the_image_only_around_its_mask() -> None:
    index = np.arange(48)
    ill, normal = drawn(index), draw(index, seed=0, resolution=64, channels=1, classes=("normal",))
    differs = (ill["image"] != normal["image"])[:, 0]
    np.testing.assert_array_equal(differs.any(axis=(1, 2)), ill["label"] != 0)
    assert differs[ill["lesion"]].mean() > 0.95
    assert differs.sum() < 2.5 * ill["lesion"].sum()


def test_classes_are_equally_frequent_in_every_split_and_their_order_is_not_regular(tmp_path: Path) -> None:
    for split in data(tmp_path).splits.values():
        labels = split.gather(np.arange(len(split)))["label"].numpy()
        assert np.ptp(np.bincount(labels, minlength=4)) == 0
    every_fourth = drawn(range(0, 400, 4), resolution=8)["label"]
    assert np.bincount(every_fourth, minlength=4).min() >= 12  # as seen by one of four processes


def best_threshold_dice(pixels: np.ndarray, lesion: np.ndarray) -> float:
    counts = [np.histogram(chosen, bins=256, range=(0, 256))[0] for chosen in (pixels[lesion], pixels)]
    hits, found = (np.cumsum(count[::-1]) for count in counts)
    return float((2 * hits / (found + lesion.sum())).max())


def test_no_brightness_threshold_finds_the_lesions(images: dict[str, Any]) -> None:
    pixels, lesion, lung, label = images["image"][:, 0], images["lesion"], images["lung"], images["label"]
    assert best_threshold_dice(pixels, lesion) < 0.3
    assert best_threshold_dice(pixels[lung], lesion[lung]) < 0.5
    for name, limit in {"nodule": 0.35, "consolidation": 0.6, "effusion": 0.7}.items():  # class and lungs known
        here = lung & (label == CLASSES.index(name))[:, None, None]
        assert best_threshold_dice(pixels[here], lesion[here]) < limit


def test_exposure_uses_the_range_and_seldom_saturates(images: dict[str, Any]) -> None:
    assert 70 < images["image"].mean() < 150
    assert images["image"].std() > 45
    assert (images["image"] >= 254).mean() < 0.05


def test_three_channels_are_a_tint_of_one_picture() -> None:
    image = drawn(range(20), channels=3)["image"].astype(int)
    assert image.shape == (20, 3, 64, 64)
    spread = np.ptp(image, axis=1)
    assert (spread.reshape(20, -1).max(axis=1) > 0).all()
    assert spread.max() <= 27


def test_splits_share_no_image_and_do_not_change_with_each_others_size(tmp_path: Path) -> None:
    small, large = data(tmp_path), data(tmp_path, sizes={"train": 40, "val": 8, "test": 12})
    everything = np.concatenate([split.gather(np.arange(len(split)))["image"] for split in small.splits.values()])
    assert len(np.unique(everything, axis=0)) == 44
    for name in ("train", "val", "test"):
        one, other = (chosen.split(name).gather(np.arange(8)) for chosen in (small, large))
        assert all((one[key] == other[key]).all() for key in ("image", "label", "mask"))


def test_a_second_prepare_reads_the_cache_and_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data(tmp_path).prepare()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(phantom, "draw", refuse)
    data(tmp_path, name="renamed").prepare()
    for change in ({"seed": 1}, {"resolution": 17}, {"classes": CLASSES[::-1]}, {"masks": ("lesion", "lung")}):
        with pytest.raises(AssertionError, match="drawn again"):
            data(tmp_path, **change).prepare()


def test_splits_are_the_same_in_whatever_order_their_sizes_are_given(tmp_path: Path) -> None:
    one, other = data(tmp_path, sizes={"train": 4, "test": 2}), data(tmp_path, sizes={"test": 2, "train": 4})
    for name in ("train", "test"):
        images = [chosen.split(name).gather(np.arange(2))["image"] for chosen in (one, other)]
        np.testing.assert_array_equal(images[0], images[1])


def test_masks_come_as_zeros_and_ones_in_the_order_asked_for(tmp_path: Path) -> None:
    batches = {
        masks: data(tmp_path, masks=masks).split("train").gather(np.arange(24))
        for masks in [("lung", "lesion"), ("lesion", "lung"), ("lesion",), ()]
    }
    both = batches["lung", "lesion"]["mask"].numpy()
    assert both.shape == (24, 2, 16, 16) and both.dtype == np.uint8 and set(np.unique(both)) == {0, 1}
    assert (both[:, 0].sum(axis=(1, 2)) > both[:, 1].sum(axis=(1, 2))).all()
    np.testing.assert_array_equal(batches["lesion", "lung"]["mask"], both[:, ::-1])
    np.testing.assert_array_equal(batches["lesion",]["mask"], both[:, 1:])
    assert "mask" not in batches[()]


def test_the_configuration_builds_the_data_it_describes(tmp_path: Path) -> None:
    config = OmegaConf.create({"resolution": 48, "paths": {"cache": str(tmp_path)}, "data": OmegaConf.load(CONFIG)})
    config.data.sizes = {"train": 4, "test": 4}
    built = instantiate(config.data)
    built.prepare()
    assert built.name == "phantom"
    assert built.split("train").gather(np.arange(3))["image"].shape == (3, 1, 48, 48)
    assert built.description.as_config() == {
        "channels": 1,
        "resolution": 48,
        "classes": list(CLASSES),
        "masks": ["lung", "lesion"],
        "aspect": [1, 1],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 2}, r"data\.channels is 2: set it to 1"),
        ({"classes": ["normal", "nodul"]}, r"data\.classes: unknown 'nodul', did you mean 'nodule'\?"),
        ({"classes": []}, r"data\.classes is empty: name one or more of normal"),
        ({"classes": ["normal", "normal"]}, r"data\.classes names one twice"),
        ({"masks": ["lungs"]}, r"data\.masks: unknown 'lungs', did you mean 'lung'\?"),
        ({"sizes": {"train": 0}}, r"data\.sizes\.train is 0: set it to .* 1 or more"),
        ({"sizes": {"trian": 9}}, r"data\.sizes: unknown 'trian', did you mean 'train'\?"),
        ({"resolution": 7}, r"data\.resolution is 7: .* 8 or more"),
    ],
)
def test_an_impossible_setting_is_one_line_with_key_and_remedy(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        data(tmp_path, **change)
    assert "\n" not in str(error.value)
