"""Is the network that a study believes in better than the one with the best observation?

    python -m benchmarks.belief [--problems macro@0 macro@0.26 macro@0.8 fashion noisy] [--seeds 30]
                                [--strategies random evolution guided] [--trials 25 50 100 200]
                                [--results belief.jsonl]

Regret in percentage points, of the true accuracy that fits best less that of the network chosen, on the problems of
`regret.py`; `macro@0.26` is NAS-Bench-Macro's mean accuracies with normal noise of 0.26 points. Three ways to choose
among the same trials, each trained once: by the best observation; by belief (`studies.belief`, where half of the
predictor's noise is luck); and by the predictor's mean (all of it is).

`benchmarks.belief_later` looks at searches that were run.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy

import argparse
import dataclasses
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.problems import PROBLEMS, TABLE, TABLES, TASK, Problem
from strategies import Outcome, make_strategy
from studies import belief

WAYS = {"observed": 0.0, "belief": belief.LUCK, "predictor": 1.0}
"""How much of the predictor's noise is taken for luck."""


def main() -> None:
    """Run what is not in the file of results yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["macro@0", "macro@0.26", "macro@0.8", "fashion", "noisy"])
    parser.add_argument("--strategies", nargs="+", default=["random", "evolution", "guided"])
    parser.add_argument("--trials", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=5000, help="the share of luck was chosen with seeds below")
    parser.add_argument("--results", type=Path, help="file of one line a run, which is read and added to")
    given = parser.parse_args()
    lines = given.results.read_text().splitlines() if given.results and given.results.exists() else []
    known = {(problem, strategy, seed): found for problem, strategy, seed, found in map(json.loads, lines)}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for problem in given.problems:
            for strategy in given.strategies:
                if (problem, strategy, seed) in known:
                    continue
                found = regrets(named(problem, seed), strategy, sorted(given.trials), seed)
                known[problem, strategy, seed] = found
                if given.results:
                    with given.results.open("a") as file:
                        file.write(json.dumps([problem, strategy, seed, found]) + "\n")
    print(table(known, given.problems, given.strategies, sorted(given.trials)))


def named(name: str, seed: int) -> Problem:
    """A problem of `regret.py`, with normal noise of so many points in place of its own where its name says so."""
    base, _, points = name.partition("@")
    if base in TABLES:
        os.environ[TABLE] = str(TABLES[base])
    make, instances = PROBLEMS[base]
    problem = make(seed % instances)
    if not points:
        return problem
    deviation = float(points) / 100
    return dataclasses.replace(
        problem, observed=lambda member, rng: problem.mean(member) + deviation * float(rng.normal())
    )


def regrets(problem: Problem, strategy: str, trials: Sequence[int], seed: int) -> dict[str, dict[str, float]]:
    """By number of trials and way of choosing, of one run each."""
    found: dict[str, dict[str, float]] = {}
    for count in trials:
        running, noise = make_strategy(strategy, problem.space, count), np.random.default_rng([seed, 1 << 20])
        seen = []
        for number in range(count):
            member = running.ask(np.random.default_rng([seed, number]))
            running.tell(member, Outcome("running"))
            accuracy = problem.observed(member, noise)
            running.tell(member, Outcome("complete", accuracy))
            cost = member.cost(TASK)
            seen.append(belief.Seen(member, cost.macs, cost.params, accuracy, 0.0))
        chosen = {
            way: max(zip(belief.posterior(tuple(seen), luck=luck), seen, strict=True), key=lambda pair: pair[0].mean)[1]
            for way, luck in WAYS.items()
        }
        found[str(count)] = {
            way: 100 * (problem.best - problem.mean(each.architecture)) for way, each in chosen.items()
        }
    return found


def table(
    known: dict[tuple[str, str, int], dict[str, dict[str, float]]],
    problems: Sequence[str],
    strategies: Sequence[str],
    trials: Sequence[int],
) -> str:
    """Regret of the best observation, and what the other ways add to it, seed by seed, in Markdown."""
    rows = [
        "| problem | strategy | seeds | chosen by | " + " | ".join(f"N = {count}" for count in trials) + " |",
        "|---|---|---|---|" + "---|" * len(trials),
    ]
    for problem in problems:
        for strategy in strategies:
            runs = [found for (name, by, _), found in known.items() if (name, by) == (problem, strategy)]
            for way in WAYS:
                cells = []
                for count in trials:
                    first = [run[str(count)]["observed"] for run in runs]
                    more = [run[str(count)][way] - run[str(count)]["observed"] for run in runs]
                    cells.append(f"{statistics.mean(first):.3f}" if way == "observed" else mean(more))
                rows.append(f"| `{problem}` | `{strategy}` | {len(runs)} | {way} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def mean(numbers: Sequence[float]) -> str:
    """With its standard error."""
    error = statistics.stdev(numbers) / math.sqrt(len(numbers)) if len(numbers) > 1 else math.nan
    return f"{statistics.mean(numbers):+.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
