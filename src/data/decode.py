"""Reads one image or mask file into an array, without losing bits, and fits it into a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from src.core.errors import UserError
from src.data import dicom

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm"})
DECODER_VERSION = 4  # part of a folder's key: raise it when decoded pixels change
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as Pillow's convert("L")
_GREY_MODES = ("1", "L", "LA", "La")
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Resize = Callable[[np.ndarray, tuple[int, int], Box], np.ndarray]  # part of an image, at (width, height)
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


class BadFile(UserError):
    """A file that cannot be used: an error or, with ``data.on_error=skip``, left out."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are decoded."""

    deep: bool  # more than 8 bits a channel
    colour: bool  # stored with three channels (which may still be equal: a grey image saved as RGB)


def require_readers(paths: list[Path]) -> None:
    """Raise UserError where a file needs a package that is not installed."""
    files = [path for path in paths if path.suffix.lower() == ".dcm"]
    if files and find_spec("pydicom") is None:
        raise UserError(f"{files[0]} and {len(files) - 1} more DICOM files need pydicom: pip install pydicom")


def read_header(path: Path) -> Header:
    """Read the header of an image file. Raises BadFile where it is not an image."""
    with _bad_file(path):
        if path.suffix.lower() == ".dcm":
            return Header(*dicom.read_depth_and_colour(path))
        with Image.open(path) as image:
            deep = image.mode in _DEEP_MODES or _is_deep_colour(image)
            return Header(deep, image.mode not in (*_GREY_MODES, *_DEEP_MODES))


def read_image(path: Path) -> np.ndarray:
    """Decode an image to (H, W) or (H, W, 3), uint8 or uint16. Raises BadFile where that fails.

    The EXIF orientation is applied, alpha dropped, a palette resolved. DICOM is read as ``dicom`` says.
    """
    with _bad_file(path):
        if path.suffix.lower() == ".dcm":
            return dicom.read_dicom(path)
        with path.open("rb") as file, Image.open(file) as image:  # of a path, Pillow maps turned TIFF by the wrong size
            pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            if pages > 1:
                raise BadFile(f"{path} holds {pages} pages: save each page as a file of its own")
            if _is_deep_colour(image):
                return _read_deep_colour(path)
            values = _as_array(ImageOps.exif_transpose(image))
            return 65535 - values if values.dtype == np.uint16 and _is_white_zero(image) else values


def read_mask(path: Path) -> np.ndarray:
    """Decode a mask to (H, W) uint8, 0 or 1. Raises BadFile where that fails, or where it holds several labels.

    Inside is what lies above half of the maximum: 0 and any other value are told apart, soft edges cut in the middle.
    A mask in colour is black and one colour.
    """
    mask = read_image(path)
    if not is_grey(mask):
        return _inside_colour(mask, path)
    mask = mask[..., 0] if mask.ndim == 3 else mask
    values = np.unique(mask)
    if len(values) == 1 and _varies_in_alpha(path):
        raise BadFile(
            f"mask {path} is of one colour and varies in its alpha channel only: save it as grey, black outside"
        )
    if len(values) > 2 and values[-1] < 16:  # half of the maximum would silently drop a label
        raise BadFile(f"mask {path} is a label map with the values {values.tolist()}: save one mask per label")
    return (mask > values[-1] // 2).astype(np.uint8)


def is_grey(image: np.ndarray) -> bool:
    """Whether an (H, W) or (H, W, 3) image has no colour."""
    return image.ndim == 2 or bool((image == image[..., :1]).all())


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """(H, W) or (H, W, 3) → (channels, H, W); colour becomes luminance where one channel is asked for."""
    if image.ndim == 2:
        return np.broadcast_to(image, (channels, *image.shape))
    if channels == 3:
        return image.transpose(2, 0, 1)
    grey = image[..., 0] if is_grey(image) else np.rint(image @ LUMA).astype(image.dtype)
    return grey[None]


def resize_image(image: np.ndarray, size: tuple[int, int], box: Box) -> np.ndarray:
    """The part ``box`` of (H, W[, C]) uint8 or uint16 at ``size`` (width, height), antialiased (Lanczos)."""
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, box=box))
    if image.ndim == 3:
        return np.stack([resize_image(image[..., c], size, box) for c in range(image.shape[2])], axis=2)
    real = Image.fromarray(image.astype(np.float32))  # Pillow filters no 16-bit mode
    real = real.resize(size, Image.Resampling.LANCZOS, box=box)
    return np.rint(np.asarray(real)).clip(0, 65535).astype(np.uint16)


