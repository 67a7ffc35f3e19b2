"""One image file becomes pixels, in the one way that search, training, prediction, evaluation and exports share.

A file is decoded by Pillow, turned upright, brought to 8 bits and to RGB, cropped to its centre square and resized. Of
an animation or a stack the first frame is used. The functions in `PORTABLE` are written into an exported `model.py` as
they stand here, so they use nothing but the standard library and Pillow; those in `PORTABLE_WITH_NUMPY` into an
exported `predict.py`.

Left out: formats that Pillow reads with the help of another program (EPS runs Ghostscript) or of another library
(HEIC), and colour profiles; `docs/data.md` has the reasons.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from searchspaces import UserError

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")

FORMATS: Final = (
    "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "TGA",
    "TIFF", "WEBP",
)  # fmt: skip
"""What is decoded, by Pillow's names; none of these runs another program."""

MAX_PIXELS: Final = 178_956_970
"""Pixels of the largest image that is decoded: Pillow's own limit, 512 MB in RGB. A JPEG is decoded at a reduced size,
so that larger photographs pass."""

LOOKED_AT: Final = 1000
"""Files, evenly spaced, in which numbers of 32 bits and floats are looked for before a note."""


@contextmanager
def pillow_settings() -> Iterator[None]:
    """Pillow without its own limit of pixels, which `decoded` replaces, and nothing raw on standard error.

    Pillow warns and logs, and libtiff, which it contains, writes to the file of standard error: all of that goes
    nowhere, since what cannot be read is an error with the file's name.
    """
    import logging
    import os
    import warnings

    from PIL import Image

    log, limit, silent = logging.getLogger("PIL"), Image.MAX_IMAGE_PIXELS, logging.NullHandler()
    log.addHandler(silent)  # else the standard library prints what is logged
    Image.MAX_IMAGE_PIXELS = None
    try:
        stderr = os.dup(2)
    except OSError:  # a process may have closed it
        stderr = None
    try:
        if stderr is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if stderr is not None:
            os.dup2(stderr, 2)
            os.close(stderr)
        Image.MAX_IMAGE_PIXELS = limit
        log.removeHandler(silent)


