"""Mask files mark what their maker marked, or say why they cannot be read so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw, ImageFilter

from src.core.errors import UserError
from src.data.masks import LabelMap, read_mask, read_masks

INSIDE = np.zeros((60, 80), bool)
INSIDE[20:40, 30:60] = True
BLACK, DIM, RED, GREEN, WHITE = (0, 0, 0), (60, 0, 0), (255, 0, 0), (0, 255, 0), (255, 255, 255)


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def save_palette(path: Path, indices: np.ndarray, *colours: tuple[int, int, int]) -> Path:
    image = Image.fromarray(indices, "P")
    image.putpalette([value for colour in colours for value in colour])
    image.save(path)
    return path


def grey(outside: int, inside: int) -> np.ndarray:
    return np.where(INSIDE, inside, outside).astype(np.uint8)


def channels(path: Path, ignore: bool = False, **labels: Any) -> np.ndarray:
    (marked,) = read_masks([path], LabelMap.of(labels, ignore))
    return marked


@pytest.mark.parametrize(("outside", "inside"), [(0, 1), (0, 255), (150, 200), (3, 4)])
def test_of_two_values_the_greater_is_inside(tmp_path: Path, outside: int, inside: int) -> None:
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", grey(outside, inside))), INSIDE)


def test_a_mask_without_a_structure_is_empty(tmp_path: Path) -> None:
    assert not read_mask(save(tmp_path / "empty.png", np.zeros((6, 8), np.uint8))).any()


def test_soft_edges_are_cut_in_the_middle(tmp_path: Path) -> None:
    disc = Image.new("L", (640, 640))
    ImageDraw.Draw(disc).ellipse((100, 200, 500, 450), fill=255)
    expected = np.asarray(disc.resize((64, 64), Image.Resampling.BOX)) > 127
    soft = np.asarray(disc.resize((64, 64), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(1)))
    assert len(np.unique(soft)) > 50
    assert (read_mask(save(tmp_path / "soft.png", soft)) != expected).mean() < 0.01


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_the_ringing_of_jpeg_is_no_label(tmp_path: Path, quality: int) -> None:
    path = save(tmp_path / "m.jpg", grey(0, 255), quality=quality)
    assert len(np.unique(np.asarray(Image.open(path)))) > 2
    np.testing.assert_array_equal(read_mask(path), INSIDE)
    colour = np.where(INSIDE[..., None], np.array(RED), 0).astype(np.uint8)
    marked = read_mask(save(tmp_path / "red.jpg", colour, quality=quality, subsampling=0))
    assert (marked != INSIDE).mean() < 0.02


def test_truths_saved_by_tifffile_are_not_exchanged(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "bool.tif", INSIDE)
    np.testing.assert_array_equal(read_mask(tmp_path / "bool.tif"), INSIDE)
    tifffile.imwrite(tmp_path / "scan.tif", INSIDE, photometric="miniswhite", software="a scanner")  # 1 is black there
    np.testing.assert_array_equal(read_mask(tmp_path / "scan.tif"), ~INSIDE)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("colour", [0, 255, 90])
def test_a_mask_in_the_alpha_channel_is_read_from_there(tmp_path: Path, mode: str, colour: int) -> None:
    rgba = np.full((60, 80, 4), colour, np.uint8)
    rgba[..., 3] = 255 * INSIDE
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", rgba, mode)), INSIDE)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_opaque_mask_is_read_from_its_colours(tmp_path: Path, mode: str) -> None:
    opaque = np.dstack([grey(0, 255)] * 3 + [np.full((60, 80), 255, np.uint8)])
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", opaque, mode)), INSIDE)


def test_labels_in_grey_are_a_question_that_names_the_values(tmp_path: Path) -> None:
    for values in ([0, 1, 2], [0, 100, 200], [0, 50, 255]):
        areas = np.repeat(np.repeat(np.array([values], np.uint8), 20, 0), 20, 1)
        named = f"a: {values[1]}, b: {values[2]}"
        line = rf"label map with the values {', '.join(map(str, values))}: data\.mask_labels='\{{{named}\}}' says"
        with pytest.raises(UserError, match=line):
            read_mask(save(tmp_path / "map.png", areas))


def test_labels_in_colour_are_a_question_that_names_the_colours(tmp_path: Path) -> None:
    labels = np.repeat(np.array([[0, 1, 2]], np.uint8), 8, 1)
    for name, colours in (("alike", (BLACK, RED, GREEN)), ("dim", (BLACK, DIM, RED))):
        with pytest.raises(UserError, match=r"has 3 colours, which may be labels \(#000000 33%.*: data\.mask_labels="):
            read_mask(save_palette(tmp_path / f"{name}.png", labels, *colours))
        with pytest.raises(UserError, match="has 3 colours"):
            read_mask(save(tmp_path / f"{name}-rgb.png", np.array(colours, np.uint8)[labels]))
    with pytest.raises(UserError, match="has 2 colours"):  # two labels, or outside in white: nothing says which
        read_mask(save_palette(tmp_path / "no black.png", labels[:, :16], WHITE, RED))


def test_a_mask_of_black_and_one_colour_is_inside_where_it_is_not_black(tmp_path: Path) -> None:
    inside = np.array([[0, 1, 1]], np.uint8)
    for name, colour in (("red", RED), ("dim", DIM), ("white", WHITE)):
        np.testing.assert_array_equal(read_mask(save_palette(tmp_path / f"{name}.png", inside, BLACK, colour)), inside)
    swapped = save_palette(tmp_path / "swapped.png", 1 - inside, WHITE, BLACK)  # programs sort palettes as they like
    np.testing.assert_array_equal(read_mask(swapped), inside)


def test_a_label_map_becomes_a_channel_for_each_name(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2, 3, 1]], np.uint8)
    path = save(tmp_path / "map.png", labels)
    marked = channels(path, edema=2, tumor=[1, 3], any="nonzero")
    assert marked.tolist() == [[[0, 0, 1, 0, 0]], [[0, 1, 0, 1, 1]], [[0, 1, 1, 1, 1]]]
    deep = save(tmp_path / "deep.png", labels.astype(np.uint16) * 500)
    assert channels(deep, edema=1000, rest=[500, 1500]).tolist() == [[[0, 0, 1, 0, 0]], [[0, 1, 0, 1, 1]]]


def test_a_value_without_a_name_is_a_question(tmp_path: Path) -> None:
    path = save(tmp_path / "map.png", np.array([[0, 1, 2, 7]], np.uint8))
    with pytest.raises(UserError, match=r"has the values 2, 7, of which data\.mask_labels does not speak: .*ignore"):
        channels(path, a=1)
    assert channels(path, ignore=True, a=1).tolist() == [[[0, 1, 0, 0]]]


def test_colours_name_structures_also_in_a_jpeg(tmp_path: Path) -> None:
    colours = np.array([BLACK, RED, GREEN], np.uint8)
    labels = np.repeat(np.repeat(np.array([[0, 1], [2, 0]]), 32, 0), 32, 1)
    lossy: dict[str, Any] = {"quality": 90, "subsampling": 0}
    for name, options in (("map.png", {}), ("map.jpg", lossy)):
        marked = channels(save(tmp_path / name, colours[labels], **options), bowel="#ff0000", kidney="#00FF00")
        assert (marked[0] != (labels == 1)).mean() < 0.02 and (marked[1] != (labels == 2)).mean() < 0.02
    with pytest.raises(UserError, match=r"colours of which data\.mask_labels does not speak \(#000000 50%"):
        channels(tmp_path / "map.png", bowel="#ff0000")
    with pytest.raises(UserError, match=r'mask_labels\.bowel=1 is a grey value: give a colour, "#ff0000"'):
        channels(tmp_path / "map.png", bowel=1)
    with pytest.raises(UserError, match=r"data\.mask_labels\.bowel=red must be a whole number, a colour"):
        channels(tmp_path / "map.png", bowel="red")


def test_several_files_of_an_image_are_joined(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.png", np.roll(grey(0, 255), 15 * n, 0)) for n in range(2)]
    (joined,) = read_masks(paths, None)
    np.testing.assert_array_equal(joined[0], INSIDE | np.roll(INSIDE, 15, 0))
    paths.append(save(tmp_path / "3.png", np.zeros((6, 8), np.uint8)))
    with pytest.raises(UserError, match=r"0\.png and .*3\.png of one image differ in size"):
        next(read_masks(paths, None))


def test_masks_dark_on_white_are_turned_over_where_the_user_says_so(tmp_path: Path) -> None:
    (marked,) = read_masks([save(tmp_path / "m.png", grey(255, 0))], None, inverted=True)
    np.testing.assert_array_equal(marked[0], INSIDE)
