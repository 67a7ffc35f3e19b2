"""The networks that searches find, against those of the literature at equal MACs and with the same recipe.

    python -m benchmarks.fair_comparison --shared FOLDER --out fair [--seeds 5] [--macs 3 6 12] [--image-size 16]
                                         [--strategies guided local-search climb] [--data cifar10-small]
                                         [--recipe auto] [--no-published-strides] [--results fair.jsonl]

On Fashion-MNIST and on ten thousand images of CIFAR-10 it searches a space under a band of 3 % around a number of MACs,
anew for each seed; scales EfficientNet-B0, MobileNetV2 and ResNet-20 by width and depth into that band, those made for
large images both with the strides that suit small ones and with their published ones; draws networks of the space at
random, which tell what the search adds to it; as a strategy, `climb` is hill climbing from the best of the classics, in
a space of its own around that network; trains all of them with the code of `nas train`, one
training a seed; and prints the accuracy on the test part, which nothing was chosen on, and how far the others are from
the first strategy's, seed by seed. `docs/comparison.md` has what came out.

It goes on where it stopped: searches and trainings by their folders, and what a file of results holds is not done
again, with or without folders. `fair_comparison.jsonl` beside this file is what `docs/comparison.md` was made from.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estimators import Diverged, ImageData, load_data
from estimators.recipe import make_recipe
from estimators.training import train
from nas import Architecture, Study, Task, classic
from nas.api import search
from searchspaces import (
    Budget,
    Buildable,
    Scale,
    Scaled,
    Space,
    Stage,
    choice,
    conv_head,
    conv_stem,
    load_space,
    mbconv,
)
from searchspaces.strides import published, strides_left_out

BAND = 0.03
DATA = {"fashion-mnist": 5e6, "cifar10-small": 6e6}
"""And the MACs on each: few, and such that all of the classics have a scale within the band."""
CLASSICS = ("efficientnet_b0", "mobilenetv2_100", "resnet20")
"""The last is the ResNet for small images (He et al. 2016, arXiv:1512.03385, table 6); ResNet-18 has no scale of so few
MACs on either. The first two are also trained with their published strides, by which they halve small images down to a
pixel, and are several times as wide for the same MACs."""
BEST = "efficientnet_b0"
"""With the strides that suit small images it is the best of them at 1.5M and 1.25M MACs; where `climb` begins."""
CLIMB = "climb"
STEM, STRIDES, HEAD = 32, (1, 2, 2, 2, 1, 2, 1), 1280
"""Of the networks of `mbconv` (Tan and Le 2019, arXiv:1905.11946, table 1)."""
PUBLISHED = ", published strides"
RANDOM = "random ones of the space"

RECIPES: dict[str, dict[str, Any]] = {
    "auto": {},
    "sgd": {"batch": 64, "mixup": 0.0, "cutmix": 0.0, "randaugment_operations": 1, "randaugment_magnitude": 3.0},
}
"""What all are trained with: the default of `nas train`, which fits itself to so few epochs and distorts nothing in
them; or, as before there was one that did, `sgd` with a little RandAugment and its stochastic depth."""


@dataclass(frozen=True)
class Result:
    """Of one training.

    Attributes:
        comparison: what it belongs to: the data, the size of its images, the budget and how things are trained.
        what: what was trained, as in the table.
        seed: of the training, and of the search.
        network: in words.
        macs, params: of the network.
        accuracy: on the test part, in [0, 1].
    """

    comparison: str
    what: str
    seed: int
    network: str
    macs: int
    params: int
    accuracy: float


class Results:
    """What has been trained, in a file of one line each where there is one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file and file.exists() else []
        self._known = [Result(**json.loads(line)) for line in lines]

    def of(self, comparison: str) -> list[Result]:
        """Those of one comparison, in the order in which they were trained."""
        return [each for each in self._known if each.comparison == comparison]

    def has(self, comparison: str, what: str, seed: int) -> bool:
        """Whether it has been trained."""
        return any((each.what, each.seed) == (what, seed) for each in self.of(comparison))

    def add(self, result: Result) -> None:
        """Keep a result."""
        self._known.append(result)
        if self._file:
            with self._file.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")


