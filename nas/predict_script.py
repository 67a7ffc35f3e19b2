"""`predict.py`: classify photographs with an exported ONNX file; it needs onnxruntime, NumPy and Pillow alone.

It lists folders and turns image files into pixels by the functions that `nas predict` uses
(`estimators.image_folders.PORTABLE`, `estimators.image_files.PORTABLE_WITH_NUMPY`), copied as they stand, so that its
answers are those of `nas predict`. Text from a folder (class names, the name of the network) is written as literals
only, so that none of it becomes code. Left out: views, which are many runs of the network for an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from estimators.image_files import FORMATS, MAX_PIXELS, PORTABLE_WITH_NUMPY
from estimators.image_folders import PORTABLE, PORTABLE_CONSTANTS
from nas.standalone import harmless, names_literal, sources, tuple_literal
from searchspaces import Task

SCRIPT: Final = "predict.py"
"""The name of the file."""

SCRIPTS: Final = frozenset({"model.py", SCRIPT})
"""Exported programs that read image files."""

CHANNELS: Final = (1, 3)
"""Channels of the images that files of photographs can be read as."""

_TEMPLATE: Final = '''\
"""{title}: {size}x{size} images, {classes} classes. Needs onnxruntime, NumPy and Pillow; written by nas {version}.

    python predict.py photo.jpg other.png            prints the most likely classes of each image
    python predict.py photos/ --csv classes.csv      of all images in a folder and below; a line for each in a file

    import predict
    session = predict.open_model()                   # reads {model}, beside this file
    pixels, files = predict.read_images(["photo.jpg"], predict.SIZE, predict.CHANNELS, centre=predict.CENTRE)
    predict.probabilities(session, pixels)           # float32 (images, {classes}), in the order of predict.CLASSES
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

MODEL = Path(__file__).with_name("{model}")
SIZE = {size}  # height and width of an image, in pixels
CHANNELS = {channels}  # {colours}
CLASSES = {names}
MAX_PIXELS = {max_pixels:_}  # of an image file
CENTRE = {centre}  # share of the shorter side that the centre square has
BATCH = 32  # images at a time
FORMATS = {formats}
{constants}

T = TypeVar("T")


class UserError(Exception):
    """A file that cannot be read."""


def open_model(path: str | Path = MODEL) -> Any:
    """An ONNX file in ONNX Runtime, on the CPU."""
    if not Path(path).is_file():
        raise UserError(f"{{str(path)!r}} does not exist")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has many of its own
        reason = " ".join(str(error).split())
        raise UserError(f"{{str(path)!r}} cannot be read as an ONNX file: {{reason}}") from error


def probabilities(session: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Class probabilities (images, classes) of uint8 (images, SIZE, SIZE, CHANNELS); they are scaled in the network."""
    logits = session.run(["logits"], {{"pixels": pixels}})[0]
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def classified(
    session: Any, images: Sequence[str], bad: list[UserError] | None = None
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Each image file, and all of each folder, with its class probabilities; a list takes the errors of bad files."""
    wanted = [file for each in images for file in (images_below(Path(each)) if Path(each).is_dir() else [each])]
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        pixels, files = read_images(part, SIZE, CHANNELS, MAX_PIXELS, bad, CENTRE)
        if files:
            yield from zip([readable(str(file)) for file in files], probabilities(session, pixels))


def main() -> None:
    parser = argparse.ArgumentParser(description="Classify images.")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders whose images are all taken")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="number of classes to print for each image")
    parser.add_argument("--csv", metavar="FILE.csv", help="write a line for each image: file, class and probability")
    parser.add_argument("--model", default=MODEL, metavar="FILE.onnx", help="another file of the same network")
    parser.add_argument("--skip-bad", action="store_true", help="skip files that cannot be read as images")
    given = parser.parse_args()
    if given.top < 1:
        parser.error("--top must be at least 1")
    if given.csv and named_as_image(Path(given.csv)):
        parser.error(f"--csv {{given.csv}}: an image would be overwritten; name a table, such as classes.csv")
    new = bool(given.csv) and not os.path.lexists(given.csv)
    try:
        stream = open(given.csv, "a", encoding="utf-8", newline="") if given.csv else None
    except OSError as error:
        parser.exit(2, f"predict.py: cannot write {{given.csv}}: {{error.strerror}}\\n")
    try:
        rows = printed(open_model(given.model), given.images, given.top, given.skip_bad)
    except BaseException as error:
        if new:
            os.remove(given.csv)
        if isinstance(error, UserError):
            parser.exit(2, f"predict.py: {{error}}\\n")
        raise
    if stream:
        try:
            with stream:
                if stream.seekable():  # a file, and not a pipe
                    stream.truncate(0)
                csv.writer(stream, lineterminator="\\n").writerows(rows)
        except OSError as error:
            parser.exit(2, f"predict.py: cannot write {{given.csv}}: {{error.strerror}}\\n")


def printed(session: Any, images: Sequence[str], top: int, skip_bad: bool) -> list[list[str]]:
    """The rows of the table, whose images are printed as they are classified."""
    bad: list[UserError] | None = [] if skip_bad else None
    rows = [["file", "class", "probability"]]
    for file, shares in classified(session, images, bad):
        best = np.argsort(-shares, kind="stable")[:top].tolist()
        rows.append([file, CLASSES[best[0]], f"{{shares[best[0]]:.6f}}"])
        try:
            print(f"{{file}}: {{', '.join(f'{{CLASSES[i]}} {{100 * shares[i]:.1f}}%' for i in best)}}", flush=True)
        except BrokenPipeError:  # `| head` has seen enough; the table may still be wanted
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for error in bad or []:
        print(f"predict.py: skipped: {{error}}", file=sys.stderr)
    if len(rows) == 1:
        raise UserError("none of the files can be read as an image")
    return rows


{reading}


{listing}


if __name__ == "__main__":
    main()
'''


def predict_script(
    task: Task,
    class_names: Sequence[str],
    title: str,
    model: str,
    version: str,
    max_pixels: int = MAX_PIXELS,
    centre: float = 1.0,
) -> str:
    """The text of `predict.py`.

    Args:
        task: its images and classes.
        class_names: in the order of the logits.
        title: the name of the network.
        model: name of the ONNX file beside it.
        version: version of nas.
        max_pixels: of an image file that is decoded.
        centre: share of an image's shorter side that its centre square has.
    """
    constants = [
        f"{name} = {value!r}" if isinstance(value, str) else f"{name} = {tuple_literal(value)}"
        for name, value in PORTABLE_CONSTANTS.items()
    ]
    return _TEMPLATE.format(
        title=harmless(title),
        size=task.image_size,
        classes=task.classes,
        channels=task.channels,
        colours={1: "grey", 3: "red, green, blue"}[task.channels],
        names=names_literal(class_names),
        model=model,
        version=version,
        max_pixels=max_pixels,
        centre=float(centre),
        formats=tuple_literal(FORMATS),
        constants="\n".join(constants),
        reading=sources(PORTABLE_WITH_NUMPY),
        listing=sources(PORTABLE),
    )
