"""Whether the recipe that `nas train` fits to the number of images is near the best: `python -m benchmarks.recipes`.

    python -m benchmarks.recipes --fashion fashion-mnist.npz --sets digits,photographs,fashion-500 [--results FILE]

Trains one small network (MobileNetV2, a quarter wide and half deep) on sets of several sizes: by `auto`, by `sgd` as it
is in papers, and by a grid around `auto`: half and twice its batch, and four strengths of augmentation. Prints the test
accuracy and its standard error over seeds, and how far `auto` is behind the best of the grid, seed by seed. Trainings
that are in the file of results are not done again. Photographs are made here: four classes of patterns, 75 each, of
different colours, sizes and places.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from estimators import ImageData, load_data
from estimators.recipe import Recipe, make_recipe
from estimators.training import train
from searchspaces import Scale, Scaled, Task, space_named

STRENGTHS: Final[dict[str, dict[str, Any]]] = {
    "gentle": {"randaugment_operations": 0, "mixup": 0.0, "cutmix": 0.0, "drop_path": 0.0},
    "light": {"randaugment_operations": 1, "randaugment_magnitude": 5.0, "mixup": 0.0, "cutmix": 0.0, "drop_path": 0.0},
    "half": {"randaugment_operations": 1, "randaugment_magnitude": 5.0, "mix": 0.25, "drop_path": 0.1},
    "full": {},
}
NETWORK = Scaled(space_named("mbconv").references["mobilenetv2_100"], Scale(width=0.25, depth=0.5), Task(224))


def photographs(images: int = 300, side: int = 32) -> ImageData:
    """Stripes, rings, spots and squares in noise, of random colours and sizes."""
    rng = np.random.default_rng(7)
    down, across = np.mgrid[:side, :side] / side
    pixels = np.empty((images, side, side, 3), np.uint8)
    for number in range(images):
        x, y = across - rng.uniform(0.3, 0.7), down - rng.uniform(0.3, 0.7)
        size, phase = rng.uniform(0.12, 0.3), rng.uniform(0, 6)
        mask = (
            np.sin(6.28 * x / size + phase) > 0,
            np.sin(6.28 * np.hypot(x, y) / size + phase) > 0,
            (np.sin(6.28 * x / size + phase) > 0.3) & (np.sin(6.28 * y / size) > 0.3),
            np.maximum(abs(x), abs(y)) < size,
        )[number % 4]
        front, back = rng.uniform(0, 255, (2, 3))
        picture = np.where(mask[..., None], front, back) + rng.normal(0, 35, (side, side, 3))
        pixels[number] = picture.clip(0, 255)
    return ImageData.of("photographs", pixels, np.arange(images) % 4)


def few(data: ImageData, images: int) -> ImageData:
    """The first images of a set, and all of its test images."""
    return ImageData.of(f"{data.name} {images}", data.images[:images], data.labels[:images], data.test_images,
                        data.test_labels, data.class_names)  # fmt: skip


def sets(given: argparse.Namespace) -> dict[str, ImageData]:
    """The sets that were asked for."""
    found: dict[str, ImageData] = {}
    for name in given.sets.split(","):
        kind, _, images = name.partition("-")
        if kind == "digits":
            found[name] = load_data("digits")
        elif kind == "photographs":
            found[name] = photographs()
        else:
            whole = load_data(given.fashion if kind == "fashion" else given.cifar)
            found[name] = few(whole, int(images)) if images else whole
    return {name: data.resized(given.image_size) if given.image_size else data for name, data in found.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", default="fashion-mnist.npz")
    parser.add_argument("--cifar", default="cifar10-small.npz")
    parser.add_argument("--sets", default="digits,photographs,fashion-500,fashion-5000,cifar")
    parser.add_argument("--image-size", type=int, help="pixels a side; the images' own by default")
    parser.add_argument("--strengths", default=",".join(STRENGTHS), help="of augmentation, separated by commas")
    parser.add_argument("--batches", help="separated by commas; that of auto, half of it and twice as much by default")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--results", type=Path, help="where the accuracy of each training is kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.epochs} epochs, {given.seeds} seeds, {NETWORK.words()}")
    for name, data in sets(given).items():
        fitted = make_recipe("auto", len(data.labels), epochs=given.epochs)
        print(
            f"\n{name}: {len(data.labels):,} images, {data.task}; auto: batch {fitted.batch}, averages {fitted.ema:g}"
        )
        ways = {"auto": fitted, "sgd": make_recipe("sgd", epochs=given.epochs), **grid(fitted, given)}
        done: dict[str, list[float]] = {}
        for way, recipe in ways.items():
            done[way] = [accuracy(data, recipe, seed, given.results) for seed in range(given.seeds)]
            print(f"  {way:20} {mean(done[way])}", flush=True)
        best = max((way for way in done if way.startswith("batch")), key=lambda way: statistics.mean(done[way]))
        behind = [one - other for one, other in zip(done[best], done["auto"], strict=True)]
        print(f"  auto is {mean(behind)} points behind the best of the grid, {best}", flush=True)


def grid(fitted: Recipe, given: argparse.Namespace) -> dict[str, Recipe]:
    """The recipes around `auto`, all with its averaging."""
    batches = [int(each) for each in given.batches.split(",")] if given.batches else []
    return {
        f"batch {batch}, {strength}": make_recipe(
            "sgd", **{**STRENGTHS[strength], "batch": batch, "ema": fitted.ema, "epochs": given.epochs}
        )
        for batch in batches or (fitted.batch, max(8, fitted.batch // 2), 2 * fitted.batch)
        for strength in given.strengths.split(",")
    }


@functools.cache
def accuracy(data: ImageData, recipe: Recipe, seed: int, results: Path | None) -> float:
    """The test accuracy of one training, in [0, 1]."""
    what = {"images": data.name, "task": str(data.task), "recipe": recipe.describe(), "seed": seed}
    for line in results.read_text().splitlines() if results and results.exists() else ():
        if (found := json.loads(line))["what"] == what:
            return float(found["accuracy"])
    with tempfile.TemporaryDirectory() as folder:
        found = float(train(NETWORK, data, recipe, Path(folder, "x"), seed, "cpu").facts["test_accuracy"])
    if results:
        with results.open("a") as file:
            file.write(json.dumps({"what": what, "accuracy": found}) + "\n")
    return found


def mean(shares: Sequence[float]) -> str:
    """Mean and its standard error, in percent."""
    error = statistics.stdev(shares) / len(shares) ** 0.5 if len(shares) > 1 else float("nan")
    return f"{100 * statistics.mean(shares):5.1f} ± {100 * error:.1f}"


if __name__ == "__main__":
    main()
