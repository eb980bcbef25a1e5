from __future__ import annotations

import json
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from src.core.errors import UserError
from src.data.base import ImageData
from src.data.description import Description
from src.data.provenance import fingerprints
from src.data.store import Split, Store
from src.data.training_images import concatenate, read_synthetic, take_fraction, training_images, training_record
from src.tasks.classification import Classification

DESCRIPTION = Description(1, 8, (), ("cavity",))


def split_of(cases: int, each: int) -> Split:
    count = cases * each
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 1, 8, 8), np.uint8)
    store = Store(images, np.zeros(count, int), np.ones((count, 1, 8, 8), np.uint8), {})
    return Split(store, np.arange(count), [f"case{i // each}" for i in range(count)])


@pytest.fixture
def synthetic(tmp_path):
    """Six images as src.generate writes them."""
    for i in range(6):
        for folder, value in (("images", 200 + i), ("masks/cavity", 255)):
            path = tmp_path / "export" / folder / f"{i:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)
    return str(tmp_path / "export")


class Held(ImageData):
    """Splits that are there already."""

    def __init__(self, description: Description, **splits: Split) -> None:
        self.held = description, splits

    def prepare(self) -> None: ...

    @property
    def description(self) -> Description:
        return self.held[0]

    @property
    def splits(self) -> dict[str, Split]:
        return self.held[1]


def mixed(
    split: Split, tmp_path, fraction: float, synthetic: str | list[str] | None, ratio: float | None = None
) -> Split:
    return training_images(Held(DESCRIPTION, train=split), fraction, synthetic, ratio, 0, str(tmp_path / "cache"))


def test_a_share_of_the_cases_keeps_each_of_them_whole_and_is_part_of_every_larger_share():
    split = split_of(cases=10, each=3)
    shares = [take_fraction(split, fraction, seed=1) for fraction in (0.1, 0.25, 1.0)]
    assert [len(share) for share in shares] == [3, 9, 30]
    for share in shares:
        assert all(share.cases_or_files().count(case) == 3 for case in share.cases_or_files())
    assert set(shares[0].rows) < set(shares[1].rows) < set(shares[2].rows)
    assert set(take_fraction(split, 0.1, seed=2).rows) != set(shares[0].rows)


def test_real_and_synthetic_images_are_mixed_in_the_ratio_asked_for(tmp_path, synthetic):
    found = mixed(split_of(4, 1), tmp_path, 1.0, synthetic, ratio=0.5)
    batch = found.gather(np.arange(len(found)))
    assert batch["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 200, 201]
    assert batch["mask"].shape == (6, 1, 8, 8) and batch["mask"].all()


def test_without_a_ratio_all_synthetic_images_join_and_without_real_ones_they_stand_alone(tmp_path, synthetic):
    assert len(mixed(split_of(4, 1), tmp_path, 1.0, synthetic)) == 10
    assert mixed(split_of(4, 1), tmp_path, 0, synthetic).gather(np.arange(6))["image"].min() == 200


@pytest.mark.parametrize(
    ("fraction", "ratio", "said"),
    [
        (1.5, None, "training.real_fraction=1.5 must be from 0 to 1"),
        (1.0, 3.0, "training.ratio=3 needs 12 synthetic images, .* has 6: generate more, or lower the ratio"),
    ],
)
def test_what_cannot_be_mixed_is_one_clear_line(tmp_path, synthetic, fraction, ratio, said):
    with pytest.raises(UserError, match=said):
        mixed(split_of(4, 1), tmp_path, fraction, synthetic, ratio)


@pytest.mark.parametrize(("written", "label"), [("sick", 1), ("", -1)])
def test_synthetic_images_have_the_class_of_their_manifest_or_none(tmp_path, synthetic, written, label):
    rows = [f"images/{i:06d}.png,0,{i},{written},true" for i in range(6)]
    manifest = tmp_path / "export" / "manifest.csv"
    manifest.write_text("\n".join(["file,seed,index,class,masks_ok", *rows]))
    description = Description(1, 8, ("healthy", "sick"), ("cavity",))
    found = training_images(Held(description, train=split_of(4, 1)), 1.0, synthetic, None, 0, str(tmp_path / "cache"))
    assert found.gather(np.arange(10))["label"].tolist() == [0] * 4 + [label] * 6
    with nullcontext() if written else pytest.raises(UserError, match="does not say which class its images are of"):
        Classification().check(found)


def test_synthetic_images_of_16_bits_keep_their_values(tmp_path):
    folder = tmp_path / "export" / "images"
    folder.mkdir(parents=True)
    for i in range(4):
        Image.fromarray(np.full((8, 8), 1000 * (i + 1), np.uint16)).save(folder / f"{i}.png")
    (tmp_path / "export" / "dataset.json").write_text('{"bits": 16}')
    split = read_synthetic(str(tmp_path / "export"), Description(1, 8, (), ()), str(tmp_path / "cache"))
    assert split.gather(np.arange(4))["image"][:, 0, 0, 0].tolist() == [1000, 2000, 3000, 4000]


def test_no_image_at_all_is_refused(tmp_path):
    with pytest.raises(UserError, match="leaves no image"):
        mixed(split_of(4, 1), tmp_path, 0, None)


def test_a_folder_that_src_generate_did_not_write_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no folder images"):
        mixed(split_of(4, 1), tmp_path, 1.0, str(tmp_path))


def test_an_export_that_is_not_complete_is_refused_with_what_to_do(tmp_path, synthetic):
    card = tmp_path / "export" / "dataset.json"
    card.write_text('{"complete": false}')
    with pytest.raises(UserError, match=r"export is not complete: repeat the src.generate command"):
        mixed(split_of(4, 1), tmp_path, 1.0, synthetic)
    card.write_text('{"complete": true}')
    assert len(mixed(split_of(4, 1), tmp_path, 1.0, synthetic)) == 10


def test_synthetic_images_of_a_generator_that_learned_from_test_images_are_refused(tmp_path, synthetic):
    train, test = (split_of(12, 1).take(np.arange(*part)) for part in ((0, 8), (8, 12)))
    data = Held(DESCRIPTION, train=train, test=test)
    card = tmp_path / "export" / "dataset.json"

    def use(learned: Split) -> Split:
        card.write_text(json.dumps({"complete": True, "training_images": fingerprints(data, learned)}))
        return training_images(data, 1.0, synthetic, None, 0, str(tmp_path / "cache"))

    assert len(use(train)) == 14
    with pytest.raises(UserError, match=r"the generator of training.synthetic=.* learned from 3 of the 4 test images"):
        use(test.take(np.arange(3)))


@pytest.fixture
def other(tmp_path):
    """Two images more, of another generator."""
    (tmp_path / "other" / "masks" / "cavity").mkdir(parents=True)
    (tmp_path / "other" / "images").mkdir()
    for i in range(2):
        Image.fromarray(np.full((8, 8), 100 + i, np.uint8)).save(tmp_path / f"other/images/{i:06d}.png")
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / f"other/masks/cavity/{i:06d}.png")
    return str(tmp_path / "other")


