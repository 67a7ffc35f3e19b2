"""`model.py`: a network in one readable file that needs torch but not nas.

It has the source of the network (`searchspaces.source`), the class names, the normalization of pixels, a reader of
safetensors in ten lines, and a command: `python model.py photo.jpg`. Image files become pixels in it by the functions
that training uses (`estimators.image_files.PORTABLE`), copied as they stand. Text from a folder (class names, the name
of the network) is written as literals and comments only, so that none of it becomes code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from estimators.image_files import FORMATS, MAX_PIXELS, PORTABLE
from estimators.image_folders import PORTABLE_NAMES
from searchspaces import Task
from searchspaces.layers import Node
from searchspaces.source import source

_TEMPLATE: Final = '''\
"""{title}: {size}x{size} images, {classes} classes. Needs only torch; written by nas {version}.

    python model.py photo.jpg       prints the most likely classes (images need Pillow, .raw files of uint8 do not)

    import model
    network = model.load()          # reads the weights from {weights}, beside this file
    model.predict(network, pixels)  # uint8 (batch, {size}, {size}, {channels}) to probabilities (batch, {classes})
"""

{imports}

SIZE = {size}  # height and width of an image, in pixels
CHANNELS = {channels}  # {colours}
CLASSES = {names}
MEAN = {mean}  # of each channel, in 0 to 255
STD = {std}
MAX_PIXELS = {max_pixels:_}  # of an image file
CENTRE = {centre}  # share of the shorter side that the centre square has
FORMATS = {formats}


def load(weights: Path | str = Path(__file__).with_name("{weights}")) -> nn.Module:
    """The network with its weights, in evaluation mode."""
    made = network()
    made.load_state_dict(read_safetensors(weights))
    return made.eval()


def predict(network: nn.Module, pixels: Tensor) -> Tensor:
    """Class probabilities (batch, classes) of images, uint8 (batch, SIZE, SIZE, CHANNELS)."""
    with torch.inference_mode():
        return network(scaled(pixels.to(next(network.parameters()).device))).softmax(1)


def scaled(pixels: Tensor) -> Tensor:
    """The input of the network, (batch, CHANNELS, SIZE, SIZE), normalized as in training."""
    mean, std = (torch.tensor(each, device=pixels.device).view(1, -1, 1, 1) for each in (MEAN, STD))
    return (pixels.permute(0, 3, 1, 2).float() - mean) / std


def read_safetensors(path: Path | str) -> dict[str, Tensor]:
    """Tensors by name. The file has the length of its header in 8 bytes, the header in JSON, then the numbers."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    types = {{"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}}
    tensors = {{}}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        numbers = torch.frombuffer(bytearray(data[start + first : start + last]), dtype=types[entry["dtype"]])
        tensors[name] = numbers.reshape(entry["shape"])
    return tensors


def read_images(path: str) -> Tensor:
    """uint8 (images, SIZE, SIZE, CHANNELS) from an image file, or a .raw file with the pixels of one or more images."""
    if path.endswith(".raw"):
        return torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8).view(-1, SIZE, SIZE, CHANNELS)
    with pillow_settings(), open(path, "rb") as file:
        image = decoded(file, SIZE, MAX_PIXELS, CENTRE)[0]
    pixels = image.convert("L").tobytes() if CHANNELS == 1 else image.tobytes()
    return torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(1, SIZE, SIZE, CHANNELS)


{reading}


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: python model.py IMAGE...")
    made = load()
    for path in sys.argv[1:]:
        try:
            pixels = read_images(path)
        except Exception as error:  # a damaged file makes Pillow raise anything
            sys.exit(f"{{path!r}} cannot be read as an image: {{error}}")
        for probabilities in predict(made, pixels):
            likeliest = probabilities.topk(min(3, len(CLASSES)))
            words = [f"{{CLASSES[i]}} {{100 * p:.1f}}%" for p, i in zip(likeliest[0].tolist(), likeliest[1].tolist())]
            try:
                print(f"{{readable(path)}}: {{', '.join(words)}}", flush=True)
            except BrokenPipeError:  # `| head` has seen enough
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                return


{source}


if __name__ == "__main__":
    main()
'''


def standalone(
    network: Node,
    task: Task,
    class_names: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    title: str,
    weights: str,
    version: str,
    max_pixels: int = MAX_PIXELS,
    centre: float = 1.0,
) -> str:
    """The text of `model.py`.

    Args:
        network: a whole network for the task.
        task: its images and classes.
        class_names: in the order of the logits.
        mean, std: of each channel, of pixels in 0 to 255.
        title: the name of the network.
        weights: name of the safetensors file beside it.
        version: version of nas.
        max_pixels: of an image file that is decoded.
        centre: share of an image's shorter side that its centre square has.
    """
    body = source(network, task.shape)
    imports = ["from __future__ import annotations", "", "import json", "import os", "import sys", "import unicodedata"]
    imports += ["from collections import OrderedDict", "from collections.abc import Iterator"]
    imports += ["from contextlib import contextmanager", "from pathlib import Path"]
    imports += [f"from typing import {'Any, BinaryIO' if 'Any' in body else 'BinaryIO'}"]
    imports += ["", "import torch", "from torch import Tensor, nn"]
    imports += ["from torch.nn import functional"] if "functional." in body else []
    return _TEMPLATE.format(
        title=harmless(title),
        size=task.image_size,
        classes=task.classes,
        channels=task.channels,
        colours={1: "grey", 3: "red, green, blue"}.get(task.channels, "in the order of the training images"),
        names=names_literal(class_names),
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        weights=weights,
        version=version,
        max_pixels=max_pixels,
        centre=float(centre),
        formats=tuple_literal(FORMATS),
        reading=sources((*PORTABLE, *PORTABLE_NAMES)),
        imports="\n".join(imports),
        source=body,
    )


def sources(functions: Iterable[Callable[..., object]]) -> str:
    """The text of functions, one below the other."""
    return "\n\n".join(inspect.getsource(function) for function in functions).rstrip()


def harmless(text: str) -> str:
    """A text made safe for a docstring or a comment: one line without quotes or escapes.

    >>> harmless('a "quote", ' + chr(10) + 'import os')
    "a 'quote', import os"
    """
    plain = " ".join(text.split()).replace("\\", "/").replace('"', "'")
    return "".join(each for each in plain if each.isprintable())[:200]


def names_literal(class_names: Sequence[str]) -> str:
    """Class names as a literal."""
    if list(class_names) == [str(number) for number in range(len(class_names))]:
        return f"tuple(str(number) for number in range({len(class_names)}))"
    return tuple_literal(class_names)


def tuple_literal(names: Sequence[str | bytes]) -> str:
    """Texts as a literal, several per line."""
    lines, line = [], ""
    for name in names:
        word = f"{name!r}, "
        if line and len(line) + len(word) > 106:
            lines.append(line.rstrip())
            line = ""
        line += word
    lines.append(line.rstrip())
    return "\n    ".join(["(", *lines]) + "\n)"
