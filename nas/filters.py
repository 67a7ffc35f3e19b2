"""The filters of a trained network's first convolution as a picture, as in Krizhevsky et al. 2012, NeurIPS, fig. 3."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from searchspaces import UserError
from searchspaces.files import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from estimators.trained import Trained

SIDE: Final = 48
"""Height and width of a filter in the picture in pixels, at least."""
PAPER: Final = 255


def write_filters(trained: Trained, path: Path, which: str = "best") -> None:
    """Draw the filters into a PNG.

    Args:
        trained: the network; its images are grey or in colours.
        path: ends in `.png`.
        which: its weights, `best` or `last`.

    Raises:
        UserError: the path has another ending, the network has no convolution of 1 or 3 channels to draw, or the file
            cannot be written.
    """
    from PIL import Image
    from torch import nn

    if path.suffix.lower() != ".png":
        raise UserError(f"cannot draw filters into {str(path)!r}: it must end in .png")
    first = next((each for each in trained.module(which).modules() if isinstance(each, nn.Conv2d)), None)
    if first is None or first.weight.shape[1] not in (1, 3):
        raise UserError(
            f"{trained.folder} cannot have its filters drawn: its first convolution must have 1 or 3 input channels"
        )
    written = io.BytesIO()
    Image.fromarray(filters_picture(first.weight.detach().numpy())).save(written, "PNG", optimize=True)
    write_whole(path, written.getvalue())


def filters_picture(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Filters (filters, 1 or 3, height, width) side by side in rows, as uint8 (height, width, 3).

    Weights of 0 are grey in the middle of the range, and the largest magnitude of each filter is at an end of it, so
    that brightness does not compare between filters.
    """
    count, channels, height, width = weights.shape
    most = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    levels = np.round(127.5 + 127.5 * weights / np.maximum(most, 1e-12)).astype(np.uint8)
    levels = np.repeat(levels, 3 // channels, axis=1).transpose(0, 2, 3, 1)  # (filters, height, width, 3)
    factor = max(1, -(-SIDE // max(height, width)))
    levels = levels.repeat(factor, axis=1).repeat(factor, axis=2)
    columns = math.ceil(math.sqrt(count))
    step_y, step_x = height * factor + 4, width * factor + 4
    picture = np.full((-(-count // columns) * step_y + 4, columns * step_x + 4, 3), PAPER, np.uint8)
    for index, one in enumerate(levels):
        y, x = index // columns * step_y + 4, index % columns * step_x + 4
        picture[y : y + height * factor, x : x + width * factor] = one
    return picture