def main() -> None:
    """Compare on each data set and at each number of MACs, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder of fashion-mnist.npz and cifar10-small.npz")
    parser.add_argument("--out", type=Path, default=Path("fair"), help="where runs and trainings are kept")
    parser.add_argument("--results", type=Path, help="file of one line a training, which is read and added to")
    parser.add_argument("--images", type=int, default=6_000, help="images of the search part that are trained on")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--trials", type=int, default=80, help="of each search, confirmations included")
    parser.add_argument("--seeds", type=int, default=3, help="searches of each strategy, and trainings of each network")
    parser.add_argument("--strategies", nargs="*", default=["guided"])
    parser.add_argument("--macs", nargs="*", type=float, help="in millions; in place of what each data set has")
    parser.add_argument("--image-size", type=int, help="pixels a side; the images' own by default")
    parser.add_argument("--recipe", choices=RECIPES, default="auto", help="of the trainings that are compared")
    parser.add_argument("--no-published-strides", action="store_true", help="leave out the classics with those")
    parser.add_argument("--space", default="examples/few_macs.py:space")
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    given = parser.parse_args()
    results = Results(given.results)
    for name in given.data:
        for macs in given.macs or [DATA[name] / 1e6]:
            compare(name, 1e6 * macs, results, given)


def compare(name: str, macs: float, results: Results, given: argparse.Namespace) -> None:
    """Search and train one seed after another, so that whatever is done when it is cut can be compared."""
    data = load_data(str(given.shared / f"{name}.npz"), given.image_size)
    print(f"\n{name}, {data.task}, {macs / 1e6:g}M MACs within {BAND:.0%}", flush=True)
    run = run_name(name, macs, given)
    comparison = f"{run}, {given.trials} trials, {given.epochs} epochs of {given.images} images, recipe {given.recipe}"
    classics = classics_at(data.task, macs, not given.no_published_strides)
    drawn = random_ones(data.task, macs, given)
    for seed in range(given.seeds):
        networks: dict[str, Callable[[], Buildable]] = {
            f"found by {each}": functools.partial(found, data, name, macs, each, seed, given)
            for each in given.strategies
        }
        for what, network in {**classics, RANDOM: drawn[seed]}.items():
            networks[what] = functools.partial(lambda network: network, network)
        for what, made in networks.items():
            if results.has(comparison, what, seed):
                continue
            network = made()
            share, cost = accuracy(network, what, data, run, seed, given), network.cost(data.task)
            results.add(Result(comparison, what, seed, network.words(), cost.macs, cost.params, share))
        if seed or given.seeds == 1:
            print(f"\n{table(results.of(comparison), given)}\n", flush=True)


def found(data: ImageData, name: str, macs: float, strategy: str, seed: int, given: argparse.Namespace) -> Architecture:
    """The best network of a search that saw the search part alone, with the defaults of `nas search`."""
    run = f"{run_name(name, macs, given)}-{strategy}-{seed}"
    climbs = strategy == CLIMB
    began = time.process_time()
    study: Study = search(
        around(BEST, data.task, macs) if climbs else given.space,
        budget(macs),
        str(given.shared / f"{name}.npz"),
        task=data.task,
        image_size=data.task.image_size,
        strategy="local-search" if climbs else strategy,
        strategy_settings={"starts": 1} if climbs else {},
        start_from=BEST if climbs else (),
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


def around(name: str, task: Task, macs: float) -> Space:
    """A space of the scaled network of a classic of `mbconv` and of what differs from it: in each stage the kernel, the
    expansion, squeeze-excite, one block more or less, and 8 channels more or less or half as many more; the activation,
    and the width of the head. Of all these, those in the band remain.
    """
    architecture = classic(name).architecture
    assert architecture is not None
    scaled = scaled_to(architecture, task, macs)
    scale, choices = scaled.scale, dict(architecture.choices)
    rows, stages = dict[str, Any](act=choices["act"]), []
    for stage, stride in enumerate(STRIDES, start=1):
        width = scale.channels(int(choices[f"stage{stage}.width"]))
        depth = scale.blocks(int(choices.get(f"stage{stage}.depth", 1)))
        widths = sorted({max(8, width - 8), width, width + 8, 8 * round(1.5 * width / 8)})
        options = dict[str, Any](
            width=choice(*widths), depth=choice(*sorted({max(1, depth - 1), depth, depth + 1})), kernel=choice(3, 5),
            expansion=choice(1, 2, 3) if stage == 1 else choice(3, 4, 6), se=choice(0, 0.25),
        )  # fmt: skip
        stages.append(Stage(mbconv, stride=stride, **options))
        rows |= {
            f"stage{stage}.{each}": choices.get(f"stage{stage}.{each}", 1) for each in ("kernel", "expansion", "se")
        }
        rows |= {f"stage{stage}.width": width, f"stage{stage}.depth": depth}
    head = scale.channels(HEAD)
    rows["head.width"] = head
    return Space(
        f"around-{name}", act=choice("relu", "silu"), stem=Stage(conv_stem, width=scale.channels(STEM), stride=2),
        stages=stages, head=Stage(conv_head, width=choice(head // 16 * 8, head, head + 64)), smallest_map=4,
        references={name: rows},
    )  # fmt: skip


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


def classics_at(task: Task, macs: float, with_published: bool) -> dict[str, Buildable]:
    """The classics of about so many MACs, also with their published strides if so asked."""
    found: dict[str, Buildable] = {}
    for name in CLASSICS:
        architecture = classic(name).architecture
        assert architecture is not None
        found[name] = scaled_to(architecture, task, macs)
        if with_published and strides_left_out(architecture.space, task):
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
    """Accuracy on the test part, in [0, 1], of one training, done only once; that of guessing if it diverges."""
    settings = {"epochs": given.epochs, "data_fraction": min(1.0, given.images / len(data.labels))}
    settings |= RECIPES[given.recipe]
    recipe = make_recipe(given.recipe, len(data.labels), data.task.image_size, **settings)
    began = time.process_time()
    folder = given.out / f"{name}-{given.recipe}-{what.replace(' ', '-')}-{seed}"
    try:
        trained = train(network, data, recipe, folder, seed=seed)
    except Diverged as error:
        print(f"{name} {what} seed {seed}: {error}", flush=True)
        return 1 / data.task.classes
    facts = trained.facts
    print(
        f"{name} {what} seed {seed}: test {facts['test_accuracy']:.4f}, validation {facts['val_accuracy']:.4f}, "
        f"{time.process_time() - began:.0f} s of one core now",
        flush=True,
    )
    return float(facts["test_accuracy"])


def table(results: Sequence[Result], given: argparse.Namespace) -> str:
    """The result, as Markdown: means over seeds with standard errors, and differences from the first, seed by seed."""
    first, several = f"found by {given.strategies[0]}", dict[str, dict[int, Result]]()
    for each in results:
        several.setdefault(each.what, {})[each.seed] = each
    rows = [
        f"| network | MACs | parameters | test accuracy | points from {first} | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for what, them in sorted(several.items(), key=lambda pair: -statistics.mean(accuracies(pair[1]))):
        macs, params = (statistics.mean(getattr(each, cost) for each in them.values()) for cost in ("macs", "params"))
        behind = [them[seed].accuracy - other.accuracy for seed, other in several[first].items() if seed in them]
        rows.append(
            f"| {what}{scale_of(them[min(them)].network)} | {macs / 1e6:.2f}M | {params / 1e3:.0f}K "
            f"| {mean(accuracies(them), '')} % | {'' if what == first else mean(behind, '+')} "
            f"| {' '.join(f'{100 * each:.2f}' for each in accuracies(them))} |"
        )
    return "\n".join(rows)


def accuracies(them: dict[int, Result]) -> list[float]:
    """Seed by seed."""
    return [them[seed].accuracy for seed in sorted(them)]


def scale_of(network: str) -> str:
    """How a network was scaled, from its words; nothing where it was not."""
    _, scaled, factors = network.rpartition(" | width x ")
    return f" x width {factors.replace('depth x', 'depth')}" if scaled else ""


def mean(shares: Sequence[float], sign: str) -> str:
    """Mean and, of several, its standard error, in percent."""
    said = f"{100 * statistics.mean(shares):{sign}.2f}"
    if len(shares) == 1:
        return said
    return f"{said} ± {100 * statistics.stdev(shares) / math.sqrt(len(shares)):.2f}"


if __name__ == "__main__":
    main()
