"""Which proxy setting is worth its seconds? Kendall's tau against a longer training, next to seconds per trial.

Random architectures are trained with every setting, on one core, setting by setting: of `mbconv` under 400M MACs at 224
pixels on digits and Fashion-MNIST, and (`small`) of `examples/few_macs.py` at 5M MACs on Fashion-MNIST, which are small
enough to be trained whole. Each result goes to a file at once; a second run goes on from there.

    python benchmarks/proxy.py --fashion fashion-mnist.npz --minutes 25 --out proxy.jsonl
    python benchmarks/proxy.py --fashion fashion-mnist.npz --only small --architectures 16 --minutes 60

What came out is written up in docs/proxy.md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from estimators import ImageData, ShortTraining, TrialContext, load_data
from searchspaces import Budget, Scale, Task, load_space

REFERENCE = "reference"
SPACES = {
    "fashion": ("mbconv", "400M", Task()),
    "digits": ("mbconv", "400M", Task()),
    "small": (str(Path(__file__).parents[1] / "examples" / "few_macs.py:space"), "4.85M..5.15M", Task(28, 1, 10)),
}
"""Where the architectures of a table come from: a space, a budget, and the task that it is counted on."""
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "fashion": {
        REFERENCE: {"width": 0.5, "depth": 1.0, "epochs": 6},
        "width 1/4, depth 1/2, 6 epochs": {"width": 0.25, "depth": 0.5, "epochs": 6},
        "3 epochs": {"width": 0.25, "depth": 0.5, "epochs": 3},
    },
    "digits": {
        "width 1/4, depth 1/2, 6 epochs": {"width": 0.25, "depth": 0.5, "epochs": 6},
        "16 pixels, 4 epochs": {"width": 0.25, "depth": 0.5, "epochs": 4, "image_size": 16},
        "3 epochs": {"width": 0.25, "depth": 0.5, "epochs": 3},
        "width 1/2, 3 epochs": {"width": 0.5, "depth": 0.5, "epochs": 3},
        "half the images, 6 epochs": {"width": 0.25, "depth": 0.5, "epochs": 6, "data_fraction": 0.5},
        "width 1/4, depth 1/2, other seed": {"width": 0.25, "depth": 0.5, "epochs": 6, "seed": 1},
        REFERENCE: {"width": 0.5, "depth": 1.0, "epochs": 8},
    },
    "small": {
        "whole, 6 epochs": {"width": 1.0, "depth": 1.0, "epochs": 6},
        "width 1/4, depth 1/2, 6 epochs": {"width": 0.25, "depth": 0.5, "epochs": 6},
        REFERENCE: {"width": 1.0, "depth": 1.0, "epochs": 10, "data_fraction": 8000 / 60_000},
        "whole, 6 epochs, other seed": {"width": 1.0, "depth": 1.0, "epochs": 6, "seed": 1},
        "width 1/4, depth 1/2, other seed": {"width": 0.25, "depth": 0.5, "epochs": 6, "seed": 1},
        "whole, 3 epochs": {"width": 1.0, "depth": 1.0, "epochs": 3},
    },
}
SHARED: dict[str, dict[str, Any]] = {
    "digits": {"batch": 32, "lr": 0.1},
    "fashion": {"batch": 32, "lr": 0.1, "data_fraction": 2000 / 60_000, "val_fraction": 0.5},
    "small": {},
}
"""All settings that a row of the table does not name: the batch, and for Fashion-MNIST 1,000 images to train on and
1,000 to validate on; for `small` all that is default."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", help="Fashion-MNIST as an .npz; without it only digits are measured")
    parser.add_argument("--only", choices=SETTINGS, help="one of the tables")
    parser.add_argument("--architectures", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=25.0, help="no further training is begun after this time")
    parser.add_argument("--out", type=Path, default=Path("proxy.jsonl"), help="results, one JSON object a line")
    args = parser.parse_args()

    fashion = load_data(args.fashion) if args.fashion else None
    whole = {"fashion": fashion, "digits": load_data("digits"), "small": fashion}
    sources = {name: data for name, data in whole.items() if data is not None and args.only in (None, name)}
    if not sources:
        parser.error(f"{args.only} needs --fashion")
    architectures = {name: drawn(name, args.architectures) for name in sources}
    measure(architectures, sources, args.out, time.monotonic() + 60 * args.minutes)
    for source, data in sources.items():
        table(source, data, architectures[source], args.out)