def fit_frame(image: np.ndarray, frame: tuple[int, int], fit: str, resize: Resize = resize_image) -> np.ndarray:
    """Fit (H, W[, 3]) into a frame of (height, width[, 3]), aspect kept.

    ``fit``: "pad" scales the whole image into the frame and centres it on black; "crop" keeps the centre that fills it.
    ``resize``: for masks, ``mask_reduction.resize_mask``.
    """
    height, width = image.shape[:2]
    high, wide = frame
    if fit == "crop":
        scale = min(height / high, width / wide)
        kept_height, kept_width = scale * high, scale * wide
        left, top = (width - kept_width) / 2, (height - kept_height) / 2
        return resize(image, (wide, high), (left, top, left + kept_width, top + kept_height))
    scale = min(high / height, wide / width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (high - new_height) // 2, (wide - new_width) // 2
    fitted = np.zeros((high, wide, *image.shape[2:]), image.dtype)
    fitted[top : top + new_height, left : left + new_width] = resize(
        image, (new_width, new_height), (0, 0, width, height)
    )
    return fitted


def _inside_colour(mask: np.ndarray, path: Path) -> np.ndarray:
    """Whatever is not black, (H, W, 3) → (H, W): brightness says nothing of colours that stand for labels."""
    colours = mask.astype(np.int64) @ np.array([1 << 32, 1 << 16, 1])  # one number a colour, 0 for black
    found = np.unique(colours)
    if len(found) > 2 or (len(found) == 2 and found[0]):
        raise BadFile(
            f"mask {path} has {len(found)} colours, which may be labels: save one mask per label, black outside and "
            "of one colour inside"
        )
    return (colours > 0).astype(np.uint8)


def _varies_in_alpha(path: Path) -> bool:
    if path.suffix.lower() == ".dcm":
        return False
    with _bad_file(path), Image.open(path) as image:
        if not image.has_transparency_data:
            return False
        low, high = image.convert("RGBA").getchannel("A").getextrema()
        return low != high


@contextmanager
def _bad_file(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Image.UnidentifiedImageError as error:
        reason = "it is empty (0 bytes)" if path.stat().st_size == 0 else "it is not an image that its suffix names"
        raise BadFile(f"cannot read {path}: {reason}") from error
    except Exception as error:  # decoders raise what they like: OSError, SyntaxError, struct.error, RuntimeError …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadFile(f"cannot read {path}: {reason}") from error


def _as_array(image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise ValueError("it holds floating-point values, save it with 8 or 16 bits")
    if image.mode in _DEEP_MODES:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its values do not fit into 16 bits without sign")
        return values.astype(np.uint16)
    return np.asarray(image.convert("L" if image.mode in _GREY_MODES else "RGB"))


def _is_deep_colour(image: Image.Image) -> bool:
    """16 bits a channel and more than one channel: Pillow would keep the upper 8 bits only."""
    if image.mode in _DEEP_MODES or image.mode == "F":
        return False
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(BITSPERSAMPLE, (1,))) > 8
    return isinstance(image, PngImageFile) and any(";16" in str(tile[3]) for tile in image.tile)


def _is_white_zero(image: Image.Image) -> bool:
    """A TIFF stored dark on bright: Pillow inverts it with 8 bits, not with 16."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0


def _read_deep_colour(path: Path) -> np.ndarray:
    if path.suffix.lower() in (".tif", ".tiff"):
        image = _read_deep_tiff(path)
    else:
        from torchvision.io import ImageReadMode, decode_image

        decoded = decode_image(str(path), ImageReadMode.UNCHANGED, apply_exif_orientation=True)
        image = decoded.numpy().transpose(1, 2, 0)
    return image[..., 0] if image.shape[2] < 3 else image[..., :3]  # without alpha


def _read_deep_tiff(path: Path) -> np.ndarray:
    """(H, W, C), turned as its orientation says."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.photometric not in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK):
            raise ValueError("it has 16-bit colours that are not RGB, save it as RGB")
        image = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:  # planes stored one after the other
            image = image.transpose(1, 2, 0)
        tag = page.tags.get(ExifTags.Base.Orientation)
    orientation = 1 if tag is None else tag.value
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image
