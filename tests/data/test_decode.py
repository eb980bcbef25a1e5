"""One file becomes one array, without losing bits, and fits a square."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from src.core.errors import UserError
from src.data import decode
from src.data.decode import BadFile, fit_frame, is_grey, read_header, read_image, to_channels
from src.data.formats import read_slices
from src.data.formats.base import Reading
from src.data.mask_reduction import resize_mask

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")  # torchvision.io

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
DEEP = (np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300) + 7  # the lower byte matters


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def save_deep_png(path: Path, array: np.ndarray, exif: bytes = b"") -> Path:
    """A 16-bit RGB(A) PNG, which Pillow cannot write."""
    height, width, channels = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    extra = [(b"eXIf", exif)] if exif else []
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    blocks = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(blocks))
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_of_8_and_16_bit_is_read_exactly(tmp_path: Path, suffix: str) -> None:
    for name, pixels in (("8", RAMP), ("16", DEEP)):
        path = save(tmp_path / f"{name}{suffix}", pixels)
        assert read_header(path) == decode.Header(deep=pixels.dtype == np.uint16, colour=False)
        read = read_image(path)
        assert read.dtype == pixels.dtype
        np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour_keeps_its_lower_byte(tmp_path: Path, suffix: str) -> None:
    pixels = np.stack([DEEP, DEEP + 100, 65535 - DEEP], axis=2)
    path = tmp_path / f"deep{suffix}"
    save_deep_png(path, pixels) if suffix == ".png" else tifffile.imwrite(path, pixels, photometric="rgb")
    assert read_header(path) == decode.Header(deep=True, colour=True)
    np.testing.assert_array_equal(read_image(path), pixels)


def test_16_bit_colour_tiff_stored_in_planes_is_read(tmp_path: Path) -> None:
    planes = np.stack([DEEP, DEEP + 100, 65535 - DEEP])
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "planes.tif"), planes.transpose(1, 2, 0))
    low = planes[:, :3].transpose(1, 2, 0)  # of 3 rows, not of 3 planes
    tifffile.imwrite(tmp_path / "low.tif", low, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "low.tif"), low)


def test_16_bit_colour_tiff_that_is_not_rgb_is_bad(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "cmyk.tif", np.zeros((6, 8, 4), np.uint16), photometric="separated")
    with pytest.raises(BadFile, match="16-bit colours that are not RGB, save it as RGB"):
        read_image(tmp_path / "cmyk.tif")


def test_alpha_that_is_the_same_everywhere_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([RAMP, RAMP + 1, RAMP + 2, np.full_like(RAMP, 9)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "rgba.png", rgba)), rgba[..., :3])
    deep = np.dstack([DEEP, DEEP + 1, DEEP + 2, np.full_like(DEEP, 9)])
    np.testing.assert_array_equal(read_image(save_deep_png(tmp_path / "deep.png", deep)), deep[..., :3])
    np.testing.assert_array_equal(read_image(save(tmp_path / "la.png", RAMP, "LA")), RAMP)


def test_alpha_that_varies_is_a_question_and_its_answers_are_followed(tmp_path: Path) -> None:
    shape = np.where(RAMP > 100, 255, 0).astype(np.uint8)
    white = save(tmp_path / "white.png", np.dstack([np.full((6, 8, 3), 255, np.uint8), shape]))
    with pytest.raises(UserError, match=r"white\.png has transparent parts \(alpha from 0 to 255\): data\.alpha=black"):
        read_image(white)
    np.testing.assert_array_equal(read_image(white, Reading(alpha="black"))[..., 0], shape)
    assert (read_image(white, Reading(alpha="drop")) == 255).all() and (
        read_image(white, Reading(alpha="white")) == 255
    ).all()
    deep = save_deep_png(tmp_path / "deep.png", np.dstack([DEEP, DEEP, DEEP, shape.astype(np.uint16) * 257]))
    with pytest.raises(UserError, match="transparent parts"):
        read_image(deep)
    np.testing.assert_array_equal(read_image(deep, Reading(alpha="black"))[..., 1], np.where(shape, DEEP, 0))


def test_channels_that_are_no_colours_are_a_question_and_one_can_be_chosen(tmp_path: Path) -> None:
    for name, bits in (("8", RAMP), ("16", DEEP)):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, np.dstack([bits, bits + 1]), photometric="minisblack", planarconfig="contig")
        with pytest.raises(UserError, match=r"tif has 2 channels that are no colours: data\.channel=0 takes the first"):
            read_image(path)
        np.testing.assert_array_equal(read_image(path, Reading(channel=1)), bits + 1)
        with pytest.raises(UserError, match=r"data\.channel=2: .* has the channels 0 to 1"):
            read_image(path, Reading(channel=2))
    planes = np.stack([DEEP + n for n in range(5)])
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="minisblack", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "planes.tif", Reading(channel=3)), DEEP + 3)
    green = save(tmp_path / "rgb.png", np.dstack([RAMP, RAMP + 7, RAMP]))
    np.testing.assert_array_equal(read_image(green, Reading(channel=1)), RAMP + 7)
    assert read_header(green, Reading(channel=1)) == decode.Header(deep=False, colour=False)


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".pgm", ".webp", ".jp2"])
def test_other_formats_without_loss_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    options: dict[str, Any] = {".webp": {"lossless": True}, ".jp2": {"irreversible": False}}.get(suffix, {})
    path = save(tmp_path / f"x{suffix}", RAMP, **options)
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels if pixels.ndim == 2 else pixels[..., 0], RAMP)


def test_palette_becomes_colour(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), [[[10, 20, 30], [200, 100, 50]]])


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    path = save(tmp_path / "turned.jpg", np.zeros((6, 8, 3), np.uint8), exif=exif)
    assert read_image(path).shape == (8, 6, 3)


def test_png_is_turned_and_transparent_as_chunks_behind_its_pixels_and_before_them_say(tmp_path: Path) -> None:
    """Which libpng, that unpacks those without such chunks, would not do."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = RAMP.astype(np.uint8)
    png = save(tmp_path / "turned.png", pixels, exif=exif).read_bytes()
    start = png.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(png[start : start + 4], "big")
    behind = png[:start] + png[end:-12] + png[start:end] + png[-12:]  # before IEND
    (tmp_path / "behind.png").write_bytes(behind)
    for name in ("turned", "behind"):
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.png"), np.rot90(pixels, -1))
    clear = save(tmp_path / "clear.png", pixels, transparency=int(pixels[0, 0]))
    with pytest.raises(UserError, match="transparent parts"):
        read_image(clear)


