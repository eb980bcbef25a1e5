"""Reads PNG, JPEG, TIFF, BMP, GIF, PNM, WebP and JPEG 2000: all that Pillow opens, without losing bits."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, EXTRASAMPLES, PHOTOMETRIC_INTERPRETATION, SAMPLESPERPIXEL, TiffImageFile

from src.core.errors import UserError
from src.data.formats import tiff
from src.data.formats.base import Header, Reading
from src.data.formats.values import TOP, kept

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp", ".jp2", ".j2k", ".jpx",
    ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
PACKAGE = None
GREY_MODES = ("1", "L", "LA", "La")
PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PLAIN_KINDS = (b"\x08\0", b"\x08\x02")  # bits and type of colour: grey, RGB
PLAIN_CHUNKS = {b"IHDR", b"IDAT", b"IEND", b"bKGD", b"cHRM", b"gAMA", b"iCCP", b"pHYs", b"sBIT", b"sRGB", b"tIME"}
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read_header(path: Path, how: Reading) -> Header:
    if _is_foreign(path):
        return tiff.read_header(path, how)
    with Image.open(path) as image:
        deep = image.mode in (*DEEP_MODES, "F") or _is_deep_colour(image) or how.values not in (None, "stored")
        colour = image.mode not in (*GREY_MODES, *DEEP_MODES, "F") and how.channel is None
        slices = getattr(image, "n_frames", 1)
        if isinstance(image, TiffImageFile) and slices > 1:
            return tiff.read_header(path, how)
        return Header(deep, colour, 1 if image.format == "MPO" else slices)


def read_slices(path: Path, how: Reading) -> Iterator[np.ndarray]:
    """The EXIF orientation is applied, a palette resolved; alpha and surplus channels as ``how`` says."""
    if (plain := _plain_png(path)) is not None:
        yield from kept([_one_channel(plain, path, how)], how, path)
        return
    if _is_foreign(path):
        yield from tiff.read_stack(path, how)
        return
    with path.open("rb") as file, Image.open(file) as image:  # of a path, Pillow maps turned TIFF by the wrong size
        if isinstance(image, TiffImageFile) and (_has_more_channels(image) or getattr(image, "n_frames", 1) > 1):
            yield from tiff.read_stack(path, how)
            return
        yield from kept(_frames(image, path, how), how, path)


def _frames(image: Image.Image, path: Path, how: Reading) -> Iterator[np.ndarray]:
    for place in range(1 if image.format == "MPO" else getattr(image, "n_frames", 1)):
        image.seek(place)
        yield _one_channel(_decode(image, path, how), path, how)


def read_labels(path: Path, how: Reading) -> Iterator[np.ndarray]:
    """Where the colour is the same everywhere and alpha is not, alpha is what the file says."""
    if (plain := _plain_png(path)) is not None:
        yield plain
        return
    if _is_foreign(path):
        yield from tiff.read_stack(path, how)
        return
    with Image.open(path) as image:
        if how.indices and image.mode == "P":
            yield np.asarray(image)
            return
        shape = _alpha(image) if getattr(image, "n_frames", 1) == 1 and not _is_deep_colour(image) else None
        if shape is not None and shape.min() != shape.max():
            colours = np.asarray(image.convert("RGBA"))[..., :3]
            if (colours == colours[0, 0]).all() or not colours[shape > 0].any() or (colours[shape > 0] == 255).all():
                yield np.asarray(ImageOps.exif_transpose(Image.fromarray(shape)))
                return
    yield from read_slices(path, Reading(alpha="black"))


def _is_foreign(path: Path) -> bool:
    """Whether a file is a TIFF that Pillow does not open, such as one of two channels of 16 bits."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with Image.open(path):
            return False
    except Image.UnidentifiedImageError:
        return path.stat().st_size > 0


def _decode(image: Image.Image, path: Path, how: Reading) -> np.ndarray:
    if _is_deep_colour(image):
        values = _read_deep_colour(path)
        alpha = values[..., -1] if values.shape[2] in (2, 4) else None
        colours = values[..., 0] if values.shape[2] < 3 else values[..., :3]
    else:
        alpha = _alpha(image)
        colours = _as_array(_upright(image))
        if colours.dtype == np.uint16 and _is_white_zero(image):
            colours = 65535 - colours
        elif image.mode == "1" and _is_white_zero(image) and tiff.wrote_bool(image):
            colours = 255 - colours
        if alpha is not None and how.alpha not in (None, "drop"):
            alpha = np.asarray(ImageOps.exif_transpose(_with_exif(Image.fromarray(alpha), image)))
    return colours if alpha is None else _without_alpha(colours, alpha, path, how)


