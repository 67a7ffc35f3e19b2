"""One training from image files over two Ray nodes, beside the same on one node: `python -m benchmarks.training_nodes`.

    python -m benchmarks.training_nodes [--images 240] [--epochs 2] [--network resnet20]

Makes JPEGs of 160 pixels in four classes and trains a network on crops of them with two workers: on two nodes of one
worker each, on one node with both, and in one process. The law: two workers end with the same weights to the last bit
wherever they are. The table has the seconds, which worker is on which node, and the test accuracy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from benchmarks.ray_nodes import Nodes
from benchmarks.recipes import photographs

WAYS = {"two nodes, a worker each": 2, "one node, two workers": 2, "one process": 1}


def make(folder: Path, images: int) -> None:
    """JPEGs in `train/CLASS` and `test/CLASS`."""
    data = photographs(images, 160)
    for part, pixels, labels in (("train", data.images, data.labels), ("test", data.test_images, data.test_labels)):
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            place = folder / part / f"class{label}" / f"{number}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place)


def trained(command: list[str], out: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Train into a folder, and say what came out.

    Raises:
        RuntimeError: the training failed; with what it printed.
    """
    began = time.monotonic()
    ran = subprocess.run([*command, "--out", str(out)], env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr[-2000:])
    facts = json.loads((out / "training.json").read_text())
    assert facts["data"]["in_files"], "the images were kept in memory"
    return {**facts, "seconds": time.monotonic() - began}


def main() -> None:
    """Print the table, and hold the law."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--network", default="resnet20")
    given = parser.parse_args()
    table = Table("trained on", "workers", "seconds", "test accuracy", box=None)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder / "photographs", given.images)
        command = [sys.executable, "-m", "nas", "train", given.network, "--data", str(folder / "photographs")]
        command += ["--image-size", "96", "--epochs", str(given.epochs), "--set", "batch=32", "--json", "--quiet"]
        weights = {}
        for number, (way, workers) in enumerate(WAYS.items()):
            out, options = folder / str(number), ["--ray", "--workers", str(workers)] if workers > 1 else []
            if number:
                facts = trained([*command, *options], out, dict(os.environ))
            else:
                with Nodes(folder / "log") as nodes:
                    nodes.head()
                    for name in ("one", "two"):
                        nodes.worker(name)
                    options[1:1] = [nodes.address]
                    facts = trained([*command, *options], out, nodes.environment)
            weights[way] = load_file(out / "last.safetensors")
            table.add_row(way, str(facts.get("workers", 1)), f"{facts['seconds']:.0f}", f"{facts['test_accuracy']:.2%}")
        Console().print(table)
        both, one, _ = weights.values()
        same = both.keys() == one.keys() and all(torch.equal(both[name], one[name]) for name in both)
        print(f"two workers end with the same weights on two nodes as on one: {'yes' if same else 'NO'}")
        if not same:
            sys.exit(1)


if __name__ == "__main__":
    main()