def test_a_png_of_a_wrong_checksum_is_read_as_pillow_does(tmp_path: Path) -> None:
    content = bytearray(save(tmp_path / "x.png", RAMP).read_bytes())
    start = content.index(b"IDAT")
    content[start + 4 + int.from_bytes(content[start - 4 : start], "big")] ^= 255
    (tmp_path / "x.png").write_bytes(content)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), RAMP)


def test_a_plain_png_is_read_without_pillow_and_one_as_large_as_a_bomb_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imagecodecs")
    path = save(tmp_path / "x.png", RAMP, dpi=(72, 72))
    damaged = path.read_bytes()
    place = damaged.index(b"pHYs") + 4
    (tmp_path / "damaged.png").write_bytes(damaged[:place] + b"\1" + damaged[place + 1 :])  # libpng passes that over
    with pytest.raises(BadFile, match="it is not an image"):
        read_image(tmp_path / "damaged.png")
    opened = Image.open

    def refuse(*_: object) -> None:
        raise AssertionError("Pillow opens it")

    monkeypatch.setattr(Image, "open", refuse)
    np.testing.assert_array_equal(read_image(path), RAMP)
    monkeypatch.setattr(Image, "open", opened)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RAMP.size // 3)
    with pytest.raises(BadFile, match="decompression bomb"):
        read_image(path)


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_tiff_of_any_depth_is_turned_as_its_orientation_says(tmp_path: Path, orientation: int) -> None:
    for name, pixels in (("8", RAMP), ("16", DEEP), ("rgb8", np.dstack([RAMP] * 3)), ("rgb16", np.dstack([DEEP] * 3))):
        path = tmp_path / f"{name}.tif"
        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        tifffile.imwrite(path, pixels, photometric=photometric, extratags=[(274, "H", 1, orientation, True)])
        np.testing.assert_array_equal(read_image(path), TURNS[orientation](pixels))


def test_16_bit_colour_png_is_turned_as_its_orientation_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.dstack([DEEP, DEEP, DEEP + 1])
    path = save_deep_png(tmp_path / "x.png", pixels, exif.tobytes().removeprefix(b"Exif\0\0"))
    np.testing.assert_array_equal(read_image(path), np.rot90(pixels, -1))


def test_tiff_where_0_is_white_is_inverted(tmp_path: Path) -> None:
    for pixels in (RAMP, DEEP):
        path = tmp_path / f"{pixels.dtype}.tif"
        tifffile.imwrite(path, pixels, photometric="miniswhite")
        np.testing.assert_array_equal(read_image(path), np.iinfo(pixels.dtype).max - pixels)