def opened(source: BinaryIO) -> Image.Image:
    """An image of which the header is read.

    Raises:
        ValueError: it is not of a format that is decoded; the message says what it is, as far as that is plain.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(source, formats=formats())
    except UnidentifiedImageError:
        source.seek(0)
        start = source.read(64)
    if start[4:8] == b"ftyp" and any(brand in start[8:] for brand in (b"heic", b"heix", b"hevc", b"hevx")):
        raise ValueError(
            "it is HEIC, which is not supported; convert it to JPEG with `heif-convert IN.heic OUT.jpg` or, on macOS, "
            "`sips -s format jpeg IN.heic --out OUT.jpg`"
        )
    raise ValueError("it is not in a supported image format" if start else "it is empty")


def decoded(source: BinaryIO, size: int, max_pixels: int = MAX_PIXELS, centre: float = 1.0) -> tuple[Image.Image, bool]:
    """The centre square of an image in RGB, `size` pixels high and wide, and whether the image is grey.

    The side of the square is the share `centre` of the image's shorter side.
    """
    from PIL import Image, ImageOps

    whole, grey = in_rgb(source, round(2 * size / centre), max_pixels)
    return ImageOps.fit(whole, (size, size), Image.Resampling.BILINEAR, bleed=(1 - centre) / 2), grey


def in_rgb(source: BinaryIO, least: int, max_pixels: int) -> tuple[Image.Image, bool]:
    """A whole image upright in RGB, and whether it is grey; of a JPEG no more pixels than a side of `least` needs."""
    with opened(source) as image:
        full = image.width * image.height
        tags = getattr(image, "tag_v2", {})  # of a TIFF, whose grey values of up to 16 bits are as they are in the file
        bits, inverted = tags.get(258, (16,))[0], tags.get(262) == 0
        image.draft(None, (least, least))
        progressive = image.info.get("progressive")  # all its coefficients are kept in memory
        if (full if progressive else image.width * image.height) > max_pixels:
            raise ValueError(f"it has {full:,} pixels, more than the limit of {max_pixels:,} (--max-pixels)")
        key_in_8_bits(image)
        image.load()
        upright = turned_upright(image)
    grey = upright.mode in ("1", "L", "LA", "La", "I", "F") or upright.mode.startswith("I;16")
    return on_white(in_8_bits(upright, bits, inverted)).convert("RGB"), grey


def formats() -> list[str]:
    """The formats that are decoded, of those that this Pillow has."""
    from PIL import Image

    Image.init()
    return [each for each in FORMATS if each in Image.OPEN]


def orientation_of(image: Image.Image) -> object:
    """The EXIF orientation. EXIF that cannot be read is ignored, since it is not about pixels."""
    try:
        return image.getexif().get(0x0112)
    except Exception:  # cameras and editors write anything there, and Pillow's parsers then raise anything
        return None


def turned_upright(image: Image.Image) -> Image.Image:
    """The image turned by its EXIF orientation."""
    from PIL import Image

    orientation = orientation_of(image)
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def key_in_8_bits(image: Image.Image) -> None:
    """Bring the transparent value of a PNG, which Pillow leaves in the file's depth, to the 8 bits of its pixels.

    Of colours of 16 bits it is the high byte, as of the pixels. Call it before the image is loaded.
    """
    key = image.info.get("transparency")
    mode = next((tile[3] for tile in getattr(image, "tile", ())), None) if image.format == "PNG" else None
    if isinstance(key, int) and mode in ("L;2", "L;4"):
        image.info["transparency"] = key * {"L;2": 85, "L;4": 17}[mode]
    elif isinstance(key, tuple) and mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def in_8_bits(image: Image.Image, bits: int = 16, inverted: bool = False) -> Image.Image:
    """Grey images of 12, 16 or 32 bits and of floats, scaled to 8 bits; Pillow itself would clip them at 255.

    16 bits are divided by 256, and 12 by 16; for 32 bits and floats see `white_value`.

    Args:
        image: of any mode.
        bits: of a value, if the mode has room for 16.
        inverted: whether 0 is white then.
    """
    from PIL import ImageChops

    if image.mode.startswith("I;16"):
        step = 2.0 ** (8 - bits)
        grey = image.convert("I").point(lambda value: value * step).convert("L")
        if inverted:
            grey = grey.point(lambda value: 255 - value)
        key = grey.info.pop("transparency", None)  # a grey level in 16 bits
        if isinstance(key, int):
            above = image.convert("I").point(lambda value: value - key)
            apart = ImageChops.lighter(above.convert("L"), above.point(lambda value: -value).convert("L"))
            grey.putalpha(apart.point(lambda value: 255 if value else 0))
        return grey
    if image.mode not in ("I", "F"):
        return image
    factor = {1: 255.0, 255: 1.0, 65535: 1 / 256}[white_value(image)]
    if image.mode == "F":
        return image.point(lambda value: value * factor + 0.5).convert("L")
    return image.point(lambda value: value * factor).convert("L")


def white_value(image: Image.Image) -> int:
    """The value taken to be white in an image of 32 bits or floats (mode `I` or `F`), whose file does not say it.

    It is the smallest of 1 (floats only), 255 and 65535 that is not exceeded. A PGM's file does say it, and Pillow has
    scaled it to 65535.

    Raises:
        ValueError: values are negative, larger or not finite.
    """
    import math

    from PIL import Image

    if image.mode == "I" and image.format == "PPM":
        return 65535
    low, high = (float(each) for each in image.getextrema())  # type: ignore[arg-type]  # of one band
    mean = image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))  # one that is not a number makes it none
    finite = image.mode == "I" or (isinstance(mean, float) and math.isfinite(mean))
    if not finite or low < 0 or high > 65535:
        found = f"range from {low:g} to {high:g}" if finite else "are not all finite"
        raise ValueError(f"its values {found}; convert it to 8 or 16 bits (0 to 1, 255 or 65535 is understood)")
    return 1 if image.mode == "F" and high <= 1 else 255 if high <= 255 else 65535


def on_white(image: Image.Image) -> Image.Image:
    """Transparent pixels shown on white, as on a page; what is stored under them was never meant to be seen."""
    from PIL import Image

    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image


PORTABLE: Final = (
    pillow_settings, formats, opened, decoded, in_rgb, orientation_of, turned_upright, key_in_8_bits, in_8_bits,
    white_value, on_white,
)  # fmt: skip
"""The functions that an exported `model.py` contains, beside `FORMATS` and `MAX_PIXELS`."""


def decoded_file(
    file: Path, size: int, max_pixels: int = MAX_PIXELS, centre: float = 1.0
) -> tuple[NDArray[np.uint8], bool]:
    """A file as uint8 (size, size, 3), and whether it is grey. Call it in `pillow_settings`.

    Raises:
        UserError: it cannot be read as an image; the message has its name.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{str(file)!r} cannot be read: {error.strerror or error}") from error
    return decoded_bytes(content, repr(str(file)), size, max_pixels, centre)


def decoded_bytes(
    content: bytes, name: str, size: int, max_pixels: int, centre: float = 1.0
) -> tuple[NDArray[np.uint8], bool]:
    """The content of an image file as uint8 (size, size, 3), and whether it is grey. Call it in `pillow_settings`.

    Raises:
        UserError: it cannot be read as an image; the message has its name.
    """
    square, grey = read_as_image(name, content, lambda: decoded(io.BytesIO(content), size, max_pixels, centre))
    return np.asarray(square), grey


