"""Record a table: train every network of a small space several times, so that strategies can be compared.

    python benchmarks/record.py ../shared/data/fashion-mnist.npz [--part 1/2] [--out benchmarks/fashion.json]
    python benchmarks/record.py ../shared/data/fashion-mnist.npz --losses --out benchmarks/fashion-losses.json

The space is `fashion_space.py` under its budget. Each training goes to a file of lines at once, and a second run goes
on from there; `--part 1/2` and `--part 2/2` may run at the same time and share that file. Whoever finds all of it done
writes the table: a key, and the accuracies of its trainings. That took 11 minutes of a core. Small networks come first,
so that what is recorded of a run that was cut is whole under a smaller budget. `--losses` records six trainings with
their losses, and a long one, for `adjusted.py`: an hour of a core.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: processes side by side

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from estimators import ShortTraining, TrialContext, load_data
from searchspaces import load_object

HERE = Path(__file__).resolve().parent
TRAININGS, WITH_LOSSES = 3, 6
SETTINGS: dict[str, Any] = {
    "epochs": 7, "batch": 32, "lr": 0.2, "crop": 0, "mirror": False, "image_size": 14, "width": 1.0, "depth": 1.0,
    "data_fraction": 0.02, "val_fraction": 0.5,
}  # fmt: skip
"""Half a second of a core a training. Noisy, as short proxies are: the means of the 315 networks deviate by 0.0185,
the trainings of one network by 0.0156."""
LONG: dict[str, Any] = {**SETTINGS, "epochs": 15, "data_fraction": 0.08}
"""2,400 images to train on, and as many others to validate on. The 315 accuracies deviate by 0.0153."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="Fashion-MNIST as an .npz")
    parser.add_argument("--out", type=Path, default=HERE / "fashion.json")
    parser.add_argument("--losses", action="store_true", help="of the last epoch too, of more trainings")
    parser.add_argument("--part", default="1/1", help="which of how many processes this is")
    given = parser.parse_args()
    part, parts = map(int, given.part.split("/"))

    key = load_object(f"{HERE / 'fashion_space.py'}:key")
    space, task, budget = (key.__globals__[name] for name in ("space", "TASK", "BUDGET"))
    members = sorted(space.under(budget, task).enumerate(), key=lambda member: (member.cost(task).macs, key(member)))
    trainings = WITH_LOSSES if given.losses else TRAININGS
    replicas = trainings + given.losses  # the last is the long one
    plan = [(number, replica) for number in range(len(members)) for replica in range(replicas)]
    lines = given.out.with_suffix(".jsonl")
    done = {(row["number"], row["replica"]) for row in rows(lines)}
    data = load_data(given.data)
    short, long = ShortTraining(data, **SETTINGS), ShortTraining(data, **LONG)
    for number, replica in plan[part - 1 :: parts]:
        if (number, replica) in done:
            continue
        cpu = time.process_time()
        estimator, seed = short, TRAININGS * number + replica  # no two trainings have the same luck
        if given.losses:
            estimator = short if replica < trainings else long
            seed = 1000 * (replica + 1 if replica < trainings else 501) + number  # those of the table that is there
        estimate = estimator.estimate(members[number], TrialContext(seed, "cpu"))
        row = {"number": number, "replica": replica, "accuracy": round(estimate.accuracy, 4)}
        row["loss"] = round(estimate.details["train_loss"], 4)
        with lines.open("a") as file:
            file.write(json.dumps({**row, "seconds": round(time.process_time() - cpu, 3)}) + "\n")
    found = {(row["number"], row["replica"]): row for row in rows(lines)}
    print(f"{len(found)} of {len(plan)} trainings are recorded")
    if len(found) == len(plan):
        table: dict[str, Any] = {}
        for number, each in enumerate(members):
            several = [found[number, replica] for replica in range(trainings)]
            accuracies = [row["accuracy"] for row in several]
            table[key(each)] = accuracies
            if given.losses:
                long_one = found[number, trainings]["accuracy"]
                table[key(each)] = {"accuracy": accuracies, "loss": [row["loss"] for row in several], "long": long_one}
        entries = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in table.items())
        given.out.write_text(f"{{\n{entries}\n}}\n")
        told = [entry["accuracy"] for entry in table.values()] if given.losses else list(table.values())
        summary(np.array(told), sum(row["seconds"] for row in rows(lines)))


def rows(lines: Path) -> list[dict[str, Any]]:
    """What is recorded; a line that was cut off as it was written is left out."""
    whole = lines.read_text().split("\n")[:-1] if lines.exists() else []
    return [json.loads(line) for line in whole]


def summary(accuracies: Any, seconds: float) -> None:
    """Print how far networks differ, and trainings of one network; accuracies are (networks, trainings)."""
    means, noise = accuracies.mean(1), np.sqrt(accuracies.var(1, ddof=1).mean())
    print(
        f"{len(means)} networks in {seconds / 60:.1f} minutes of a core, means {means.min():.3f} to {means.max():.3f}"
    )
    print(f"deviation of means {means.std(ddof=1):.4f}, of one network's trainings {noise:.4f}")


if __name__ == "__main__":
    main()
