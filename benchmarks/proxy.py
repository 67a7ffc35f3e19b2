"""Which proxy setting is worth its seconds? Kendall's tau against a longer training, next to seconds per trial.

Random `mbconv` architectures under 400M MACs are trained with every setting, on one core, setting by setting.
Each result goes to a file at once; a second run goes on from there.

    python benchmarks/proxy.py --fashion ../shared/data/fashion-mnist.npz --minutes 25 --out proxy.jsonl

What came out is written up in docs/proxy.md.
"""

from __future__ import annotations

import argparse
import itertools
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
        "6 epochs, other seed": {"width": 0.25, "depth": 0.5, "epochs": 6, "seed": 1},
        REFERENCE: {"width": 0.5, "depth": 1.0, "epochs": 8},
    },
}
SHARED: dict[str, dict[str, Any]] = {
    "digits": {"batch": 32, "lr": 0.1},
    "fashion": {"batch": 32, "lr": 0.1, "data_fraction": 2000 / 60_000, "val_fraction": 0.5},
}
"""All settings that a row of the table does not name: the batch, and for Fashion-MNIST 1,000 images to train on and
1,000 to validate on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", help="Fashion-MNIST as an .npz; without it only digits are measured")
    parser.add_argument("--architectures", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=25.0, help="no further training is begun after this time")
    parser.add_argument("--out", type=Path, default=Path("proxy.jsonl"), help="results, one JSON object a line")
    args = parser.parse_args()

    sources = ({"fashion": load_data(args.fashion)} if args.fashion else {}) | {"digits": load_data("digits")}
    budget, task = Budget.parse("400M"), Task()
    space, rng = load_space("mbconv").under(budget, task), np.random.default_rng(0)
    architectures = [space.sample(rng) for _ in range(args.architectures)]
    measure(architectures, sources, args.out, time.monotonic() + 60 * args.minutes)
    for source, data in sources.items():
        table(source, data, architectures, args.out)


def measure(architectures: list[Any], sources: dict[str, ImageData], out: Path, deadline: float) -> None:
    """Append to the file what it does not hold yet, until the deadline (in seconds of `time.monotonic`)."""
    done = {(row["source"], row["setting"], row["architecture"]) for row in rows(out)}
    plan = [(source, setting) for source in sources for setting in SETTINGS[source]]
    for (source, setting), index in itertools.product(plan, range(len(architectures))):
        if (source, setting, architectures[index].to_json()) in done:
            continue
        if time.monotonic() > deadline:
            return
        choices = {key: value for key, value in SETTINGS[source][setting].items() if key != "seed"}
        seed = 1000 * SETTINGS[source][setting].get("seed", 0) + index
        estimator = ShortTraining(sources[source], **SHARED[source], **choices)
        cpu = time.process_time()
        estimate = estimator.estimate(architectures[index], TrialContext(seed, "cpu"))
        cpu = time.process_time() - cpu  # one thread: seconds of a core, also where others use the machine
        row = {"source": source, "setting": setting, "architecture": architectures[index].to_json()}
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
    truth = {index: row["curve"][-1] for index, row in found[REFERENCE].items()}

    def against_truth(score: dict[int, float]) -> str:
        both = sorted(truth.keys() & score.keys())
        if len(both) < 4:
            return f"{'-':>12}"
        chance = math.sqrt(2 * (2 * len(both) + 5) / (9 * len(both) * (len(both) - 1)))  # sd of tau under no relation
        tau = kendalltau([truth[each] for each in both], [score[each] for each in both]).statistic
        return f"{tau:6.2f} ±{chance:.2f}"

    print(f"\n{source:34} {'n':>3} {'MACs':>7} {'s/trial':>8} {'min':>6} {'median':>6} {'max':>6} {'tau':>12}")
    for setting, choices in SETTINGS[source].items():
        if not found[setting]:
            continue
        task = Task(choices.get("image_size", data.task.image_size), data.task.channels, data.task.classes)
        scale = Scale(choices["width"], choices["depth"])
        accuracy = {index: row["curve"][-1] for index, row in found[setting].items()}
        seconds = np.median([row["seconds"] for row in found[setting].values()])
        macs = np.mean([architectures[index].cost(task, scale).macs for index in accuracy]) / 1e6
        low, middle, high = np.percentile(list(accuracy.values()), (0, 50, 100))
        print(
            f"{setting:34} {len(accuracy):3} {macs:6.1f}M {seconds:8.1f} {low:6.3f} {middle:6.3f} {high:6.3f}"
            f" {against_truth(accuracy)}"
        )
    for name in ("macs", "params"):
        score = {index: float(getattr(each.cost(Task()), name)) for index, each in enumerate(architectures)}
        print(f"{f'more {name} is better':34} {'':40} {against_truth(score)}")


if __name__ == "__main__":
    main()
