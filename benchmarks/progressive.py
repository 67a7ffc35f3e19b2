"""What progressive learning saves at equal accuracy: `python -m benchmarks.progressive`.

    python -m benchmarks.progressive --data fashion-mnist.npz --images 2000 --network resnet20 --epochs 20

Trains one network by one recipe with all of its images' pixels from the first epoch on, for E epochs; and by the same
recipe with four stages of growing images and augmentation (EfficientNetV2, arXiv:2104.00298, sec. 4), for as many
epochs and for more. Trainings take turns, seed after seed, so that all of them see the machine alike. Prints test
accuracy and processor seconds to the last step, both with the standard error over seeds, and the seconds at which the
stages reach the accuracy of the whole, interpolated between the two trainings around it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.recipes import few
from estimators import load_data
from estimators.recipe import make_recipe
from estimators.training import train
from searchspaces import Buildable, classic

STAGES = 4


def within(values: list[float]) -> str:
    """A mean and its standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):6.2f} ± {error:4.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist.npz")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--recipe", default="resnet")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--longer", type=float, nargs="+", default=[1.0, 1.25, 1.5], help="shares of the epochs")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = few(load_data(given.data), given.images)
    published = classic(given.network)
    network: Buildable = published.architecture or published
    plans = [(0, given.epochs), *((STAGES, round(given.epochs * share)) for share in given.longer)]
    found: dict[tuple[int, int], list[tuple[float, float]]] = {plan: [] for plan in plans}
    print(f"{data.name}, {given.network}, recipe {given.recipe}, batch {given.batch}, {given.seeds} seeds")
    for seed in range(given.seeds):
        for stages, epochs in plans:
            recipe = make_recipe(given.recipe, epochs=epochs, batch=given.batch, progressive=stages)
            times = [time.process_time()]
            with tempfile.TemporaryDirectory() as folder:
                facts = train(
                    network, data, recipe, Path(folder, "x"), seed, "cpu",
                    on_moment=lambda _: times.append(time.process_time()),  # noqa: B023 - called within this turn
                ).facts  # fmt: skip
            found[stages, epochs].append((100 * facts["test_accuracy"], times[-1] - times[0]))
            accuracy, seconds = found[stages, epochs][-1]
            print(f"  seed {seed}  stages {stages}  epochs {epochs:3}  {accuracy:.2f} %  {seconds:.1f} s", flush=True)
    print(f"\n{'stages':>6} {'epochs':>6}  {'test accuracy, %':17} {'processor seconds':17}")
    means = []
    for (stages, epochs), rows in found.items():
        accuracies, seconds_of = map(list, zip(*rows, strict=True))
        print(f"{stages:6} {epochs:6}  {within(accuracies):17} {within(seconds_of):17}")
        means.append((statistics.mean(accuracies), statistics.mean(seconds_of)))
    (goal, whole), *staged = means
    for (low, sooner), (high, later) in pairwise(sorted(staged)):
        if low <= goal <= high:
            seconds = sooner + (later - sooner) * (goal - low) / (high - low)
            print(f"at {goal:.2f} %: {seconds:.1f} for {whole:.1f} seconds, {100 * (1 - seconds / whole):.0f} % saved")
            return
    print(f"the stages reach {max(staged)[0]:.2f} %, not around the {goal:.2f} % of the whole: nothing to interpolate")


if __name__ == "__main__":
    main()
