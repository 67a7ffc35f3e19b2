"""What the rule for the epoch whose weights a training keeps is worth: `python -m benchmarks.kept_epoch`.

    python -m benchmarks.kept_epoch --fashion fashion-mnist.npz --cifar cifar10-small.npz

Trains the small network of `benchmarks.recipes` by `auto` on sets of few images, and judges the averaged weights of
every epoch on up to 1,000 test images as well, which a training itself does not. Prints the mean test accuracy, over
seeds, of the epoch that each rule would keep: the best on the validation images, the last within one standard error of
it (`estimators.schedules.kept`), and the last of all. Then what the second gains on the first over all trainings.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Final
from unittest import mock

import numpy as np
import torch

from benchmarks.recipes import NETWORK, sets
from estimators import ImageData, training
from estimators.recipe import make_recipe
from estimators.schedules import kept

JUDGED: Final = 1000
SETS: Final = {"photographs": (40, None), "fashion-300": (40, 14), "fashion-1000": (20, 14), "digits": (12, None),
               "cifar-1000": (20, 16)}  # fmt: skip
"""Epochs, and the side of the images in pixels where it is not their own."""


def accuracies(data: ImageData, epochs: int, seed: int) -> tuple[list[float], list[float], int]:
    """Validation and test accuracies of the epochs of a training, in [0, 1], and how many images validated them."""
    tests: list[float] = []
    validate = training._Training._validate

    def and_test(self: training._Training, epoch: int, seconds: float) -> None:
        validate(self, epoch, seconds)
        judged = np.arange(min(JUDGED, len(data.test_labels)))
        tests.append(self._accuracy(data.test_images, data.test_labels, judged))

    recipe = make_recipe("auto", len(data.labels), epochs=epochs)
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(training._Training, "_validate", and_test):
        trained = training.train(NETWORK, data, recipe, Path(folder, "x"), seed, "cpu")
    return [one["val_accuracy"] for one in trained.facts["curve"]], tests, trained.facts["val_images"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", default="fashion-mnist.npz")
    parser.add_argument("--cifar", default="cifar10-small.npz")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", type=int, default=6)
    given = parser.parse_args()
    torch.set_num_threads(1)
    gains = []
    print(f"{'images':14}{'epochs':>7}{'best':>8}{'kept':>8}{'last':>8}")
    for name in given.sets.split(","):
        epochs, side = SETS[name]
        data = sets(argparse.Namespace(**{**vars(given), "sets": name, "image_size": side}))[name]
        found = []
        for seed in range(1, given.seeds + 1):
            validated, tests, count = accuracies(data, epochs, seed)
            place = kept([{"val_accuracy": each} for each in validated], count)
            found.append((tests[validated.index(max(validated))], tests[place], tests[-1]))
        gains += [100 * (one - best) for best, one, _ in found]
        means = (statistics.mean(column) for column in zip(*found, strict=True))
        print(f"{name:14}{epochs:7}" + "".join(f"{100 * each:8.1f}" for each in means), flush=True)
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    print(f"kept gains {statistics.mean(gains):+.2f} ± {error:.2f} points on best, over {len(gains)} trainings")


if __name__ == "__main__":
    main()
