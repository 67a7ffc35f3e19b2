"""The formats that networks are exported to: ONNX, TorchScript, torch.export and plain Python.

Every file takes pixels as they are read, uint8 (batch, height, width, channels), since their scaling is part of the
network, and gives logits (batch, classes). Files above 2 GB, which ONNX cannot have, are left out.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from estimators.image_files import MAX_PIXELS
from estimators.quiet import quietly
from searchspaces import Buildable, Task, UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]
Predictor = Callable[[Pixels], Logits]
"""An exported network, loaded again: pixels to logits."""


@dataclass(frozen=True, eq=False)
class Exportable:
    """A network with weights, and what a user of it needs to know.

    Attributes:
        title: the name that a person gave.
        network: as a tree of layers or an architecture.
        task: its images and classes.
        module: in evaluation mode, on the CPU; takes scaled float images (batch, channels, height, width).
        class_names: by the position of the logit.
        mean, std: of each channel, of pixels in 0 to 255.
        facts: the contents of training.json; empty if the weights are random.
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
        """Whether the weights are trained."""
        return bool(self.facts)

    @property
    def centre(self) -> float:
        """Share of the shorter side that the centre square of an image file has."""
        return float(self.facts.get("data", {}).get("centre", 1.0))

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest image file that is decoded."""
        return int(self.facts.get("data", {}).get("max_pixels", MAX_PIXELS))

    def from_pixels(self) -> nn.Module:
        """The module with the scaling of pixels before it: uint8 (batch, height, width, channels) to logits."""
        from torch import nn

        mean, std = self.mean, self.std

        class FromPixels(nn.Module):
            # not `mean`, the name that ONNX's optimizer gives to a mean that it computes
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
        """The metadata of every file whose format has room for it."""
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
        files: contents by name; the first is the one to load.
        load: loads the export from these contents.
    """

    files: Mapping[str, bytes]
    load: Callable[[], Predictor]


def _onnx(found: Exportable) -> Made:
    import nas
    from nas.predict_script import CHANNELS, SCRIPT, predict_script

    model, content = "model.onnx", _onnx_bytes(found)
    files = {model: content}
    if found.task.channels in CHANNELS:
        script = predict_script(
            found.task, found.class_names, found.title, model, nas.__version__, found.max_pixels, found.centre
        )
        files[SCRIPT] = script.encode()
    return Made(files, lambda: onnx_predictor(content))


def _onnx_bytes(found: Exportable) -> bytes:
    """ONNX by torch's own exporter, for batches of any size."""
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
        del value.metadata_props[:]  # file names and lines of this machine
        value.doc_string = ""
    model.producer_name, model.producer_version, model.doc_string = "nas", nas.__version__, found.title
    onnx.helper.set_model_props(model, found.described())
    try:
        content: bytes = model.SerializeToString()
    except ValueError as error:  # protobuf's own limit
        raise UserError(f"onnx: {found.title} is larger than 2 GB, the limit of an ONNX file") from error
    onnx.checker.check_model(content, full_check=True)
    return content


def onnx_predictor(content: bytes) -> Predictor:
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
    """The module with global average pooling as a mean, since torch exports the other as a chain of gathers."""
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
        traced = torch.jit.trace(found.from_pixels(), example, check_trace=False)
        torch.jit.save(traced, buffer, _extra_files={"nas.json": json.dumps(found.described())})
    content = buffer.getvalue()

    def load() -> Predictor:
        with quietly():
            return torch_predictor(torch.jit.load(io.BytesIO(content)))

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

    def load() -> Predictor:
        with quietly():
            return torch_predictor(torch.export.load(io.BytesIO(content)).module())

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
        found.max_pixels,
        found.centre,
    )
    tensors = {name: each.detach().contiguous().clone() for name, each in found.module.state_dict().items()}
    files = {"model.py": text.encode(), weights: safetensors.torch.save(tensors, found.described())}

    def load() -> Predictor:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            defined: dict[str, Any] = {"__name__": "model", "__file__": str(Path(folder) / "model.py")}
            exec(compile(text, "model.py", "exec"), defined)
            network = defined["load"]()
        return torch_predictor(lambda pixels: network(defined["scaled"](pixels)))

    return Made(files, load)


def random_pixels(task: Task, count: int) -> Pixels:
    """The same noise each time, as images of a task: uint8 (count, height, width, channels)."""
    shape = (count, task.image_size, task.image_size, task.channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def torch_predictor(module: Callable[[torch.Tensor], torch.Tensor]) -> Predictor:
    """A function of tensors on the CPU, such as a module in evaluation mode, as a function of arrays."""
    import torch

    def run(pixels: Pixels) -> Logits:
        with torch.inference_mode():
            logits: Logits = module(torch.from_numpy(np.array(pixels))).numpy()
        return logits

    return run


FORMATS: Final[dict[str, Callable[[Exportable], Made]]] = {
    "onnx": _onnx,
    "torchscript": _torchscript,
    "torch-export": _torch_export,
    "python": _python,
}
