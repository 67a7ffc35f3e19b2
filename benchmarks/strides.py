"""Which strides find better networks on small images, for the same budget: those of the papers, or with some left out?

    python -m benchmarks.strides --data cifar10-small.npz [--sizes 32,64,96] [--networks 8] [--band 20M..24M]
    python -m benchmarks.strides --data photographs

At each image size networks are drawn uniformly from a space under both rules (`--strides published|small-images`),
within one band of MACs counted at that size, and each is trained shortly in the same way. Prints the mean and the best
accuracy of both, and the seconds of a training: fewer strides make every layer dearer, so that for the same MACs their
networks are narrower. A file's images are resized, and have no more detail when they are enlarged; `photographs` are
made here, with detail at each size (`benchmarks.recipes`).
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

from benchmarks.recipes import photographs
from estimators import ShortTraining, TrialContext, load_data
from searchspaces import Budget, load_space
from searchspaces.strides import RULES, with_strides


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10-small.npz")
    parser.add_argument("--space", default="resnet")
    parser.add_argument("--sizes", default="32,64,96")
    parser.add_argument("--band", default="20M..24M")
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--images", type=int, default=2000, help="of the data, for training and validation")
    parser.add_argument("--epochs", type=int, default=6)
    given = parser.parse_args()
    whole = None if given.data == "photographs" else load_data(given.data)
    print(f"{given.space} at {given.band} MACs, {given.images:,} images of {given.data}, {given.epochs} epochs")
    print(f"{'size':>6} {'strides':14} {'mean':>14} {'best':>6} {'s':>6}")
    for size in map(int, given.sizes.split(",")):
        data = photographs(given.images, size) if whole is None else whole.resized(size)
        training = ShortTraining(
            data,
            epochs=given.epochs,
            data_fraction=min(1.0, given.images / len(data.labels)),
            width=1.0,
            depth=1.0,
            device="cpu",
        )
        means: dict[str, list[float]] = {}
        for rule in RULES:
            feasible = with_strides(load_space(given.space), rule).under(Budget.parse(given.band), data.task)
            found = [
                training.estimate(feasible.sample(np.random.default_rng(seed)), TrialContext(seed, "cpu"))
                for seed in range(given.networks)
            ]
            means[rule] = [each.accuracy for each in found]
            error = statistics.stdev(means[rule]) / given.networks**0.5
            seconds = statistics.mean(each.seconds for each in found)
            print(
                f"{size:6} {rule:14} {100 * statistics.mean(means[rule]):7.1f} ± {100 * error:.1f} "
                f"{100 * max(means[rule]):6.1f} {seconds:6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
