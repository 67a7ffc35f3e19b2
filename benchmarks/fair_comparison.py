"""The networks that searches find, against those of the literature at equal MACs and with the same recipe.

    python -m benchmarks.fair_comparison --shared FOLDER --out fair [--seeds 5] [--macs 3 6 12] [--image-size 16]
                                         [--strategies guided local-search] [--data cifar10-small]

On Fashion-MNIST and on ten thousand images of CIFAR-10 it searches a space under a band of 3 % around a number of MACs,
anew for each seed; scales EfficientNet-B0, MobileNetV2 and ResNet-20 by width and depth into that band, those made for
large images both with the strides that suit small ones and with their published ones; draws networks of the space at
random, which tell what the search adds to it; trains all of them with the code of `nas train`, one
training a seed; and prints the accuracy on the test part, which nothing was chosen on, and how far the others are from
the first strategy's, seed by seed. It goes on where it stopped, and `docs/comparison.md` has what came out.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from estimators import ImageData, load_data
from estimators.recipe import make_recipe
from estimators.training import train
from nas import Architecture, Study, Task, classic
from nas.api import search
from searchspaces import Budget, Buildable, Scale, Scaled, load_space
from searchspaces.strides import published, strides_left_out

BAND = 0.03
DATA = {"fashion-mnist": 5e6, "cifar10-small": 6e6}
"""And the MACs on each: few, and such that all of the classics have a scale within the band."""
CLASSICS = ("efficientnet_b0", "mobilenetv2_100", "resnet20")
"""The last is the ResNet for small images (He et al. 2016, arXiv:1512.03385, table 6); ResNet-18 has no scale of so few
MACs on either. The first two are also trained with their published strides, by which they halve small images down to a
pixel, and are several times as wide for the same MACs."""
PUBLISHED = ", published strides"
RANDOM = "random ones of the space"

RECIPE: dict[str, Any] = {
    "batch": 64, "mixup": 0.0, "cutmix": 0.0, "randaugment_operations": 1, "randaugment_magnitude": 3.0,
}  # fmt: skip
"""Where the training differs from `nas train --recipe sgd`: what suits a few epochs of a small network."""


def main() -> None:
    """Compare on each data set and at each number of MACs, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder of fashion-mnist.npz and cifar10-small.npz")
    parser.add_argument("--out", type=Path, default=Path("fair"), help="where runs and trainings are kept")
    parser.add_argument("--images", type=int, default=6_000, help="images of the search part that are trained on")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--trials", type=int, default=80, help="of each search, confirmations included")
    parser.add_argument("--seeds", type=int, default=3, help="searches of each strategy, and trainings of each network")
    parser.add_argument("--strategies", nargs="*", default=["guided"])
    parser.add_argument("--macs", nargs="*", type=float, help="in millions; in place of what each data set has")
    parser.add_argument("--image-size", type=int, help="pixels a side; the images' own by default")
    parser.add_argument("--space", default="examples/few_macs.py:space")
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    given = parser.parse_args()
    for name in given.data:
        for macs in given.macs or [DATA[name] / 1e6]:
            compare(name, 1e6 * macs, given)


def compare(name: str, macs: float, given: argparse.Namespace) -> None:
    """Search and train one seed after another, so that whatever is done when it is cut can be compared."""
    data = load_data(str(given.shared / f"{name}.npz"), given.image_size)
    print(f"\n{name}, {data.task}, {macs / 1e6:g}M MACs within {BAND:.0%}", flush=True)
    classics = classics_at(data.task, macs)
    drawn = random_ones(data.task, macs, given)
    networks: dict[str, list[Buildable]] = {}
    accuracies: dict[str, list[float]] = {}
    for seed in range(given.seeds):
        them: dict[str, Buildable] = {
            f"found by {each}": found(data, name, macs, each, seed, given) for each in given.strategies
        }
        for what, network in {**them, **classics, RANDOM: drawn[seed]}.items():
            networks.setdefault(what, []).append(network)
            share = accuracy(network, what, data, run_name(name, macs, given), seed, given)
            accuracies.setdefault(what, []).append(share)
        if seed:
            print(f"\n{table(networks, accuracies, data.task)}\n", flush=True)


