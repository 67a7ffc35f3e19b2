"""The network that a search finds, against those of the literature at equal MACs and with the same recipe.

    python -m benchmarks.fair_comparison --shared FOLDER --out fair

On Fashion-MNIST and on ten thousand images of CIFAR-10 it searches a space under a band of 3 % around a number of MACs;
scales EfficientNet-B0, MobileNetV2 and ResNet-20 by width and depth into that band; draws three networks of the space
at random, which tell what the search adds to it; trains all of them with the code of `nas train`, three seeds each; and
prints the accuracy on the test part, which nothing was chosen on. It goes on where it stopped, and `docs/comparison.md`
has what came out.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from estimators import ImageData, load_data
from estimators.recipe import make_recipe
from estimators.trained import Network
from estimators.training import train
from nas import Architecture, Study, Task, classic
from nas.api import search
from searchspaces import Budget, Scale, Scaled, load_space

BAND = 0.03
SEEDS = (0, 1, 2)
DATA = {"fashion-mnist": 5e6, "cifar10-small": 6e6}
"""And the MACs on each: few, and such that all of the classics have a scale within the band."""
CLASSICS = ("efficientnet_b0", "mobilenetv2_100", "resnet20")
"""The last is the ResNet for small images (He et al. 2016, arXiv:1512.03385, table 6); ResNet-18 has no scale of so few
MACs on either."""

RECIPE = {"batch": 64, "mixup": 0.0, "cutmix": 0.0, "randaugment_operations": 1, "randaugment_magnitude": 3.0}
"""Where the training differs from `nas train --recipe sgd`: what suits a few epochs of a small network."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder of fashion-mnist.npz and cifar10-small.npz")
    parser.add_argument("--out", type=Path, default=Path("fair"), help="where runs and trainings are kept")
    parser.add_argument("--images", type=int, default=6_000, help="images of the search part that are trained on")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--trials", type=int, default=80, help="of each search, confirmations included")
    parser.add_argument("--confirm", type=int, default=4, help="leaders that each search trains again")
    parser.add_argument("--space", default="examples/few_macs.py:space")
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    given = parser.parse_args()
    for name in given.data:
        data = load_data(str(given.shared / f"{name}.npz"))
        networks: dict[str, Sequence[Network]] = {"found": [found(data, name, given)] * len(SEEDS)}
        networks |= {each: [scaled_to(each, data.task, DATA[name])] * len(SEEDS) for each in CLASSICS}
        networks["three random ones of the space"] = random_ones(data.task, name, given)
        print(f"\n{name}, {data.task}, {DATA[name] / 1e6:g}M MACs within {BAND:.0%}", flush=True)
        accuracies = {
            each: [accuracy(network, each, data, name, seed, given) for seed, network in zip(SEEDS, them, strict=True)]
            for each, them in networks.items()
        }
        print(table(networks, accuracies, data.task), flush=True)


def found(data: ImageData, name: str, given: argparse.Namespace) -> Architecture:
    """The best network of a search that saw the search part alone, with the defaults of `nas search`."""
    run = f"{name}-search"
    began = time.process_time()
    study: Study = search(
        given.space,
        budget(name),
        str(given.shared / f"{name}.npz"),
        task=data.task,
        trials=given.trials,
        confirm=given.confirm,
        name=run,
        out=given.out,
    )
    best = study.best.architecture
    print(
        f"{run}: {len(study.trials)} trials, {time.process_time() - began:.0f} s of one core: {best.words()}",
        flush=True,
    )
    return best


def budget(name: str) -> str:
    """The band around a number of MACs, as a person types it."""
    return f"{(1 - BAND) * DATA[name] / 1e6:g}M..{(1 + BAND) * DATA[name] / 1e6:g}M"


def random_ones(task: Task, name: str, given: argparse.Namespace) -> list[Network]:
    """Networks of the space that fit, one a seed: what the space is worth without a search."""
    feasible, rng = load_space(given.space).under(Budget.parse(budget(name)), task), np.random.default_rng(1)
    return [feasible.sample(rng) for _ in SEEDS]


def scaled_to(name: str, task: Task, macs: float) -> Scaled:
    """A classic scaled by width and depth into the band: of all such, the one with most parameters.

    Channels are multiples of 8, at least 8, so that few scales fall into a narrow band, and some that do have lost
    their shape; those with most parameters kept it best.
    """
    architecture = classic(name).architecture
    assert architecture is not None
    inside = []
    for width in np.arange(0.05, 1.5, 0.01):
        for depth in np.arange(0.05, 1.5, 0.05):
            scale = Scale(round(float(width), 2), round(float(depth), 2))
            cost = architecture.cost(task, scale)
            if abs(cost.macs / macs - 1) <= BAND:
                inside.append((cost.params, scale.width, scale.depth))
    if not inside:
        raise SystemExit(f"{name} has no scale of {macs / 1e6:g}M MACs on {task}")
    _, width, depth = max(inside)
    return Scaled(architecture, Scale(width, depth), task)


def accuracy(network: Network, what: str, data: ImageData, name: str, seed: int, given: argparse.Namespace) -> float:
    """Accuracy on the test part, in [0, 1], of one training, which is done only once."""
    fraction = min(1.0, given.images / len(data.labels))
    recipe = make_recipe("sgd", epochs=given.epochs, data_fraction=fraction, **RECIPE)
    began = time.process_time()
    trained = train(network, data, recipe, given.out / f"{name}-{what.replace(' ', '-')}-{seed}", seed=seed)
    facts = trained.facts
    print(
        f"{name} {what} seed {seed}: test {facts['test_accuracy']:.4f}, validation {facts['val_accuracy']:.4f}, "
        f"{time.process_time() - began:.0f} s of one core now",
        flush=True,
    )
    return float(facts["test_accuracy"])


def table(networks: dict[str, Sequence[Network]], accuracies: dict[str, list[float]], task: Task) -> str:
    """The result, as Markdown; the standard error is that of the mean over the seeds."""
    rows = ["| network | MACs | parameters | test accuracy | seeds |", "|---|---|---|---|---|"]
    for name, them in sorted(networks.items(), key=lambda pair: -statistics.mean(accuracies[pair[0]])):
        costs, network, several = [each.cost(task) for each in them], them[0], accuracies[name]
        macs, params = (statistics.mean(getattr(each, what) for each in costs) for what in ("macs", "params"))
        factors = (
            f" x width {network.scale.width:g}, depth {network.scale.depth:g}" if isinstance(network, Scaled) else ""
        )
        error = statistics.stdev(several) / math.sqrt(len(several))
        rows.append(
            f"| {name}{factors} | {macs / 1e6:.2f}M | {params / 1e3:.0f}K "
            f"| {100 * statistics.mean(several):.2f} ± {100 * error:.2f} % "
            f"| {' '.join(f'{100 * each:.2f}' for each in several)} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
