"""Which proxy setting is worth its seconds? Kendall's tau against a longer training, next to seconds per trial.

Random `mbconv` architectures under 400M MACs are trained with every setting, on one core, architecture by architecture,
so that the time limit leaves whole rows. Each result goes to a file at once; a second run goes on from there.

    python benchmarks/proxy.py --fashion ../shared/data/fashion-mnist.npz --minutes 25 --out proxy.jsonl

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
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        REFERENCE: {"width": 0.5, "depth": 1.0, "epochs": 8},
        "width 1/4, depth 1/2, 6 epochs": {"width": 0.25, "depth": 0.5, "epochs": 6},
        "the same, other seed": {"width": 0.25, "depth": 0.5, "epochs": 6, "seed": 1},
        "3 epochs": {"width": 0.25, "depth": 0.5, "epochs": 3},
        "half the images": {"width": 0.25, "depth": 0.5, "epochs": 6, "data_fraction": 0.5},
        "width 1/2, 3 epochs": {"width": 0.5, "depth": 0.5, "epochs": 3},
        "16 pixels, 4 epochs": {"width": 0.25, "depth": 0.5, "epochs": 4, "image_size": 16},
    },
    "fashion": {
        REFERENCE: {"width": 0.5, "depth": 1.0, "epochs": 6},
        "width 1/4, depth 1/2, 6 epochs": {"width": 0.25, "depth": 0.5, "epochs": 6},
        "3 epochs": {"width": 0.25, "depth": 0.5, "epochs": 3},
        "14 pixels, 6 epochs": {"width": 0.25, "depth": 0.5, "epochs": 6, "image_size": 14},
    },
}
SHARED: dict[str, dict[str, Any]] = {
    "digits": {"batch": 32, "lr": 0.1},
    "fashion": {"batch": 32, "lr": 0.1, "data_fraction": 2000 / 60_000, "val_fraction": 0.5},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", help="Fashion-MNIST as an .npz; without it only digits are measured")
    parser.add_argument("--architectures", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=25.0, help="no further training is begun after this time")
    parser.add_argument("--out", type=Path, default=Path("proxy.jsonl"), help="results, one JSON object a line")
    args = parser.parse_args()

    sources = {"digits": load_data("digits")} | ({"fashion": load_data(args.fashion)} if args.fashion else {})
    budget, task = Budget.parse("400M"), Task()
    space, rng = load_space("mbconv").under(budget, task), np.random.default_rng(0)
    architectures = [space.sample(rng) for _ in range(args.architectures)]
    measure(architectures, sources, args.out, time.monotonic() + 60 * args.minutes)
    for source, data in sources.items():
        table(source, data, architectures, args.out)


def measure(architectures: list[Any], sources: dict[str, ImageData], out: Path, deadline: float) -> None:
    """Append to the file what it does not hold yet, until the deadline (in seconds of `time.monotonic`)."""
    done = {(row["source"], row["setting"], row["architecture"]) for row in rows(out)}
    for index, architecture in enumerate(architectures):
        for source, data in sources.items():
            for setting, choices in SETTINGS[source].items():
                if (source, setting, index) in done:
                    continue
                if time.monotonic() > deadline:
                    return
                seed = choices.get("seed", 0)
                choices = {key: value for key, value in choices.items() if key != "seed"}
                estimator = ShortTraining(data, **SHARED[source], **choices)
                estimate = estimator.estimate(architecture, TrialContext(seed=1000 * seed + index, device="cpu"))
                row = {"source": source, "setting": setting, "architecture": index, "curve": estimate.curve}
                with out.open("a") as file:
                    file.write(json.dumps({**row, "seconds": round(estimate.seconds, 2)}) + "\n")


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def table(source: str, data: ImageData, architectures: list[Any], out: Path) -> None:
    """Print one line per setting, over the architectures that all settings have seen."""
    found = {(row["setting"], row["architecture"]): row for row in rows(out) if row["source"] == source}
    names = list(SETTINGS[source])
    whole = [index for index in range(len(architectures)) if all((name, index) in found for name in names)]
    if len(whole) < 3:
        print(f"{source}: only {len(whole)} architectures have been trained with every setting; run again")
        return
    truth = [found[REFERENCE, index]["curve"][-1] for index in whole]
    chance = math.sqrt(2 * (2 * len(whole) + 5) / (9 * len(whole) * (len(whole) - 1)))  # Kendall 1938, sec. 5
    print(f"\n{source}: {len(whole)} architectures; tau of random rankings has standard deviation {chance:.2f}")
    print(f"{'setting':34} {'proxy MACs':>10} {'s/trial':>8} {'min':>6} {'median':>6} {'max':>6} {'tau':>6}")
    for name in names:
        accuracy = [found[name, index]["curve"][-1] for index in whole]
        seconds = np.median([found[name, index]["seconds"] for index in whole])
        choices = SETTINGS[source][name]
        task = Task(choices.get("image_size", data.task.image_size), data.task.channels, data.task.classes)
        scale = Scale(choices["width"], choices["depth"])
        macs = np.mean([architectures[index].cost(task, scale).macs for index in whole])
        low, middle, high = np.percentile(accuracy, (0, 50, 100))
        tau = kendalltau(truth, accuracy).statistic
        print(f"{name:34} {macs / 1e6:9.1f}M {seconds:8.1f} {low:6.3f} {middle:6.3f} {high:6.3f} {tau:6.2f}")
    for name, cost in (("more MACs is better", "macs"), ("more parameters is better", "params")):
        tau = kendalltau(truth, [getattr(architectures[index].cost(Task()), cost) for index in whole]).statistic
        print(f"{name:34} {'':>10} {0:8.1f} {'':>6} {'':>6} {'':>6} {tau:6.2f}")


if __name__ == "__main__":
    main()
