"""Which zero-cost score ranks networks of one budget better than counting does?

Every score of `estimators.zero_cost`, beside MACs and parameters, against recorded trainings:

- `few-macs`: 36 random networks of `examples/few_macs.py` at 5M to 6M MACs, each trained in full twice
  (`../shared/reference/few-macs-reference.jsonl`), and by the short trainings that the file has besides.
- `macro`: 100 random networks of NAS-Bench-Macro (`examples/nas_bench_macro.py`) at 50M to 60M MACs, each trained three
  times (`../shared/data/nas-bench-macro.json`).

Scores are those of one seed of initial weights and one batch of 64 images of CIFAR-10, on one core. Kendall's τ is
against the mean of the trainings, with bootstrap intervals of 90 % over networks; the ceiling is what an exact proxy
would reach, given how far the trainings agree. Of `few-macs` a second table has how the short trainings rank by their
training loss, beside their accuracy. Nothing is chosen by these numbers. Each score goes to the file of
results at once; a second run goes on from there.

    python -m benchmarks.zero_cost [--only few-macs] [--out zero-cost.jsonl] [--images cifar10-small.npz]
    python -m benchmarks.zero_cost --only few-macs --table few-macs.json

The second command writes the trainings as a table for `nas proxy --reference table:few-macs.json`, and scores nothing:
the full ones are its field `test_acc`, each short one has a field of its own.

What came out is written up in docs/proxies.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estimators import load_data
from estimators.agreement import RESAMPLES, ceiling, difference, interval, kendall, overlap, regret, spearman
from estimators.scoring import ZeroCost
from estimators.zero_cost import SCORES, az_nas
from nas.proxies import found_within
from searchspaces import Architecture, Budget, Task, load_object, load_space
from studies.adjusting import Line, Training

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
TASK = Task(32, 3, 10)
COUNTS = ("macs", "params")
PARTS = ("expressivity", "progressivity", "trainability")
"""Of AZ-NAS, whose ranks are among the networks of the table."""
SEED = 0
"""Of the initial weights."""
IMAGES = 2_000
"""That the short trainings were validated on."""


@dataclass(frozen=True)
class Problem:
    """Networks with their recorded trainings.

    Attributes:
        networks: the architectures.
        accuracies: (networks, replicas), in [0, 1].
        shorter: accuracies in short trainings, by what they are; one for each network.
        losses: training losses of the last epoch of the same trainings.
    """

    networks: tuple[Architecture, ...]
    accuracies: np.ndarray[Any, Any]
    shorter: Mapping[str, list[float]] = field(default_factory=dict)
    losses: Mapping[str, list[float]] = field(default_factory=dict)

    @property
    def truth(self) -> np.ndarray[Any, Any]:
        """The mean of the trainings; (networks,)."""
        mean: np.ndarray[Any, Any] = self.accuracies.mean(1)
        return mean

    @property
    def replicas_tau(self) -> float:
        """τ between two trainings, in the mean over the pairs."""
        pairs = itertools.combinations(self.accuracies.T, 2)
        return float(np.mean([kendall(*pair) for pair in pairs]))


def few_macs() -> Problem:
    """The networks that were trained in each of the ways, in full twice."""
    space = load_space(f"{ROOT / 'examples' / 'few_macs.py'}:space")
    choices: dict[int, Any] = {}
    ends: dict[str, dict[int, float]] = {}  # of each way of training and seed, by network
    losses: dict[str, dict[int, float]] = {}
    for line in (SHARED / "reference" / "few-macs-reference.jsonl").read_text().splitlines():
        row = json.loads(line)
        choices[row["network"]] = row["choices"]
        way = f"{row['training']}, seed {row['seed']}"
        ends.setdefault(way, {})[row["network"]] = row["curve"][-1][1]
        losses.setdefault(way, {})[row["network"]] = row["train_loss"]
    numbers = sorted(set.intersection(*map(set, ends.values())))
    found = {way: [its[number] for number in numbers] for way, its in ends.items()}
    full = [found.pop(way) for way in sorted(found) if way.startswith("full")]
    networks = tuple(space.architecture(choices[number]) for number in numbers)
    lost = {way: [losses[way][number] for number in numbers] for way in found}
    return Problem(networks, np.array(full).T, found, lost)


def macro() -> Problem:
    """100 networks in the band, drawn at random."""
    table = json.loads((SHARED / "data" / "nas-bench-macro.json").read_text())
    architecture = load_object(f"{ROOT / 'examples' / 'nas_bench_macro.py'}:architecture")
    space, key = (architecture.__globals__[name] for name in ("space", "key"))  # of the same loading of the file
    members = list(space.under(Budget.parse("50M..60M"), TASK).enumerate())
    drawn = np.random.default_rng(0).permutation(len(members))[:100]
    networks = tuple(members[int(index)] for index in drawn)
    return Problem(networks, np.array([table[key(each)]["test_acc"] for each in networks]) / 100)


PROBLEMS = {"few-macs": few_macs, "macro": macro}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PROBLEMS, help="one of the problems")
    parser.add_argument("--out", type=Path, default=Path("zero-cost.jsonl"), help="results, one JSON object a line")
    parser.add_argument("--images", default=str(SHARED / "data" / "cifar10-small.npz"), help="images to score on")
    parser.add_argument("--table", type=Path, help="write the trainings of --only as a table, and nothing else")
    args = parser.parse_args()
    if args.table is not None:
        if args.only is None:
            parser.error("--table needs --only")
        args.table.write_text(json.dumps(recorded(PROBLEMS[args.only]()), indent=1) + "\n")
        return
    for name in [args.only] if args.only else PROBLEMS:
        problem = PROBLEMS[name]()
        measure(name, problem, args.images, args.out)
        table(name, problem, args.out)


def recorded(problem: Problem) -> dict[str, dict[str, Any]]:
    """The trainings of each network by its text form, as `estimators.TableEstimator` reads them."""
    fields = {field_of(way): accuracies for way, accuracies in problem.shorter.items()}
    return {
        network.to_json(): {
            "test_acc": problem.accuracies[place].tolist(),
            **{name: accuracies[place] for name, accuracies in fields.items()},
        }
        for place, network in enumerate(problem.networks)
    }


def field_of(way: str) -> str:
    """The name of a short training where names are typed: without commas, blanks and signs.

    >>> field_of("width 1/4, depth 1/2, 6 epochs, 3,200 images, batch 32, seed 0")
    'width-1-4-depth-1-2-6-epochs-3200-images-batch-32-seed-0'
    """
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=\d),(?=\d)", "", way))


def measure(name: str, problem: Problem, images: str, out: Path) -> None:
    """Append the scores that the file does not hold yet, network by network."""
    data, done = load_data(images), {(row["problem"], row["network"], row["score"]) for row in rows(out)}
    scores = {each: ZeroCost(data, each) for each in SCORES}
    for network, each in itertools.product(range(len(problem.networks)), scores):
        if (name, network, each) in done:
            continue
        cpu = time.process_time()  # one thread: seconds of a core, also where others use the machine
        found = scores[each].of(problem.networks[network], SEED)
        row = {"problem": name, "network": network, "score": each, "value": found}
        with out.open("a") as file:
            file.write(json.dumps({**row, "seconds": time.process_time() - cpu}) + "\n")


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def table(name: str, problem: Problem, out: Path) -> None:
    """Print one line for each score, over the networks that have all of them."""
    truth, replicas = problem.truth, problem.accuracies.shape[1]
    values: dict[str, list[float]] = {
        each: [float(getattr(network.cost(TASK), each)) for network in problem.networks] for each in COUNTS
    }
    seconds: dict[str, list[float]] = {each: [0.0] for each in COUNTS}
    values |= problem.shorter
    seconds |= {each: [math.nan] for each in problem.shorter}  # not recorded
    for row in rows(out):
        if row["problem"] == name:
            values.setdefault(row["score"], []).append(row["value"])
            seconds.setdefault(row["score"], []).append(row["seconds"])
    counted = min(map(len, values.values()))
    values["az-nas"] = az_nas([values[each][:counted] for each in (*PARTS, "macs")])
    seconds["az-nas"] = [sum(np.median(seconds[each]) for each in PARTS)]
    top = round(counted / 4)
    print(f"\n{name}: {counted} networks, {replicas} trainings each; accuracy {truth.min():.3f} to {truth.max():.3f}")
    agree = problem.replicas_tau
    print(f"tau between two trainings {agree:.2f}; ceiling of tau against their mean {ceiling(agree, replicas):.2f}")
    print(
        f"\n| proxy | τ | 90 % interval | ρ | regret, points | top {top} | s/network |\n|---|---|---|---|---|---|---|"
    )
    for each, found in values.items():
        pair = found[:counted], truth[:counted]
        low, high = interval(kendall, *pair)
        print(
            f"| {each} | {kendall(*pair):.2f} | {low:.2f} to {high:.2f} | {spearman(*pair):.2f} "
            f"| {100 * regret(*pair):.2f} | {overlap(*pair, top):.2f} | {np.median(seconds[each]):.2f} |"
        )
    if problem.losses:
        by_loss(problem)


def by_loss(problem: Problem) -> None:
    """Print how short trainings rank by their training loss, beside their accuracy, as it was observed and adjusted by
    the loss, and the better count."""
    truth = problem.truth
    counts = {each: np.array([getattr(network.cost(TASK), each) for network in problem.networks]) for each in COUNTS}
    best, several = max(COUNTS, key=lambda each: kendall(counts[each], truth)), len(truth) // 4
    print(
        f"\n| short training | τ, accuracy | τ, adjusted | τ, loss | more than accuracy | more than {best} "
        f"| best of {several} |\n|---|---|---|---|---|---|---|"
    )
    pairs = {way: (-np.array(problem.losses[way]), np.array(each)) for way, each in problem.shorter.items()}
    for way, (loss, accuracy) in pairs.items():
        more = ["{:.2f} to {:.2f}".format(*difference(loss, other, truth)) for other in (accuracy, counts[best])]
        trainings = [Training(a, math.exp(each), IMAGES) for a, each in zip(accuracy, loss, strict=True)]
        adjusted = np.array([*map(Line(trainings).adjusted, trainings)])
        found = [f"{100 * found_within(values, truth, 1.0, several):.2f}" for values in (accuracy, adjusted, loss)]
        print(
            f"| {way} | {kendall(accuracy, truth):.2f} | {kendall(adjusted, truth):.2f} | {kendall(loss, truth):.2f}, "
            + "{:.2f} to {:.2f} | ".format(*interval(kendall, loss, truth))
            + f"{' | '.join(more)} | {', '.join(found)} |"
        )
    drawn = np.random.default_rng(0).integers(len(truth), size=(RESAMPLES, len(truth)))
    gains = [
        [kendall(loss[rows], truth[rows]) - kendall(accuracy[rows], truth[rows]) for loss, accuracy in pairs.values()]
        for rows in drawn
    ]
    low, high = np.quantile(np.mean(gains, 1), (0.05, 0.95))
    counted = 100 * found_within(counts[best], truth, 1.0, several)
    print(f"\nτ by loss less τ by accuracy, mean of these trainings: 90 % interval {low:.3f} to {high:.3f}")
    print(f"best of {several}: expected % of the first, by accuracy, adjusted, by loss; by {best} {counted:.2f}")
    print(f"mean of all {100 * truth.mean():.2f} %")


if __name__ == "__main__":
    main()
