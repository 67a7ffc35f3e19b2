"""Predictions shown on their images: where the score of the predicted class comes from, as PNGs or one page."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from searchspaces import UserError
from searchspaces.files import check_folder, check_place, make_folder, write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from estimators.trained import Trained
    from nas.documents import Document

PICTURES: Final = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".htm")
"""Endings of what is neither a page nor, most likely, meant to be a folder."""
SIDE: Final = 224
"""Height and width of a picture in pixels, at least: small images are enlarged by a whole factor."""
HEAT: Final = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""From no evidence to the most: five colours of matplotlib's `inferno` (CC0)."""


def check_out(out: Path) -> None:
    """Refuse what `explain` could not write to, before the images are read.

    Raises:
        UserError: it has another ending, or cannot be written.
    """
    if out.suffix.lower() in PICTURES and not out.is_dir():
        raise UserError(f"--explain {str(out)!r}: must be an HTML page (.html) or a folder")
    (check_place if _is_page(out) else check_folder)(out)


def _is_page(out: Path) -> bool:
    return out.suffix.lower() == ".html" and not out.is_dir()


def explain(trained: Trained, pixels: NDArray[np.uint8], document: Document, out: Path) -> Document:
    """Write the maps of the predicted classes beside the images, and give what was written.

    Args:
        trained: the network.
        pixels: uint8 (N, side, side, channels), what the network saw.
        document: its predictions of them, as `nas.evaluating.predict` gives them.
        out: a page (.html), or a folder for a PNG of each image: on the left what the network saw, on the right in grey
            with the map over it.

    Raises:
        UserError: the network has no feature maps to show, or the files cannot be written.
    """
    from estimators.activation_maps import activation_maps

    check_out(out)
    first = [one["classes"][0] for one in document["images"]]
    found = activation_maps(
        trained, pixels, [trained.class_names.index(one["class"]) for one in first], document["weights"]
    )
    pictures = [_png(beside(image, each)) for image, each in zip(pixels, found.maps, strict=True)]
    told = {"method": found.method, "map": list(found.maps.shape[1:]), "out": str(out)}
    if _is_page(out):
        from studies.pages.explanation import write_explanation

        write_explanation({**document, "explanation": told}, pictures, out)
        return told
    make_folder(out)
    names = list(_names([one["file"] for one in document["images"]]))
    for name, picture in zip(names, pictures, strict=True):
        write_whole(out / name, picture)
    return {**told, "files": [str(out / name) for name in names]}


def beside(image: NDArray[np.uint8], found: NDArray[np.float32]) -> Image:
    """An image (side, side, channels), and to its right the same in grey under its map (height, width).

    The map is resized bilinearly to the image; its negative part, evidence against the class, is not shown, and its
    maximum has the brightest colour.
    """
    from PIL import Image

    side = image.shape[0] * max(1, -(-SIDE // image.shape[0]))
    shown = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0]).convert("RGB")
    shown = shown.resize((side, side), Image.Resampling.NEAREST)
    positive = np.maximum(found, 0)
    share = positive / max(float(positive.max()), 1e-12)
    share = np.clip(np.asarray(Image.fromarray(share).resize((side, side), Image.Resampling.BILINEAR)), 0, 1)
    stops = np.linspace(0, 1, len(HEAT))
    heat = np.stack([np.interp(share, stops, channel) for channel in zip(*HEAT, strict=True)], axis=2)
    grey = np.asarray(shown.convert("L"), dtype=np.float64)[:, :, None]
    over = Image.fromarray((0.4 * grey + 0.6 * heat).round().astype(np.uint8))
    whole = Image.new("RGB", (2 * side, side))
    whole.paste(shown, (0, 0))
    whole.paste(over, (side, 0))
    return whole


def _png(picture: Image) -> bytes:
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return written.getvalue()


def _names(files: Sequence[str]) -> Iterator[str]:
    """A name for the picture of each file: its own, with a number where another file has the same."""
    taken: set[str] = set()
    for file in files:
        stem = name = Path(file).stem
        number = 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        yield f"{name}.png"
