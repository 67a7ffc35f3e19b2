"""Files of a network that other tools run: ONNX (also in 8 bits), TorchScript, torch.export, and plain Python.

Every file takes pixels as they are read, uint8 (batch, height, width, channels), since how they are scaled is part of
the network; and gives logits (batch, classes). Nothing is written before it was loaded again and gave the logits of the
torch module on the same pixels, alone and in a batch.

Left out: files above 2 GB, which ONNX cannot have, and networks that are not made of our own layers.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from searchspaces import Buildable, Task, UserError, nearest
from studies.manifest import write_whole

if TYPE_CHECKING:
    import torch
    from torch import nn

    from estimators.data import ImageData
    from nas.documents import Document
    from searchspaces import SearchSpace

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]
Runner = Callable[[Pixels], Logits]
"""An exported network, loaded again."""

TOLERANCE: Final = 1e-3
"""Logits of an exported network may differ from torch's by this share of the largest: float32 is summed in another
order."""

BATCHES: Final = (1, 3)
"""Random images that every export is compared on."""

TEST_IMAGES: Final = 500
"""Test images that classes are compared on, where there are data."""

CARD: Final = "model_card.md"


@dataclass(frozen=True, eq=False)
class Exportable:
    """A network with weights, and what a user of it needs to know.

    Attributes:
        title: what a person called it.
        network: what it is made of.
        task: the images and classes that it is for.
        module: in evaluation mode, on the CPU; takes scaled float images (batch, channels, height, width).
        class_names: by the position of the logit.
        mean, std: of each channel, of pixels in 0 to 255.
        facts: training.json; empty where the weights are random.
        folder: of the trained network or of the run.
    """

    title: str
    network: Buildable
    task: Task
    module: nn.Module
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def trained(self) -> bool:
        """Whether the weights are of use."""
        return bool(self.facts)

    def from_pixels(self) -> nn.Module:
        """The module with the scaling of pixels before it: uint8 (batch, height, width, channels) to logits."""
        from torch import nn

        mean, std = self.mean, self.std

        class FromPixels(nn.Module):
            # named so that they are no operation's: `mean` is what ONNX's optimizer calls a mean that it works out
            pixel_mean: torch.Tensor
            pixel_std: torch.Tensor

            def __init__(self, network: nn.Module) -> None:
                super().__init__()
                self.network = network
                self.register_buffer("pixel_mean", torch.tensor(mean).view(1, -1, 1, 1))
                self.register_buffer("pixel_std", torch.tensor(std).view(1, -1, 1, 1))

            def forward(self, pixels: torch.Tensor) -> torch.Tensor:
                scaled = pixels.permute(0, 3, 1, 2).float()  # (batch, channels, height, width)
                scaled = (scaled - self.pixel_mean) / self.pixel_std
                logits: torch.Tensor = self.network(scaled)
                return logits

        import torch

        return FromPixels(self.module).eval()

    def described(self) -> dict[str, str]:
        """What is kept inside of every file that can hold words."""
        from estimators.trained import network_text

        size, channels = self.task.image_size, self.task.channels
        return {
            "network": network_text(self.network, self.task),
            "class_names": json.dumps(self.class_names, ensure_ascii=False),
            "mean": json.dumps(self.mean),
            "std": json.dumps(self.std),
            "weights": "trained" if self.trained else "random",
            "input": f"pixels: uint8 (batch, {size}, {size}, {channels}), 0 to 255; scaled by mean and std inside",
            "output": f"logits: float32 (batch, {self.task.classes})",
        }


@dataclass(frozen=True)
class Made:
    """One export before it is written.

    Attributes:
        files: names and bytes; the first is the one to be loaded.
        load: the export, loaded from those bytes.
    """

    files: Mapping[str, bytes]
    load: Callable[[], Runner]


def export(
    network: str,
    to: str | Sequence[str] = "onnx",
    out: str | Path | None = None,
    *,
    int8: bool = False,
    data: str | None = None,
    task: str | Task | None = None,
    space: str | SearchSpace | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Document:
    """Write a network in formats that other tools read, each checked against torch, and a model card beside them.

    Args:
        network: the folder of a trained network; or what has random weights then: a run folder (its best), a classic's
            name, a text form or a file of it.
        to: names in `FORMATS`, as a list or with commas between them.
        out: a folder; by default `export` in the network's own folder, else `exports/NAME`.
        int8: besides onnx, the same in 8 bits: statically quantised, calibrated on training images.
        data: where the images that it was trained on are now; needed for `int8`, and to compare classes on test images.
        task: the images and classes, where the weights are random; by default the network's own.
        space: where a network of a space of one's own lives.
        on_step: called with what is being done.

    Returns:
        What was written: formats, files, sizes, and how much logits and classes differ from torch's.

    Raises:
        UserError: there is no such network or format, a library is missing, the data are not those trained on, an
            export does not give torch's logits, or nothing can be written there.
    """
    formats = _formats(to)
    if int8 and "onnx" not in formats:
        raise UserError(f"int8 is ONNX in 8 bits: it needs --to onnx, got --to {','.join(formats)}")
    if "onnx" in formats:
        _need_onnx()
    folder = _folder(out)
    found = exportable(network, Task.parse(task) if isinstance(task, str) else task, space)
    images = _images(found, data, int8)
    folder = folder or (found.folder / "export" if found.folder else Path("exports") / Path(found.title).stem)
    reference = torch_runner(found.from_pixels())
    notes = [] if found.trained else [RANDOM.format(task=found.task)]
    exports: list[Document] = []
    for name in formats:
        on_step(f"{name}: writing and checking")
        made = FORMATS[name](found)
        runner = made.load()
        entry: Document = checked(name, runner, reference, found.task)
        if images is not None:
            entry |= _compared(runner, reference, images)
        entry = {"format": name, "files": _write(folder, made.files), **entry}
        exports.append(entry)
        if name == "onnx" and int8:
            from nas.quantizing import quantised

            on_step("onnx int8: calibrating and checking")
            made = quantised(found, next(iter(made.files.values())), images)
            smaller: Document = {"format": "onnx int8", "files": _write(folder, made.files)}
            exports.append(smaller)
            if images is not None:
                smaller |= _compared(made.load(), reference, images)
                entry["test_accuracy"] = _accuracy(runner, images)
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
    "The weights are RANDOM: nobody trained them for {task}. The files are good for measuring speed and size, and for "
    "nothing else. To get trained ones: nas train, then nas export of its folder."
)


def exportable(network: str, task: Task | None = None, space: str | SearchSpace | None = None) -> Exportable:
    """A network with weights: those of a trained folder; random ones of anything else that names a network.

    Raises:
        UserError: it is none of these, is a torch module of one's own, or cannot take the task's images.
    """
    from estimators.trained import FACTS, Trained, built, settled
    from nas.networks import named, own_task, title
    from searchspaces import load_space

    home = load_space(space) if isinstance(space, str) else space
    folder = Path(network)
    if _is_file(folder / FACTS):
        if task is not None:
            raise UserError(f"--task is for networks without weights; {network} was trained on images of its own")
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
        raise UserError(f"{network} is a torch module; only what is made of our layers can be exported")
    task = task or own_task(found)
    module = settled(lambda: built(found, task), task)
    names = tuple(str(number) for number in range(task.classes))
    grey = (127.5,) * task.channels
    run = folder if _is_file(folder / "study.json") else None
    return Exportable(title(network), found, task, module, names, grey, grey, {}, run)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text form is no path, and too long for one
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
        raise UserError(f"--out is a folder, in which files have names of their own; got {str(out)!r}")
    return folder


def _images(found: Exportable, data: str | None, needed: bool) -> ImageData | None:
    """The images that the network was trained on, if they are named or needed and can be had.

    Raises:
        UserError: they are needed and nobody knows where they are, or they are others.
    """
    if not found.trained:
        if data is not None:
            raise UserError(f"--data: {found.title} was not trained on any; train it first: nas train")
        return None
    if data is None and not needed:
        return None
    from estimators.data import load_data

    spec = data or str(found.facts["data"].get("source", found.facts["data"]["name"]))
    if data is None and spec != "digits" and not spec.startswith("hub:") and not Path(spec).exists():
        raise UserError(f"8 bits are calibrated on training images, and {spec!r} is not there; say where: --data DATA")
    images = load_data(spec, found.task.image_size)
    if images.fingerprint != found.facts["data"]["fingerprint"]:
        raise UserError(f"--data: {spec!r} does not hold the images that {found.title} was trained on")
    return images


def _need_onnx() -> None:
    for library in ("onnx", "onnxruntime", "onnxscript"):
        try:
            __import__(library)
        except ImportError as error:
            raise UserError(f"ONNX needs {library}; install it with: pip install 'nas-toolkit[onnx]'") from error


# what every export is held to


def random_pixels(task: Task, count: int) -> Pixels:
    shape = (count, task.image_size, task.image_size, task.channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def torch_runner(module: Callable[[torch.Tensor], torch.Tensor]) -> Runner:
    import torch

    def run(pixels: Pixels) -> Logits:
        with torch.inference_mode():
            logits: Logits = module(torch.from_numpy(np.array(pixels))).numpy()
        return logits

    return run


def checked(name: str, runner: Runner, reference: Runner, task: Task) -> dict[str, float]:
    """Compare logits on random pixels.

    Raises:
        UserError: they differ by more than the tolerance.
    """
    largest = difference = 0.0
    for count in BATCHES:
        pixels = random_pixels(task, count)
        ours, theirs = reference(pixels), runner(pixels)
        if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
            raise UserError(f"{name}: logits are not finite or of another shape; nothing was written")
        largest = max(largest, float(np.abs(ours).max()))
        difference = max(difference, float(np.abs(ours - theirs).max()))
    if difference > TOLERANCE * largest:
        raise UserError(
            f"{name}: its logits differ from torch's by {difference:.2g}, where the largest is {largest:.2g};"
            f" more than {TOLERANCE:g} of that, so nothing was written"
        )
    return {"max_difference": difference, "largest_logit": largest}


def _compared(runner: Runner, reference: Runner, images: ImageData) -> dict[str, int]:
    """In how many test images the class is the same as torch's."""
    sample = images.test_images[:TEST_IMAGES]
    same = classes(runner, sample) == classes(reference, sample)
    return {"same_class": int(same.sum()), "images": len(sample)}


