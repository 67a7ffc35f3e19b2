"""What trained weights are worth with few images a class: `python -m benchmarks.transfer --fashion fashion-mnist.npz`.

    python -m benchmarks.transfer --fashion fashion-mnist.npz --images 5,20,100 --seeds 3

Trains a small network (`benchmarks.recipes`) on the first half of the classes of a set (the source), and then on so
many images of each class of the other half (the target): from scratch, and from the source's weights with nothing
frozen, with the first half of its stages frozen, and with all but the last layer frozen: the regimes of transfer
learning. Each seed trains a source of its own and draws target images of its own, the same for every way. Prints test
accuracies on images of the target's classes, and the points over training from scratch, paired by seed, with
standard errors.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from benchmarks.recipes import NETWORK
from estimators import ImageData, load_data
from estimators.freezing import ALL_BUT_HEAD, middle
from estimators.recipe import make_recipe
from estimators.starting_weights import StartingWeights
from estimators.training import train

SCRATCH: Final = "from scratch"


def of_classes(data: ImageData, classes: Sequence[int], images: int, tested_on: int, seed: int) -> ImageData:
    """So many images of each of some classes, drawn at random, and so many of their test images, the first."""
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([rng.permutation(np.flatnonzero(data.labels == each))[:images] for each in classes])
    tested = np.concatenate([np.flatnonzero(data.test_labels == each)[:tested_on] for each in classes])
    place = np.searchsorted(classes, data.labels[drawn]), np.searchsorted(classes, data.test_labels[tested])
    names = [data.class_names[each] for each in classes]
    return ImageData.of(
        data.name, data.images[drawn], place[0], data.test_images[tested], place[1], names, data.task.image_size
    )


def ways(target: ImageData) -> dict[str, str | None]:
    """What is frozen in each way of starting from trained weights."""
    stage = middle(NETWORK.network(target.task), target.task.shape)
    return {"nothing frozen": None, f"frozen up to {stage}": stage, "all but the head frozen": ALL_BUT_HEAD}


def accuracies(target: ImageData, source: Path, folder: Path, seed: int, epochs: int) -> dict[str, float]:
    """The test accuracy in each way, in [0, 1]."""
    recipe = make_recipe("auto", len(target.labels), target.task.image_size, epochs=epochs)
    found = {SCRATCH: train(NETWORK, target, recipe, folder / "scratch", seed, "cpu").facts["test_accuracy"]}
    for number, (way, freeze) in enumerate(ways(target).items()):
        start = StartingWeights.read(source, NETWORK, target.task, freeze=freeze, class_names=target.class_names)
        trained = train(NETWORK, target, recipe, folder / str(number), seed, "cpu", weights=start)
        found[way] = trained.facts["test_accuracy"]
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", default="fashion-mnist.npz", help="or another .npz")
    parser.add_argument("--images", default="20", help="of each class of the target, separated by commas")
    parser.add_argument("--test-images", type=int, default=400, help="of each class")
    parser.add_argument("--source-images", type=int, default=150, help="of each class of the source")
    parser.add_argument("--source-epochs", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=14)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data, began = load_data(given.fashion, given.image_size), time.process_time()
    half = data.task.classes // 2
    counts = list(map(int, given.images.split(",")))
    done: dict[tuple[int, str], list[float]] = {}
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            source = of_classes(data, range(half), given.source_images, given.test_images, seed)
            recipe = make_recipe("auto", len(source.labels), source.task.image_size, epochs=given.source_epochs)
            trained = train(NETWORK, source, recipe, Path(folder, "source"), seed, "cpu")
            taught = trained.facts["test_accuracy"]
            print(f"seed {seed}: the source has a test accuracy of {100 * taught:.1f} % on its own classes", flush=True)
            for count in counts:
                target = of_classes(data, range(half, data.task.classes), count, given.test_images, seed)
                place = Path(folder, str(count))
                for way, found in accuracies(target, Path(folder, "source"), place, seed, given.epochs).items():
                    done.setdefault((count, way), []).append(100 * found)
                    print(f"  {count} images a class, {way}: {100 * found:.1f} %", flush=True)
    seconds = time.process_time() - began
    print(f"\n{NETWORK.words()}, {data.task.image_size} pixels, {given.seeds} seeds, {seconds:.0f} seconds of one core")
    print("| images a class | way | test accuracy, % | points over training from scratch |\n|---:|---|---:|---:|")
    for (count, way), accuracy_of in done.items():
        gains = [one - other for one, other in zip(accuracy_of, done[count, SCRATCH], strict=True)]
        print(f"| {count} | {way} | {_mean(accuracy_of)} | {'' if way == SCRATCH else _mean(gains, '+')} |")


def _mean(values: list[float], sign: str = "") -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):{sign}.1f} ± {error:.1f}"


if __name__ == "__main__":
    main()