def test_a_truncated_jpeg_is_bad(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = save(tmp_path / "cut.jpg", rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(BadFile, match=r"cut\.jpg: image file is truncated"):
        read_image(path)


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"no pixels here", "not an image")])
def test_text_or_nothing_with_the_suffix_of_an_image_is_bad(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(content)
    for read in (read_header, read_image):
        with pytest.raises(BadFile, match=f"text.png: .*{reason}"):
            read(path)


def test_a_tiff_of_fractions_is_a_question_and_its_answers_are_followed(tmp_path: Path) -> None:
    pixels = RAMP.astype(np.float32) / 255 - 0.5
    tifffile.imwrite(tmp_path / "float.tif", pixels)
    with pytest.raises(
        UserError, match=r"has fractions from -0\.5 to 0\.42\d+, not whole numbers from 0 to 65535: data"
    ):
        read_image(tmp_path / "float.tif")
    rescaled = read_image(tmp_path / "float.tif", Reading(values="rescaled", range=(-0.5, 0.5)))
    np.testing.assert_array_equal(rescaled, np.rint(RAMP / 255 * 65535))
    tifffile.imwrite(tmp_path / "whole.tif", DEEP.astype(np.float32))
    np.testing.assert_array_equal(read_image(tmp_path / "whole.tif"), DEEP)


def test_each_page_of_a_tiff_is_a_slice_and_reductions_of_a_pyramid_are_none(tmp_path: Path) -> None:
    stack = np.stack([DEEP, DEEP + 1, DEEP + 2])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    assert read_header(tmp_path / "stack.tif").slices == 3
    np.testing.assert_array_equal(np.stack([*read_slices(tmp_path / "stack.tif", Reading())]), stack)
    colours = np.stack([np.dstack([RAMP + n, RAMP, RAMP]) for n in range(4)])
    tifffile.imwrite(tmp_path / "colours.tif", colours, photometric="rgb")
    np.testing.assert_array_equal(np.stack([*read_slices(tmp_path / "colours.tif", Reading())]), colours)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(RAMP, photometric="minisblack")
        file.write(RAMP[::2, ::2], photometric="minisblack", subfiletype=1)
    assert read_header(tmp_path / "pyramid.tif").slices == 1
    np.testing.assert_array_equal(read_image(tmp_path / "pyramid.tif"), RAMP)
    hyper = np.stack([np.stack([DEEP + 10 * z + c for c in range(2)]) for z in range(3)])
    tifffile.imwrite(tmp_path / "hyper.tif", hyper, imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(UserError, match=r"hyper\.tif has 2 channels that are no colours"):
        read_header(tmp_path / "hyper.tif")
    np.testing.assert_array_equal(np.stack([*read_slices(tmp_path / "hyper.tif", Reading(channel=1))]), hyper[:, 1])


def test_each_frame_of_an_animation_is_a_slice(tmp_path: Path) -> None:
    frames = [Image.fromarray(RAMP + 3 * n) for n in range(3)]
    frames[0].save(tmp_path / "cine.gif", save_all=True, append_images=frames[1:])
    assert read_header(tmp_path / "cine.gif").slices == 3
    read = [pixels if pixels.ndim == 2 else pixels[..., 0] for pixels in read_slices(tmp_path / "cine.gif", Reading())]
    np.testing.assert_array_equal(np.stack(read), np.stack([RAMP + 3 * n for n in range(3)]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pad_keeps_the_whole_image_centred_on_black(dtype: type) -> None:
    square = fit_frame(np.full((10, 20), 200, dtype), (10, 10), "pad")
    assert square.dtype == dtype
    assert (square[:2] == 0).all() and (square[-3:] == 0).all() and (square[2:7] == 200).all()
    np.testing.assert_array_equal(fit_frame(np.full((20, 10), 200, dtype), (10, 10), "pad"), square.T)


def test_crop_keeps_the_centre() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, 5:15] = 200
    assert (fit_frame(image, (10, 10), "crop") == 200).all()


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_image_and_mask_stay_aligned(fit: str) -> None:
    mask = np.zeros((90, 120), np.uint8)
    mask[30:60, 45:75] = 1
    fitted_image = fit_frame(mask * 255, (31, 31), fit)
    fitted_mask = fit_frame(mask, (31, 31), fit, resize_mask)
    assert set(np.unique(fitted_mask)) == {0, 1}
    assert ((fitted_image > 127) == fitted_mask).mean() > 0.98


def test_16_bit_resize_agrees_with_8_bit() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    deep = fit_frame(image.astype(np.uint16) * 257, (17, 17), "pad") / 257
    assert np.abs(deep - fit_frame(image, (17, 17), "pad")).max() <= 2  # 8-bit rounds twice


def test_channels_are_made_or_merged() -> None:
    assert to_channels(RAMP, 3).shape == (3, 6, 8)
    colour = np.dstack([RAMP, RAMP, RAMP])
    assert is_grey(colour)
    np.testing.assert_array_equal(to_channels(colour, 1)[0], RAMP)
    red = np.dstack([RAMP, 0 * RAMP, 0 * RAMP])
    assert not is_grey(red)
    np.testing.assert_array_equal(to_channels(red, 1)[0], np.asarray(Image.fromarray(red).convert("L")))


def test_a_frame_of_the_images_own_aspect_is_filled_and_another_is_padded_or_cropped() -> None:
    image = np.full((30, 40), 200, np.uint8)
    assert (fit_frame(image, (15, 20), "pad") == 200).all() and (fit_frame(image, (15, 20), "crop") == 200).all()
    padded = fit_frame(image, (15, 30), "pad")
    assert (padded[:, 5:25] == 200).all() and not padded[:, :5].any() and not padded[:, 25:].any()
    assert (fit_frame(image, (15, 30), "crop") == 200).all()
