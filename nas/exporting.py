"""`nas export`: write a network in formats that other tools run, each file checked against torch.

Nothing is written before it was loaded again and gave the logits of the torch module on the same pixels, alone and in
a batch. Left out: networks that are not made of our own layers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.formats import FORMATS, Exportable, Pixels, Predictor, random_pixels, torch_predictor
from nas.predict_script import CHANNELS, SCRIPT, SCRIPTS
from searchspaces import Buildable, Task, UserError, nearest
from searchspaces.files import check_folder, make_folder, write_whole

if TYPE_CHECKING:
    from estimators.data import ImageData
    from nas.documents import Document
    from searchspaces import SearchSpace

TOLERANCE: Final = 1e-3
"""Logits of an exported network may differ from torch's by this share of the largest: float32 is summed in another
order."""

BATCHES: Final = (1, 3)
"""Batch sizes of the random images that every export is compared on."""

TEST_IMAGES: Final = 500
"""Test images on which predicted classes are compared, if there are data."""

MOST_OF_A_REASON: Final = 300
"""Characters of another library's message that are shown."""

CARD: Final = "model_card.md"


def export(
    network: str | Path,
    to: str | Sequence[str] = "onnx",
    out: str | Path | None = None,
    *,
    int8: bool = False,
    data: str | Path | None = None,
    task: str | Task | None = None,
    space: str | SearchSpace | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Document:
    """Write a network in formats that other tools read, each checked against torch, and a model card beside them.

    Args:
        network: the folder of a trained network; or, with random weights, a run folder (its best network) or a trial of
            it (`runs/first:7`), a classic's name, a text form or its file.
        to: names in `FORMATS`, as a list or separated by commas.
        out: a folder; by default `export` in the network's own folder, else `exports/NAME`.
        int8: write ONNX statically quantized to 8 bits too, calibrated on training and validation images, or on noise
            if the weights are random.
        data: the images that it was trained on; needed for `int8`, and to compare predictions on test images.
        task: images and classes of a network with random weights; by default the network's own.
        space: of the network, if it is user-defined.
        on_step: called with a description of each step.

    Returns:
        A document of the formats, files and sizes, and of the differences of logits and classes from torch's.

    Raises:
        UserError: there is no such network or format, a library is missing, the network was trained on other data, a
            format cannot hold the network, an export does not give torch's logits, or the folder cannot be written.
    """
    network, data = str(network), None if data is None else str(data)
    formats = _formats(to)
    if int8 and "onnx" not in formats:
        raise UserError(f"int8 is ONNX in 8 bits: it needs --to onnx, got --to {','.join(formats)}")
    if "onnx" in formats:
        _need_onnx()
    folder = _folder(out)
    found = exportable(network, Task.parse(task) if isinstance(task, str) else task, space)
    images = _images(found, data, int8)
    folder = folder or _own_folder(found)
    reference = torch_predictor(found.from_pixels())
    notes = [] if found.trained else [RANDOM.format(task=found.task)]
    exports: list[Document] = []
    for name in formats:
        on_step(f"{name}: writing and checking")
        with _exporting(name):
            made = FORMATS[name](found)
            predictor = made.load()
        entry: Document = checked(name, predictor, reference, found.task)
        for script in SCRIPTS.intersection(made.files) if found.task.channels in CHANNELS else ():
            entry["image_files"] = check_reading(script, made.files[script].decode(), found.task, found.centre)
        if images is not None:
            entry |= _compared(predictor, reference, images)
        entry = {"format": name, "files": _write(folder, made.files), **entry}
        exports.append(entry)
        if name == "onnx" and int8:
            from nas.quantizing import quantized

            on_step("onnx int8: calibrating and checking")
            with _exporting("onnx int8"):
                made = quantized(found, next(iter(made.files.values())), images)
            smaller: Document = {"format": "onnx int8", "files": _write(folder, made.files)}
            exports.append(smaller)
            if images is not None:
                smaller |= _compared(made.load(), reference, images)
                entry["test_accuracy"] = _accuracy(predictor, images)
                smaller["test_accuracy"] = _accuracy(made.load(), images)
    document: Document = {
        "name": found.title,
        "task": str(found.task),
        "weights": "trained" if found.trained else "random",
        **{key: found.described()[key] for key in ("input", "output")},
        **found.network.cost(found.task).told(),
        "tolerance": TOLERANCE,
        "exports": exports,
        "notes": notes,
        "out": str(folder),
        "card": str(folder / CARD),
    }
    from nas.model_card import model_card

    _write(folder, {CARD: model_card(found, document).encode()})
    return document


RANDOM: Final = (
    "The weights are RANDOM, not trained for {task}. Use these files only to measure latency and size. For trained "
    "weights run nas train, then nas export on its folder."
)


def exportable(network: str, task: Task | None = None, space: str | SearchSpace | None = None) -> Exportable:
    """A network with weights: trained ones from the folder of a trained network, else random ones.

    Raises:
        UserError: the text names no network, or a torch module, or the network cannot take the task's images.
    """
    from estimators.trained import FACTS, Trained, built, settled
    from nas.references import in_run, named, own_task, title
    from searchspaces import load_space

    home = load_space(space) if isinstance(space, str) else space
    folder = Path(network)
    if _is_file(folder / FACTS):
        if task is not None:
            raise UserError(f"--task is for networks without weights; {network} has the task it was trained on")
        trained = Trained.open(folder, home)
        return Exportable(
            str(folder),
            trained.network,
            trained.task,
            trained.module(),
            trained.class_names,
            trained.mean,
            trained.std,
            trained.facts,
            folder,
        )
    found = named(network, home)
    if not isinstance(found, Buildable):
        raise UserError(
            f"{network} is a torch module; only networks made of the layers of searchspaces can be exported"
        )
    task = task or own_task(found)
    module = settled(lambda: built(found, task), task)
    names = tuple(str(number) for number in range(task.classes))
    grey = (127.5,) * task.channels
    run, _ = in_run(network) or (None, None)
    return Exportable(title(network), found, task, module, names, grey, grey, {}, run)


@contextlib.contextmanager
def _exporting(name: str) -> Iterator[None]:
    """Failures of a format's own library as one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each library has its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name}: the network cannot be exported: {reason[:MOST_OF_A_REASON]}") from error


def _own_folder(found: Exportable) -> Path:
    """Where files go by default: below the network's own folder."""
    from nas.references import in_run

    if found.folder is None:
        return Path("exports") / Path(found.title).stem
    _, number = in_run(found.title) or (None, None)
    return found.folder / ("export" if number is None else f"export-trial-{number}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text form, which is too long for a path
        return False


def _formats(to: str | Sequence[str]) -> list[str]:
    names = [each.strip() for each in (to.split(",") if isinstance(to, str) else to)]
    for name in names:
        if name not in FORMATS:
            raise UserError(f"unknown format {name!r}{nearest(name, FORMATS)}")
    return list(dict.fromkeys(names))


def _folder(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    folder = Path(out)
    if folder.suffix in {".onnx", ".pt", ".pt2", ".py", ".safetensors"} or folder.is_file():
        raise UserError(f"--out must be a folder, as the files in it have fixed names; got {str(out)!r}")
    check_folder(folder)
    return folder


def _images(found: Exportable, data: str | None, needed: bool) -> ImageData | None:
    """The images that the network was trained on, if they are given or needed.

    Raises:
        UserError: they are needed and not found, or they are not the images that the network was trained on.
    """
    if not found.trained:
        if data is not None:
            raise UserError(f"--data: {found.title} was not trained on any data; train it first with nas train")
        return None
    if data is None and not needed:
        return None
    from estimators.data import load_data
    from estimators.image_sizes import stay_in_files
    from estimators.sources import reading_of

    spec = data or str(found.facts["data"].get("source", found.facts["data"]["name"]))
    if data is None and spec != "digits" and not spec.startswith("hub:") and not Path(spec).exists():
        raise UserError(
            f"int8 is calibrated on images of the data set, and {spec!r} does not exist; give them with --data DATA"
        )
    size = found.task.image_size
    images = load_data(spec, size, **reading_of(found.facts["data"]), in_files=stay_in_files(spec, size))
    if not images.is_recorded_as(found.facts["data"]["fingerprint"]):
        raise UserError(f"--data: {spec!r} does not hold the images that {found.title} was trained on")
    return images


def _need_onnx() -> None:
    for library in ("onnx", "onnxruntime", "onnxscript"):
        try:
            __import__(library)
        except ImportError as error:
            raise UserError(f"ONNX needs {library}; install it with: pip install 'nas-toolkit[onnx]'") from error


def checked(name: str, predictor: Predictor, reference: Predictor, task: Task) -> dict[str, float]:
    """Compare logits with those of torch, on random pixels.

    Raises:
        UserError: they differ by more than the tolerance, or are not finite.
    """
    largest = difference = 0.0
    for count in BATCHES:
        pixels = random_pixels(task, count)
        ours, theirs = reference(pixels), predictor(pixels)
        if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
            raise UserError(f"{name}: logits are not finite or have the wrong shape; nothing was written")
        largest = max(largest, float(np.abs(ours).max()))
        difference = max(difference, float(np.abs(ours - theirs).max()))
    if difference > TOLERANCE * largest:
        raise UserError(
            f"{name}: its logits differ from torch's by {difference:.2g}, which exceeds {TOLERANCE:g} of the largest "
            f"({largest:.2g}); nothing was written"
        )
    return {"max_difference": difference, "largest_logit": largest}


def check_reading(script: str, source: str, task: Task, centre: float = 1.0) -> int:
    """The number of image files, of all modes, that an exported script reads as training does.

    Args:
        script: its name, in `SCRIPTS`.
        source: its text.
        task: its images.
        centre: share of the shorter side that the centre square has.

    Raises:
        UserError: it reads one otherwise.
    """
    import tempfile

    from PIL import Image

    from estimators.image_files import MAX_PIXELS, read_images

    defined: dict[str, Any] = {"__name__": Path(script).stem, "__file__": script}
    exec(compile(source, script, "exec"), defined)
    defined["MAX_PIXELS"] = MAX_PIXELS  # that of the script may be less than the images here have
    noise = random_pixels(Task(40, 3, task.classes), 1)[0]
    grey = noise[..., 0]
    several = {f"{mode}.png": Image.fromarray(noise).convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    several["CMYK.jpg"] = Image.fromarray(noise).convert("CMYK")
    several["16 bits.png"] = Image.fromarray(grey.astype(np.uint16) * 257)
    several["32 bits.tif"] = Image.fromarray(grey.astype(np.int32) * 257)
    several["float.tif"] = Image.fromarray(grey.astype(np.float32) / 255)
    several["RGBA.png"].putalpha(Image.fromarray(grey))
    several["LA.png"].putalpha(Image.fromarray(grey))
    turned = Image.Exif()
    turned[0x0112] = 6
    with tempfile.TemporaryDirectory() as folder:
        for name, image in several.items():
            file = Path(folder) / name
            image.save(file, exif=turned)
            ours = read_images([file], task.image_size, task.channels, centre=centre)[0]
            if script == SCRIPT:
                given = (defined[each] for each in ("SIZE", "CHANNELS", "MAX_PIXELS"))
                theirs = defined["read_images"]([file], *given, centre=defined["CENTRE"])[0]
            else:
                theirs = defined["read_images"](str(file)).numpy()
            if not np.array_equal(ours, theirs):
                raise UserError(f"{script} reads {name} differently from training; nothing was written")
    return len(several)


def _compared(predictor: Predictor, reference: Predictor, images: ImageData) -> dict[str, int]:
    """The number of test images for which the predicted class is torch's."""
    sample = images.test_images[:TEST_IMAGES]
    same = classes(predictor, sample) == classes(reference, sample)
    return {"same_class": int(same.sum()), "images": len(sample)}


def _accuracy(predictor: Predictor, images: ImageData) -> float:
    """Top-1 accuracy on all test images, in [0, 1]."""
    return float((classes(predictor, images.test_images) == images.test_labels).mean())


def classes(predictor: Predictor, pixels: Pixels, batch: int = 100) -> NDArray[np.int64]:
    """The predicted class of each image."""
    parts = [predictor(pixels[start : start + batch]).argmax(1) for start in range(0, len(pixels), batch)]
    return np.concatenate(parts)


def _write(folder: Path, files: Mapping[str, bytes]) -> list[Document]:
    """Write files, each whole or not at all; a document of each with its size."""
    written = []
    make_folder(folder)
    for name, content in files.items():
        write_whole(folder / name, content)
        written.append({"file": str(folder / name), "bytes": len(content)})
    return written