def test_several_exports_join_each_by_its_size(tmp_path, synthetic, other):
    def values(ratio: float | None) -> list[int]:
        found = mixed(split_of(4, 1), tmp_path, 1.0, [synthetic, other], ratio)
        return found.gather(np.arange(len(found)))["image"][:, 0, 0, 0].tolist()

    real = [0, 1, 2, 3]
    assert values(None) == [*real, *range(200, 206), 100, 101]
    assert values(1.0) == [*real, 200, 201, 202, 100]
    with pytest.raises(UserError, match=r"training.ratio=3 needs 12 synthetic images, .*export, .*other has 8"):
        values(3.0)
    with pytest.raises(UserError, match="names a folder twice"):
        mixed(split_of(4, 1), tmp_path, 1.0, [synthetic, f"{synthetic}/../export"])


def test_of_several_exports_each_is_checked_and_the_record_is_that_of_all(tmp_path, synthetic, other):
    train, test = (split_of(12, 1).take(np.arange(*part)) for part in ((0, 8), (8, 12)))
    data = Held(DESCRIPTION, train=train, test=test)

    def learned(export: str, images: Split | None) -> None:
        said = {} if images is None else {"training_images": fingerprints(data, images)}
        (tmp_path / export / "dataset.json").write_text(json.dumps({"complete": True, **said}))

    def record():
        return training_record(data, 0.25, [synthetic, other], 0)

    learned("export", train.take(np.arange(4)))
    learned("other", train.take(np.arange(4, 8)))
    assert record().images == frozenset(fingerprints(data, train))
    learned("other", test.take(np.arange(3)))
    with pytest.raises(UserError, match=r"training.synthetic=.*other learned from 3 of the 4 test images"):
        training_images(data, 1.0, [synthetic, other], None, 0, str(tmp_path / "cache"))
    learned("other", None)
    assert record() is None


def test_an_export_that_does_not_say_what_its_generator_learned_from_is_used_with_a_warning(
    tmp_path, synthetic, caplog
):
    assert len(mixed(split_of(4, 1), tmp_path, 1.0, synthetic)) == 10
    assert "does not say what its generator learned from" in caplog.text
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


def test_images_of_unlike_depth_are_not_mixed():
    deep = Store(np.zeros((1, 1, 8, 8), np.uint16), np.zeros(1, int), np.zeros((1, 1, 8, 8), np.uint8), {})
    with pytest.raises(UserError, match=r"the real images have 8 bits, .* export them with bits=8"):
        concatenate(split_of(1, 1), Split(deep, np.arange(1)))