def read_as_image(name: str, content: bytes, read: Callable[[], T]) -> T:
    """What `read` makes of the content of an image file.

    Raises:
        UserError: it fails; the message has the file's name.
    """
    try:
        return read()
    except Exception as error:  # a damaged file makes Pillow's plugins raise anything
        raise UserError(f"{name} cannot be read as an image: {first_line(error)}") from error


def upright_size(source: BinaryIO) -> tuple[int, int]:
    """Width and height of an image, from its header, as it is shown."""
    from PIL.TiffImagePlugin import TiffImageFile

    with opened(source) as image:
        if isinstance(image, TiffImageFile):  # which Pillow turns itself: at once or as it is loaded, by its version
            (width, height), orientation = (image.tag_v2[256], image.tag_v2[257]), image.tag_v2.get(274)
        else:
            (width, height), orientation = image.size, orientation_of(image)
        return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def hash_of(content: bytes) -> bytes:
    """A hash of a file, 16 bytes, to find copies by."""
    return hashlib.blake2b(content, digest_size=16).digest()


def read_images(
    files: Sequence[str | Path],
    image_size: int,
    channels: int,
    max_pixels: int = MAX_PIXELS,
    bad: list[UserError] | None = None,
    centre: float = 1.0,
) -> tuple[NDArray[np.uint8], list[str | Path]]:
    """Image files as uint8 (files, size, size, channels), and the files that were read.

    Args:
        files: of images.
        image_size, channels: of the pixels.
        max_pixels: of the largest image that is decoded.
        bad: takes the errors of files that cannot be read as images, which are then left out.
        centre: share of the shorter side that the centre square has.

    Raises:
        UserError: a file cannot be read as an image, and there is no list for it; the message has its name.
    """
    images = np.empty((len(files), image_size, image_size, 3), dtype=np.uint8)
    read: list[str | Path] = []
    with pillow_settings():
        for file in files:
            try:
                images[len(read)] = decoded_file(Path(file), image_size, max_pixels, centre)[0]
            except UserError as error:
                if bad is None:
                    raise
                bad.append(error)
            else:
                read.append(file)
    return recoloured(images[: len(read)], channels), read


def notes_on_ranges(files: Sequence[Path], max_pixels: int = MAX_PIXELS) -> list[str]:
    """A note on files of 32 bits or floats with the ranges that their values are taken to have, if there are any.

    The headers of at most `LOOKED_AT` files of formats that have such values are read, and these values.
    """
    able = [file for file in files if file.suffix.lower() in (".tif", ".tiff", ".pgm", ".pnm")]
    looked_at = able[:: -(-len(able) // LOOKED_AT) or 1]
    found: Counter[int] = Counter()
    with pillow_settings():
        for file in looked_at:
            try:
                with file.open("rb") as stream, opened(stream) as image:
                    if image.mode in ("I", "F") and image.width * image.height <= max_pixels:
                        found[white_value(image)] += 1
            except Exception:  # it is refused or skipped where it is decoded
                continue
    if not found:
        return []
    ranges = ", ".join(f"{number:,} taken to lie in 0 to {white}" for white, number in sorted(found.items()))
    of_some = f" of {len(looked_at):,} looked at" if len(looked_at) < len(able) else ""
    mixed = "; if all are meant on one scale, save them in 8 or 16 bits" if len(found) > 1 else ""
    return [f"files of 32 bits or floats{of_some}: {ranges}{mixed}"]


def recoloured(images: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Convert images (..., channels) from grey to three channels, or from three to grey.

    Raises:
        UserError: the numbers of channels are others.

    >>> recoloured(np.array([[[10, 20, 30]]], dtype=np.uint8), 1)  # 0.299, 0.587 and 0.114 of them
    array([[[18]]], dtype=uint8)
    """
    have = images.shape[-1]
    if have == channels:
        return images
    if have == 1 and channels == 3:
        return np.repeat(images, 3, axis=-1)
    if have == 3 and channels == 1:  # ITU-R 601-2 in the whole numbers of Pillow's convert("L"), and so of model.py
        grey = images.astype(np.uint32) @ np.array([19595, 38470, 7471], dtype=np.uint32)
        return ((grey + 0x8000) >> 16).astype(np.uint8)[..., None]
    raise UserError(f"images with {have} channels cannot be converted to {channels} channels")


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


PORTABLE_WITH_NUMPY: Final = (
    *PORTABLE, read_images, decoded_file, decoded_bytes, read_as_image, recoloured, first_line,
)  # fmt: skip
"""The functions that an exported `predict.py` contains, beside `FORMATS` and `MAX_PIXELS`."""