def _accuracy(runner: Runner, images: ImageData) -> float:
    """Share of all test images told right, in [0, 1]."""
    return float((classes(runner, images.test_images) == images.test_labels).mean())


def classes(runner: Runner, pixels: Pixels, batch: int = 100) -> NDArray[np.int64]:
    """The likeliest class of each image."""
    parts = [runner(pixels[start : start + batch]).argmax(1) for start in range(0, len(pixels), batch)]
    return np.concatenate(parts)


def _write(folder: Path, files: Mapping[str, bytes]) -> list[Document]:
    """Write files, each whole or not at all, and say their sizes."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            write_whole(path, content)
            written.append({"file": str(path), "bytes": len(content)})
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error
    return written


# the formats


def _onnx(found: Exportable) -> Made:
    content = _onnx_bytes(found)
    return Made({"model.onnx": content}, lambda: onnx_runner(content))


def _onnx_bytes(found: Exportable) -> bytes:
    """ONNX by torch's own exporter; any number of images at a time."""
    import onnx
    import torch

    import nas

    example = torch.from_numpy(random_pixels(found.task, 2))
    with quietly():
        program = torch.onnx.export(
            _plainly_pooled(found.from_pixels()),
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["pixels"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for value in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]  # where in which file of this machine each came from
        value.doc_string = ""
    model.producer_name, model.producer_version, model.doc_string = "nas", nas.__version__, found.title
    onnx.helper.set_model_props(model, found.described())
    try:
        content: bytes = model.SerializeToString()
    except ValueError as error:  # protobuf's own limit
        raise UserError(f"onnx: {found.title} is above 2 GB, more than one ONNX file can hold") from error
    onnx.checker.check_model(content, full_check=True)
    return content


def onnx_runner(content: bytes) -> Runner:
    """An ONNX file in ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(pixels: Pixels) -> Logits:
        logits: Logits = session.run(["logits"], {"pixels": pixels})[0]
        return logits

    return run


def _plainly_pooled(module: nn.Module) -> nn.Module:
    """The same with global average pooling written as a mean: torch writes the other as a chain of gathers."""
    import copy

    from torch import Tensor, nn

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3), keepdim=True)

    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.AdaptiveAvgPool2d):
                setattr(parent, name, Mean())
    return module


def _torchscript(found: Exportable) -> Made:
    import torch

    example = torch.from_numpy(random_pixels(found.task, 2))
    buffer = io.BytesIO()
    with quietly(), torch.no_grad():
        traced = torch.jit.trace(found.from_pixels(), example, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer, _extra_files={"nas.json": json.dumps(found.described())})
    content = buffer.getvalue()

    def load() -> Runner:
        with quietly():
            return torch_runner(torch.jit.load(io.BytesIO(content)))  # type: ignore[no-untyped-call]

    return Made({"model.torchscript.pt": content}, load)


def _torch_export(found: Exportable) -> Made:
    import torch

    example = torch.from_numpy(random_pixels(found.task, 2))
    buffer = io.BytesIO()
    with quietly(), torch.no_grad():
        program = torch.export.export(found.from_pixels(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # files of this machine
        torch.export.save(program, buffer, extra_files={"nas.json": json.dumps(found.described())})
    content = buffer.getvalue()

    def load() -> Runner:
        with quietly():
            return torch_runner(torch.export.load(io.BytesIO(content)).module())

    return Made({"model.pt2": content}, load)


def _python(found: Exportable) -> Made:
    import safetensors.torch

    import nas
    from nas.standalone import standalone

    weights = "model.safetensors"
    text = standalone(
        found.network.network(found.task),
        found.task,
        found.class_names,
        found.mean,
        found.std,
        found.title,
        weights,
        nas.__version__,
    )
    tensors = {name: each.detach().contiguous().clone() for name, each in found.module.state_dict().items()}
    files = {"model.py": text.encode(), weights: safetensors.torch.save(tensors, found.described())}

    def load() -> Runner:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), files)
            defined: dict[str, Any] = {"__name__": "model", "__file__": str(Path(folder) / "model.py")}
            exec(compile(text, "model.py", "exec"), defined)
            network = defined["load"]()
        return torch_runner(lambda pixels: network(defined["scaled"](pixels)))

    return Made(files, load)


FORMATS: Final[dict[str, Callable[[Exportable], Made]]] = {
    "onnx": _onnx,
    "torchscript": _torchscript,
    "torch-export": _torch_export,
    "python": _python,
}


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Torch's exporters warn of what is their own: deprecated parts of theirs, libraries that are not there."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
