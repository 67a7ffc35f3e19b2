"""Is a network better made larger in depth, width and resolution together, or in one of them alone?

A small search finds a network, a scaling study finds its factors at twice the MACs, and then the scaled network and the
base scaled in depth alone, width alone and resolution alone, to as nearly the same MACs as rounding allows, are trained
on more images with several seeds each. All of it goes on where it was cut.

    python -m benchmarks.scaling --data ../shared/data/fashion-mnist.npz --out scaling

What came out is written up in docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import nas
from estimators import ImageData, ShortTraining, TrialContext, load_data
from estimators.data import stratified_split
from searchspaces import Architecture, Scale, Scaled, Space, Stage, choice, conv_head, conv_stem, mbconv

SPACE = Space(
    "two-stages",
    doc="inverted residuals in two stages, for images of 28 pixels",
    stem=Stage(conv_stem, width=16, stride=2),
    stages=[
        Stage(mbconv, width=choice(16, 24), depth=choice(1, 2, 3), kernel=choice(3, 5), expansion=choice(2, 3)),
        Stage(mbconv, width=choice(32, 40, 48), depth=choice(1, 2, 3), kernel=choice(3, 5), expansion=choice(2, 4),
              stride=2),
    ],
    head=Stage(conv_head, width=128),
)  # fmt: skip
"""864 networks from 0.65M to 6.1M MACs on 28 x 28 x 1."""
SEARCH: dict[str, Any] = {
    "epochs": 5, "data_fraction": 3000 / 60_000, "val_fraction": 0.5, "width": 1.0, "depth": 1.0,
}  # fmt: skip
"""The proxy of the search: 1,500 images to train on, 1,500 to validate on."""
CANDIDATES: dict[str, Any] = {"epochs": 4, "data_fraction": 2000 / 60_000, "val_fraction": 0.5}
"""The proxy of the scaling study: 1,000 and 1,000."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="Fashion-MNIST as an .npz")
    parser.add_argument("--out", type=Path, default=Path("scaling"), help="run folders and results")
    parser.add_argument("--budget", default="1.6M..2M", help="of the network that is searched for")
    parser.add_argument("--trials", type=int, default=12, help="of the search")
    parser.add_argument("--band", default="5%", help="of the scaling study")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=3000, help="of the comparison; half of them validate")
    parser.add_argument("--epochs", type=int, default=6, help="of the comparison")
    parser.add_argument("--minutes", type=float, default=60.0, help="no further training is begun after this time")
    args = parser.parse_args()

    data, task = load_data(args.data), "28x28x1:10"
    ends: float = time.monotonic() + 60 * args.minutes

    def left_s() -> float:
        if time.monotonic() >= ends:
            raise SystemExit("the time is over; the same command goes on")
        return ends - time.monotonic()

    found = nas.search(
        SPACE, args.budget, args.data, task=task, trials=args.trials, time=left_s(), name="found", out=args.out,
        estimator_settings=SEARCH,
    )  # fmt: skip
    best = found.best
    print(f"found {best.architecture.words()}: {best.cost.macs:,} MACs, {best.accuracy:.1%}", flush=True)
    base = Scaled(best.architecture, Scale(), found.task)
    family = nas.scale(
        base, args.data, phi=(1, 2, 3), band=args.band, name="scaled", out=args.out, space=SPACE,
        time=left_s(), estimator_settings=CANDIDATES,
    )  # fmt: skip
    factors = family.members[1].factors
    print(f"factors {factors}; see {family.plan.folder / 'family.html'}", flush=True)

    contestants = {f"compound ({factors})": family.members[1]}
    contestants |= {f"{name} alone": several[1] for name, several in family.alone.items() if len(several) > 1}
    accuracies: dict[str, list[float]] = {name: [] for name in contestants}
    kept = Kept(args.out / "comparison.jsonl")
    _, used = stratified_split(data.labels, args.images / len(data.labels), seed=0)
    test = data.test_images[:100], data.test_labels[:100]  # not used here
    few = ImageData.of(data.name, data.images[used], data.labels[used], *test, data.class_names)
    for seed in range(args.seeds):
        for name, member in contestants.items():
            left_s()
            size = member.network
            training = ShortTraining(
                few, epochs=args.epochs, data_fraction=1.0, val_fraction=0.5,
                image_size=size.task.image_size, width=size.scale.width, depth=size.scale.depth,
            )  # fmt: skip
            accuracies[name].append(kept(training, size.architecture, seed))
            print(f"{name}, seed {seed}: {accuracies[name][-1]:.2%}", flush=True)

    print(f"\n{'':32} {'MACs':>10} {'params':>8} {'pixels':>6} {'accuracy':>9} {'std. error':>11}  each")
    for name, several in sorted(accuracies.items(), key=lambda item: -statistics.mean(item[1])):
        cost, side = contestants[name].cost, contestants[name].network.task.image_size
        error = statistics.stdev(several) / len(several) ** 0.5 if len(several) > 1 else float("nan")
        each = " ".join(f"{100 * accuracy:.2f}" for accuracy in several)
        mean = statistics.mean(several)
        print(f"{name:32} {cost.macs:>10,} {cost.params:>8,} {side:>6} {mean:>9.2%} {error:>11.2%}  {each}")


class Kept:
    """Results in a file, one a line: what is there is not measured again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.known = {json.dumps(one["key"]): one["accuracy"] for one in map(json.loads, lines)}

    def __call__(self, training: ShortTraining, architecture: Architecture, seed: int) -> float:
        """The accuracy of one training, done if it is not known."""
        key = [training.describe(), architecture.to_json(), seed]
        text = json.dumps(key)
        if text not in self.known:
            self.known[text] = training.estimate(architecture, TrialContext(seed)).accuracy
            with self.path.open("a") as file:
                file.write(json.dumps({"key": key, "accuracy": self.known[text]}) + "\n")
        return float(self.known[text])


if __name__ == "__main__":
    main()
