"""What do pruned trials teach `guided`? Regret at equal epochs, with and without them in its predictor.

    python -m benchmarks.pruned [--problem macro] [--seeds 20] [--pruner asha] [--epochs 100 160] [--results FILE]

The problems of `regret.py`, with drawn learning curves of six epochs: a trial is below the accuracy that it comes to by
a gap that halves with every epoch and differs from network to network by a fifth, and by noise of 0.3 points. Studies
are run as any other, in memory. The network of the best complete observation is judged after so many epochs of training
in all; differences are taken seed by seed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.problems import PROBLEMS, TABLE, TABLES, Problem
from estimators import Estimate, Pruned, TrialContext
from searchspaces import Architecture
from strategies import Outcome, Strategy, make_strategy
from studies import Study
from studies.settings import Settings

EPOCHS = 6
GAP = 0.03  # after the first epoch, in accuracy
NOISE = 0.003  # until the last epoch, in accuracy
WAYS = ("without", "with")


@dataclass
class Curves:
    """An estimator of six epochs; what a training comes to is noisy."""

    problem: Problem
    instance: int

    def describe(self) -> dict[str, Any]:
        return {"name": "drawn curves", "instance": self.instance}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        own = np.random.default_rng([self.instance, *map(int, 2 + self.problem.space.encode(architecture))])
        noise, gap = np.random.default_rng(context.seed), GAP * (1 + 0.2 * own.normal())
        end = self.problem.observed(architecture, noise)
        curve: list[float] = []
        for step in range(1, EPOCHS + 1):
            below = gap * 0.5 ** (step - 1) + NOISE * noise.normal() if step < EPOCHS else 0.0
            curve.append(float(end - below))
            if not context.report(step, curve[-1]) and step < EPOCHS:
                raise Pruned(tuple(curve), 0.0)
        return Estimate(curve[-1], 0.0, tuple(curve))


class Deaf:
    """A strategy that is not told how the curves of trials went."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy, self.settings, self.ask = strategy, strategy.settings, strategy.ask

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        self._strategy.tell(architecture, replace(outcome, reports=()))


def regrets(way: str, name: str, pruner: str, seed: int, epochs: Sequence[int]) -> list[float]:
    """After so many epochs each, in percentage points."""
    make_problem, instances = PROBLEMS[name]
    problem, trials = make_problem(seed % instances), max(epochs)

    def make(space: Any, **_: Any) -> Strategy:
        strategy = make_strategy("guided", space, 60)
        return strategy if way == "with" else Deaf(strategy)

    study = Study.create(
        None,
        Settings(
            space=problem.space.whole, budget=problem.space.budget, task=problem.space.task, strategy=make, seed=seed,
            pruner=pruner, estimator=Curves(problem, seed % instances), trials=trials, ledger="memory",
        ),
    )  # fmt: skip
    spent = 0

    def count(event: Any) -> None:
        nonlocal spent
        if type(event).__name__ == "TrialEnded":
            spent += len(event.trial.reports)
            if spent >= max(epochs):
                raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        study.run(on_event=count)
    used = np.cumsum([len(trial.reports) for trial in study.trials])
    found = []
    for most in epochs:
        ended = [each for each, so_far in zip(study.trials, used, strict=True) if so_far <= most]
        best = max((each for each in ended if each.state == "complete"), key=lambda each: each.accuracy or 0.0)
        found.append(100 * (problem.best - problem.mean(best.architecture)))
    return found


def main() -> None:
    """Run what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=PROBLEMS, default="macro")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--pruner", default="asha")
    parser.add_argument("--epochs", type=int, nargs="+", default=[100, 160])
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    if given.problem in TABLES:
        os.environ[TABLE] = str(TABLES[given.problem])
    lines = given.results.read_text().splitlines() if given.results and given.results.exists() else []
    done = {tuple(key): found for key, found in map(json.loads, lines)}
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    for seed in seeds:
        for way in WAYS:
            key = (way, given.problem, given.pruner, seed, *given.epochs)
            if key not in done:
                done[key] = regrets(way, given.problem, given.pruner, seed, given.epochs)
                if given.results:
                    with given.results.open("a") as file:
                        file.write(json.dumps([key, done[key]]) + "\n")
    rows = {
        way: np.array([done[way, given.problem, given.pruner, seed, *given.epochs] for seed in seeds]) for way in WAYS
    }
    rows["with less without"] = rows["with"] - rows["without"]
    print("| pruned trials | " + " | ".join(f"{each} epochs" for each in given.epochs) + " |")
    print("|---|" + "---|" * len(given.epochs))
    for name, several in rows.items():
        cells = zip(several.mean(0), several.std(0, ddof=1) / len(several) ** 0.5, strict=True)
        print(f"| {name} | " + " | ".join(f"{mean:+.3f} ± {error:.3f}" for mean, error in cells) + " |")


if __name__ == "__main__":
    main()
