"""Do predict, evaluate, an exported model.py and the predict.py of an ONNX file agree on each of 500 image files?

    python -m benchmarks.one_way [--files 500]

The files are of eleven modes and nine orientations. The network has seen noise, and its classes are about equally
likely, so that a small difference of pixels can change its class. `predict` is what the others are compared with;
`evaluate` is told that its classes are right, and must agree in all of them. predict.py runs where torch and nas cannot
be imported, and its probabilities are compared too.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from estimators.trained import Trained
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


def made_network(at: Path, channels: int = 3, centre: float = 1.0, photographs: Sequence[Path] = ()) -> Path:
    """A network trained for one epoch on noise.

    Args:
        at: a folder for its files.
        channels: of the images.
        centre: share of the shorter side that the centre square of an image file has.
        photographs: files, on which its classes are made about equally likely; else it tells hardly any apart.
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
    if photographs:
        _spread(out, photographs)
    return out


def _spread(folder: Path, files: Sequence[Path]) -> None:
    """Scale the last layer so that each logit has mean 0 and standard deviation 1 over the files."""
    from safetensors.torch import load_file, save_file
    from torch import from_numpy

    from estimators.image_files import read_images

    trained = Trained.open(folder)
    centre = trained.facts["data"]["centre"]
    logits = trained.logits(read_images(files, SIZE, trained.task.channels, centre=centre)[0])  # (files, classes)
    weights = load_file(folder / "best.safetensors")
    (matrix,) = (name for name, tensor in weights.items() if tensor.ndim == 2)  # all others are of convolutions
    bias = matrix.removesuffix("weight") + "bias"
    mean, deviation = from_numpy(logits.mean(0)), from_numpy(logits.std(0))
    weights[bias] = (weights[bias] - mean) / deviation
    weights[matrix] = weights[matrix] / deviation[:, None]
    save_file(weights, folder / "best.safetensors")


ALONE = """
import sys
for name in ("torch", "nas", "searchspaces", "estimators", "strategies", "studies", "onnx", "torchvision", "scipy"):
    sys.modules[name] = None
import runpy
script, *sys.argv = sys.argv[1:]
sys.argv.insert(0, script)
runpy.run_path(script, run_name="__main__")
"""
"""Runs a script where these cannot be imported."""


def run_alone(script: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run an exported predict.py where neither torch nor nas can be imported."""
    return subprocess.run(
        [sys.executable, "-I", "-c", ALONE, script, *map(str, words)], capture_output=True, text=True, check=False
    )


def disagreements(network: Path, files: Sequence[Path]) -> dict[str, int]:
    """For each way from a file to a class, the number of files whose class is not that of `nas predict`.

    For predict.py also the number of files for which its probability differs by more than 0.00001.
    """
    said = nas("predict", network, *files, "--top", 1)["images"]
    predicted = [one["classes"][0]["class"] for one in said]
    shares = [one["classes"][0]["probability"] for one in said]
    assert len(set(predicted)) == len(CLASSES), "the network does not tell the files apart"
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
        done = run_alone(at / "out" / "predict.py", *files, "--csv", at / "classes.csv")
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader((at / "classes.csv").read_text().splitlines()))
        onnx = [row["class"] != label for row, label in zip(rows, predicted, strict=True)]
        off = [abs(float(row["probability"]) - share) > 1e-5 for row, share in zip(rows, shares, strict=True)]
    found = {"evaluate": wrong, "model.py": sum(standalone), "predict.py": sum(onnx)}
    return {**found, "probabilities of predict.py": sum(off)}


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
            found = disagreements(made_network(at / colours, channels, centre, files), files)
            told = ", ".join(f"{name} {number}" for name, number in found.items())
            print(f"{colours} network: answers that differ from predict's, of {count}: {told}")


if __name__ == "__main__":
    main()