def _without_alpha(colours: np.ndarray, alpha: np.ndarray, path: Path, how: Reading) -> np.ndarray:
    if how.alpha == "drop" or alpha.min() == alpha.max():
        return colours
    if how.alpha is None:
        raise UserError(
            f"{path} has transparent parts (alpha from {alpha.min()} to {alpha.max()}): data.alpha=black or "
            "data.alpha=white is what shows through, data.alpha=drop takes the colours as if nothing were transparent"
        )
    top = np.iinfo(colours.dtype).max
    share = (alpha / top if colours.ndim == 2 else alpha[..., None] / top).astype(np.float32)
    return np.rint(colours * share + (0 if how.alpha == "black" else top) * (1 - share)).astype(colours.dtype)


def _one_channel(pixels: np.ndarray, path: Path, how: Reading) -> np.ndarray:
    if how.channel is None or pixels.ndim == 2:
        return pixels
    if how.channel >= pixels.shape[2]:
        raise UserError(f"data.channel={how.channel}: {path} has the channels 0 to {pixels.shape[2] - 1}")
    return pixels[..., how.channel]


def _alpha(image: Image.Image) -> np.ndarray | None:
    """(H, W), None where nothing is transparent."""
    if not image.has_transparency_data:
        return None
    return np.asarray(image.convert("RGBA").getchannel("A"))


def _with_exif(image: Image.Image, of: Image.Image) -> Image.Image:
    image.getexif()[ExifTags.Base.Orientation] = of.getexif().get(ExifTags.Base.Orientation, 1)
    return image


def _as_array(image: Image.Image) -> np.ndarray:
    if image.mode in (*DEEP_MODES, "F"):
        values = np.asarray(image)
        return values.astype(np.uint16) if image.mode != "F" and values.min() >= 0 and values.max() <= TOP else values
    mode = "L" if image.mode in GREY_MODES else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _plain_png(path: Path) -> np.ndarray | None:
    """Of a PNG of 8 bits that nothing in it turns or makes transparent: libpng takes two thirds of Pillow's time.

    None for all else, and for one that is as large as a decompression bomb.
    """
    if path.suffix.lower() != ".png":
        return None
    content = path.read_bytes()
    if not content.startswith(PNG_START) or content[24:26] not in PLAIN_KINDS:
        return None
    width, height = (int.from_bytes(content[place : place + 4], "big") for place in (16, 20))
    if width * height > (Image.MAX_IMAGE_PIXELS or math.inf) or not _has_plain_chunks(content):
        return None
    with suppress(ImportError, RuntimeError, ValueError):  # Pillow says what is damaged, and reads what it can
        from imagecodecs import png_decode

        return png_decode(content)
    return None


def _has_plain_chunks(png: bytes) -> bool:
    """Whether all chunks are of ``PLAIN_CHUNKS``, and none that libpng would pass over is damaged."""
    place = 8
    while place < len(png):
        end = place + 8 + int.from_bytes(png[place : place + 4], "big")
        kind = png[place + 4 : place + 8]
        if kind not in PLAIN_CHUNKS:
            return False
        if kind[:1].islower() and zlib.crc32(png[place + 4 : end]).to_bytes(4, "big") != png[end : end + 4]:
            return False
        place = end + 4
    return True


def _upright(image: Image.Image) -> Image.Image:
    """As ``exif_transpose``, without a copy of what lies right already."""
    image.load()  # some have their EXIF behind the pixels
    return image if image.getexif().get(ExifTags.Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)


def _has_more_channels(image: TiffImageFile) -> bool:
    """Channels beside the one of grey and the three of colour that are no alpha."""
    samples, photometric = image.tag_v2.get(SAMPLESPERPIXEL, 1), image.tag_v2.get(PHOTOMETRIC_INTERPRETATION, 1)
    usual = {2: 3, 6: 3, 5: 4, 8: 3}.get(photometric, 1)
    kinds = image.tag_v2.get(EXTRASAMPLES, ())
    alpha = samples == usual + 1 and (usual == 3 or any(kind in (1, 2) for kind in kinds))
    return samples > usual and not alpha


def _is_deep_colour(image: Image.Image) -> bool:
    """16 bits a channel and more than one channel: Pillow would keep the upper 8 bits only."""
    if image.mode in DEEP_MODES or image.mode == "F":
        return False
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(BITSPERSAMPLE, (1,))) > 8
    return isinstance(image, PngImageFile) and any(";16" in str(tile[3]) for tile in image.tile)


def _is_white_zero(image: Image.Image) -> bool:
    """A TIFF stored dark on bright: Pillow inverts it with 8 bits, not with 16."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0


def _read_deep_colour(path: Path) -> np.ndarray:
    """(H, W, C), with alpha."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return tiff.read_deep(path)
    from torchvision.io import ImageReadMode, decode_image

    decoded = decode_image(str(path), ImageReadMode.UNCHANGED, apply_exif_orientation=True)
    return decoded.numpy().transpose(1, 2, 0)