def drawn(source: str, count: int) -> list[Any]:
    """The first so many random architectures of a table."""
    space, budget, task = SPACES[source]
    feasible, rng = load_space(space).under(Budget.parse(budget), task), np.random.default_rng(0)
    return [feasible.sample(rng) for _ in range(count)]


def measure(architectures: dict[str, list[Any]], sources: dict[str, ImageData], out: Path, deadline: float) -> None:
    """Append to the file what it does not hold yet, until the deadline (in seconds of `time.monotonic`)."""
    done = {(row["source"], row["setting"], row["architecture"]) for row in rows(out)}
    plan = [(source, setting) for source in sources for setting in SETTINGS[source]]
    for source, setting in plan:
        several = architectures[source]
        for index in range(len(several)):
            if (source, setting, several[index].to_json()) not in done:
                if time.monotonic() > deadline:
                    return
                one(source, setting, index, several[index], sources[source], out)


def one(source: str, setting: str, index: int, architecture: Any, data: ImageData, out: Path) -> None:
    """Train one architecture with one setting, and append what came out."""
    choices = {key: value for key, value in SETTINGS[source][setting].items() if key != "seed"}
    seed = 1000 * SETTINGS[source][setting].get("seed", 0) + index
    estimator = ShortTraining(data, **SHARED[source], **choices)
    cpu = time.process_time()
    estimate = estimator.estimate(architecture, TrialContext(seed, "cpu"))
    cpu = time.process_time() - cpu  # one thread: seconds of a core, also where others use the machine
    row = {"source": source, "setting": setting, "architecture": architecture.to_json()}
    with out.open("a") as file:
        file.write(json.dumps({**row, "curve": estimate.curve, "seconds": cpu}) + "\n")


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def table(source: str, data: ImageData, architectures: list[Any], out: Path) -> None:
    """Print one line per setting, over the architectures trained with it; tau over those that have a reference too."""
    found: dict[str, dict[int, dict[str, Any]]] = {setting: {} for setting in SETTINGS[source]}
    number = {each.to_json(): index for index, each in enumerate(architectures)}
    for row in rows(out):
        if row["source"] == source and row["architecture"] in number:
            found[row["setting"]][number[row["architecture"]]] = row
    reached = {
        setting: {i: float(row["curve"][-1]) for i, row in several.items()} for setting, several in found.items()
    }

    def tau(truth: dict[int, float], score: dict[int, float]) -> str:
        both = sorted(truth.keys() & score.keys())
        if len(both) < 4:
            return f"{'-':>12}"
        chance = math.sqrt(2 * (2 * len(both) + 5) / (9 * len(both) * (len(both) - 1)))  # sd of tau under no relation
        found = kendalltau([truth[each] for each in both], [score[each] for each in both]).statistic
        return f"{found:6.2f} ±{chance:.2f}"

    print(f"\n{source:34} {'n':>3} {'MACs':>7} {'s/trial':>8} {'min':>6} {'median':>6} {'max':>6} {'tau':>12}")
    for setting, choices in SETTINGS[source].items():
        if not found[setting]:
            continue
        task = Task(choices.get("image_size", data.task.image_size), data.task.channels, data.task.classes)
        scale = Scale(choices["width"], choices["depth"])
        accuracy = reached[setting]
        seconds = np.median([row["seconds"] for row in found[setting].values()])
        macs = np.mean([architectures[index].cost(task, scale).macs for index in accuracy]) / 1e6
        low, middle, high = np.percentile(list(accuracy.values()), (0, 50, 100))
        print(
            f"{setting:34} {len(accuracy):3} {macs:6.1f}M {seconds:8.1f} {low:6.3f} {middle:6.3f} {high:6.3f}"
            f" {tau(reached[REFERENCE], accuracy)}"
        )
        if setting.endswith(", other seed"):
            sibling = next(each for each in SETTINGS[source] if each.startswith(setting.removesuffix(", other seed")))
            print(f"{'  against its first seed':34} {'':40} {tau(reached[sibling], accuracy)}")
    for name in ("macs", "params"):
        score = {index: float(getattr(each.cost(SPACES[source][2]), name)) for index, each in enumerate(architectures)}
        print(f"{f'more {name} is better':34} {'':40} {tau(reached[REFERENCE], score)}")


if __name__ == "__main__":
    main()