def found(data: ImageData, name: str, macs: float, strategy: str, seed: int, given: argparse.Namespace) -> Architecture:
    """The best network of a search that saw the search part alone, with the defaults of `nas search`."""
    run = f"{run_name(name, macs, given)}-{strategy}-{seed}"
    began = time.process_time()
    study: Study = search(
        given.space,
        budget(macs),
        str(given.shared / f"{name}.npz"),
        task=data.task,
        strategy=strategy,
        trials=given.trials,
        seed=seed,
        name=run,
        out=given.out,
    )
    best = study.best.architecture
    print(
        f"{run}: {len(study.trials)} trials, {time.process_time() - began:.0f} s of one core: {best.words()}",
        flush=True,
    )
    return best


def run_name(name: str, macs: float, given: argparse.Namespace) -> str:
    """What the folders of a comparison begin with."""
    size = f"-{given.image_size}px" if given.image_size else ""
    return f"{name}{size}-{macs / 1e6:g}M"


def budget(macs: float) -> str:
    """The band around a number of MACs, as a person types it."""
    return f"{(1 - BAND) * macs / 1e6:g}M..{(1 + BAND) * macs / 1e6:g}M"


def random_ones(task: Task, macs: float, given: argparse.Namespace) -> list[Architecture]:
    """Networks of the space that fit, one a seed: what the space is worth without a search."""
    feasible, rng = load_space(given.space).under(Budget.parse(budget(macs)), task), np.random.default_rng(1)
    return [feasible.sample(rng) for _ in range(given.seeds)]


def classics_at(task: Task, macs: float) -> dict[str, Buildable]:
    """The classics of about so many MACs."""
    found: dict[str, Buildable] = {}
    for name in CLASSICS:
        architecture = classic(name).architecture
        assert architecture is not None
        found[name] = scaled_to(architecture, task, macs)
        if strides_left_out(architecture.space, task):
            found[name + PUBLISHED] = scaled_to(published(architecture), task, macs)
    return found


def scaled_to(architecture: Architecture, task: Task, macs: float) -> Scaled:
    """A network scaled by width and depth into the band: of all such, the one with most parameters.

    Channels are multiples of 8, at least 8, so that few scales fall into a narrow band, and some that do have lost
    their shape; those with most parameters kept it best.
    """
    inside = []
    for width in np.arange(0.05, 1.5, 0.01):
        for depth in np.arange(0.05, 1.5, 0.05):
            scale = Scale(round(float(width), 2), round(float(depth), 2))
            cost = architecture.cost(task, scale)
            if abs(cost.macs / macs - 1) <= BAND:
                inside.append((cost.params, scale.width, scale.depth))
    if not inside:
        raise SystemExit(f"{architecture.words()} has no scale of {macs / 1e6:g}M MACs on {task}")
    _, width, depth = max(inside)
    return Scaled(architecture, Scale(width, depth), task)


def accuracy(network: Buildable, what: str, data: ImageData, name: str, seed: int, given: argparse.Namespace) -> float:
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


def table(networks: dict[str, list[Buildable]], accuracies: dict[str, list[float]], task: Task) -> str:
    """The result, as Markdown: means over seeds with standard errors, and differences from the first, seed by seed."""
    first = next(iter(networks))
    rows = [
        f"| network | MACs | parameters | test accuracy | points from {first} | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for name, them in sorted(networks.items(), key=lambda pair: -statistics.mean(accuracies[pair[0]])):
        costs, network, several = [each.cost(task) for each in them], them[0], accuracies[name]
        macs, params = (statistics.mean(getattr(each, what) for each in costs) for what in ("macs", "params"))
        factors = (
            f" x width {network.scale.width:g}, depth {network.scale.depth:g}" if isinstance(network, Scaled) else ""
        )
        behind = [one - other for one, other in zip(several, accuracies[first], strict=True)]
        rows.append(
            f"| {name}{factors} | {macs / 1e6:.2f}M | {params / 1e3:.0f}K | {mean(several, '')} % "
            f"| {'' if name == first else mean(behind, '+')} "
            f"| {' '.join(f'{100 * each:.2f}' for each in several)} |"
        )
    return "\n".join(rows)


def mean(shares: Sequence[float], sign: str) -> str:
    """Mean and its standard error, in percent."""
    error = statistics.stdev(shares) / math.sqrt(len(shares))
    return f"{100 * statistics.mean(shares):{sign}.2f} ± {100 * error:.2f}"


if __name__ == "__main__":
    main()
