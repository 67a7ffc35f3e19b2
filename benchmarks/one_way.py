"""Do predict, evaluate, an exported model.py and ONNX give one class for each of 500 image files?

    python -m benchmarks.one_way [--files 500]

The files are of ten modes and nine orientations. The network has seen noise, so that a small difference of pixels can
change its class. `predict` is what the others are compared with; `evaluate` is told that its classes are right, and
must agree in all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.cli import main as command_line
from searchspaces import Scale, Scaled, Task, space_named

CLASSES = tuple(f"kind {letter * 2}" for letter in "abcdefgh")
SIZE = 32


def nas(*words: object) -> Any:
    """What a command prints with --json."""
    out = io.StringIO()
    code: Any = None
    with contextlib.redirect_stdout(out):
        try:
            command_line([*map(str, words), "--json"])
        except SystemExit as ended:
            code = ended.code
    assert not code, words
    return json.loads(out.getvalue())


def made_network(at: Path, channels: int = 3, centre: float = 1.0) -> Path:
    """A network trained for one epoch on noise, with many classes that are all about as likely.

    Args:
        at: a folder for its files.
        channels: of the images.
        centre: share of the shorter side that the centre square of an image file has.
    """
    base = space_named("mbconv").references["mobilenetv2_100"]
    task = Task(SIZE, channels, len(CLASSES))
    (at / "network.json").write_text(Scaled(base, Scale(0.25, 0.3), task).to_json())
    images = np.random.default_rng(0).integers(0, 256, (160, SIZE, SIZE, channels), dtype=np.uint8)
    labels = np.arange(160) % len(CLASSES)
    np.savez(at / "noise.npz", train_images=images, train_labels=labels, class_names=np.array(CLASSES))
    out = at / "trained"
    nas("train", at / "network.json", "--data", at / "noise.npz", "--epochs", 1, "--out", out, "--quiet")
    facts = json.loads((out / "training.json").read_text())
    facts["data"]["centre"] = centre  # which arrays do not have
    (out / "training.json").write_text(json.dumps(facts))
    return out


def disagreements(network: Path, files: Sequence[Path]) -> dict[str, int]:
    """For each way from a file to a class, the number of files whose class is not that of `nas predict`."""
    import onnxruntime

    from estimators.image_files import read_images

    said = nas("predict", network, *files, "--top", 1)["images"]
    predicted = [one["classes"][0]["class"] for one in said]
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        for file, label in zip(files, predicted, strict=True):
            (at / "set" / label).mkdir(parents=True, exist_ok=True)
            (at / "set" / label / file.name).write_bytes(file.read_bytes())
        evaluated = nas("evaluate", network, "--data", at / "set")
        wrong = round(evaluated["images"] * (1 - evaluated["accuracy"])) + len(files) - evaluated["images"]
        nas("export", network, "--to", "onnx,python", "--out", at / "out")
        done = subprocess.run([sys.executable, at / "out" / "model.py", *files], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        lines = [line.rpartition(": ")[2] for line in done.stdout.splitlines()]
        standalone = [not line.startswith(label) for line, label in zip(lines, predicted, strict=True)]
        session = onnxruntime.InferenceSession(at / "out" / "model.onnx", providers=["CPUExecutionProvider"])
        channels = session.get_inputs()[0].shape[3]
        centre = json.loads((network / "training.json").read_text())["data"]["centre"]
        logits = session.run(["logits"], {"pixels": read_images(files, SIZE, channels, centre=centre)[0]})[0]
        onnx = [CLASSES[each] != label for each, label in zip(logits.argmax(1), predicted, strict=True)]
    return {"evaluate": wrong, "model.py": sum(standalone), "onnx": sum(onnx)}


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from photographs import of_every_mode

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    count = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        files = of_every_mode(at / "files", count)
        for channels, centre, colours in ((3, 1.0, "RGB"), (1, 1.0, "grey"), (3, 0.875, "RGB, centre 0.875,")):
            (at / colours).mkdir()
            found = disagreements(made_network(at / colours, channels, centre), files)
            told = ", ".join(f"{name} {number}" for name, number in found.items())
            print(f"{colours} network: classes that differ from predict's, of {count}: {told}")


if __name__ == "__main__":
    main()
