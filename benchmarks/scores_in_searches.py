"""Does a zero-cost score help a search? Regret with and without, on two recorded tables.

    python -m benchmarks.scores_in_searches [--seeds 30] [--trials 25 50 100] [--only fashion] [--scores naswot]
                                            [--strategies guided evolution random] [--prescreen 4 8]
                                            [--out scores.jsonl]

A score is a feature of the predictor of `guided` (`--strategies guided`, the default), and with `--prescreen` it also
chooses among so many proposals of each strategy, as `nas search --prescreen naswot:8` does. `--scores macs` is the
score that only counts, as which any other should be better.

`macro` is NAS-Bench-Macro under 45M MACs, `fashion` the table of `benchmarks/fashion_space.py`. Every network that fits
is scored once, from one seed of initial weights, and kept in the file; a second run goes on from there. Each search is
run with no score and with each of them, with the same seeds and the same noise, and chooses the network of the best
observation. Printed are regrets in percentage points with standard errors, and the difference from no score, paired by
seed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.problems import ROOT, TABLES
from estimators import ZeroCost, load_data
from estimators.agreement import kendall
from searchspaces import Architecture, Budget, SearchSpace, Task, load_object
from strategies import Outcome, Strategy, make_strategy
from strategies.prescreen import Prescreened

DATA = ROOT.parent / "shared" / "data"
SEED = 0
"""Of the initial weights that all scores are of."""


@dataclass(frozen=True)
class Problem:
    """A recorded table, what of its space fits, and the images that scores are of: how many, and how large."""

    space: SearchSpace
    key: Callable[[Architecture], str]
    accuracies: Mapping[str, Sequence[float]]
    images: Path
    batch: int
    image_size: int

    def mean(self, member: Architecture) -> float:
        """The true accuracy."""
        return float(np.mean(self.accuracies[self.key(member)]))


def macro() -> Problem:
    """The 2,225 networks under 60M are too many to be scored in some minutes, and so are images of 32 pixels."""
    key = load_object(f"{ROOT / 'examples' / 'nas_bench_macro.py'}:key")
    table = json.loads(TABLES["macro"].read_text())
    accuracies = {each: [value / 100 for value in entry["test_acc"]] for each, entry in table.items()}
    space = key.__globals__["space"].under(Budget.parse("45M"), Task(32, 3, 10))
    return Problem(space, key, accuracies, DATA / "cifar10-small.npz", 32, 16)


def fashion() -> Problem:
    """All of the table."""
    key = load_object(f"{ROOT / 'benchmarks' / 'fashion_space.py'}:key")
    space, task, budget = (key.__globals__[name] for name in ("space", "TASK", "BUDGET"))
    images = DATA / "fashion-mnist.npz"
    return Problem(space.under(budget, task), key, json.loads(TABLES["fashion"].read_text()), images, 64, 14)


PROBLEMS = {"macro": macro, "fashion": fashion}


def scored(name: str, problem: Problem, score: str, out: Path) -> dict[Architecture, float]:
    """The score of every network; those that the file has not are computed, and appended to it. `macs` only counts."""
    if score == "macs":
        return {each: float(each.cost(problem.space.task or Task()).macs) for each in problem.space.enumerate()}
    done = {row["key"]: row["value"] for row in rows(out) if (row["problem"], row["score"]) == (name, score)}
    members = list(problem.space.enumerate())
    missing = [each for each in members if problem.key(each) not in done]
    scorer = None
    for each in missing:
        if scorer is None:
            data = load_data(str(problem.images))
            scorer = ZeroCost(data, score, batch=problem.batch, image_size=problem.image_size, device="cpu")
        cpu = time.process_time()
        done[problem.key(each)] = scorer.of(each, SEED)
        row = {"problem": name, "score": score, "key": problem.key(each), "value": done[problem.key(each)]}
        with out.open("a") as file:
            file.write(json.dumps({**row, "seconds": round(time.process_time() - cpu, 4)}) + "\n")
    return {each: done[problem.key(each)] for each in members}


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def searched(
    problem: Problem, strategy: Strategy, trials: int, seed: int, scores: Mapping[Architecture, float]
) -> float:
    """The regret, in [0, 1], of the network of the best observation."""
    noise, observed, chosen = np.random.default_rng([seed, 1 << 20]), -1.0, 0.0
    for number in range(trials):
        member = strategy.ask(np.random.default_rng([seed, number]))
        strategy.tell(member, Outcome("running"))
        several = problem.accuracies[problem.key(member)]
        accuracy = several[int(noise.integers(len(several)))]
        strategy.tell(member, Outcome("complete", accuracy))
        if accuracy > observed:  # the first of equals, which the truth does not tell apart
            observed, chosen = accuracy, problem.mean(member)
    return max(map(problem.mean, scores)) - chosen


def ways(
    name: str, problem: Problem, trials: int, tables: Mapping[str, Mapping[Architecture, float]], screens: Sequence[int]
) -> dict[str, Callable[[], Strategy]]:
    """What makes a strategy without a score, and with each of them in each way; without one first."""

    def plain() -> Strategy:
        return make_strategy(name, problem.space, trials)

    def feature(score: str) -> Strategy:
        made = make_strategy(name, problem.space, trials, score=score)
        made.score_by(tables[score].__getitem__)  # type: ignore[attr-defined]
        return made

    found: dict[str, Callable[[], Strategy]] = {"no score": plain}
    for score, table in tables.items():
        if name == "guided":
            found[f"{score} as a feature"] = partial(feature, score)
        for draws in screens:
            found[f"the best of {draws} by {score}"] = partial(_screened, plain, table, draws)
    return found


def _screened(plain: Callable[[], Strategy], table: Mapping[Architecture, float], draws: int) -> Strategy:
    return Prescreened(plain(), table.__getitem__, draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PROBLEMS, help="one of the problems")
    parser.add_argument("--scores", nargs="+", default=["naswot"])
    parser.add_argument("--strategies", nargs="+", default=["guided"])
    parser.add_argument("--prescreen", nargs="*", type=int, default=[], help="proposals for each trial")
    parser.add_argument("--trials", nargs="+", type=int, default=[25, 50, 100])
    parser.add_argument("--seeds", type=int, default=30, help="from 3000 on")
    parser.add_argument("--out", type=Path, default=Path("scores.jsonl"), help="scores, one JSON object a line")
    args = parser.parse_args()
    for name in [args.only] if args.only else PROBLEMS:
        problem = PROBLEMS[name]()
        tables = {each: scored(name, problem, each, args.out) for each in args.scores}
        truth = np.array(list(map(problem.mean, problem.space.enumerate())))
        for each, table in tables.items():
            print(f"{name}: {each} of {len(table)} networks, tau {kendall(list(table.values()), truth):.2f}")
        for trials, strategy in itertools.product(args.trials, args.strategies):
            compare(
                f"N = {trials}, {strategy}",
                problem,
                ways(strategy, problem, trials, tables, args.prescreen),
                trials,
                args.seeds,
            )


def compare(title: str, problem: Problem, made: Mapping[str, Callable[[], Strategy]], trials: int, seeds: int) -> None:
    """Print the regret of each way after so many trials, and its difference from the first way, paired by seed."""
    scores = dict.fromkeys(problem.space.enumerate(), 0.0)
    first: npt.NDArray[np.float64] | None = None
    for way, make in made.items():
        regrets = np.array([100 * searched(problem, make(), trials, 3000 + seed, scores) for seed in range(seeds)])
        first = regrets if first is None else first
        regret, difference = (
            f"{each.mean():+.3f} ± {each.std(ddof=1) / math.sqrt(seeds):.3f}" for each in (regrets, regrets - first)
        )
        print(f"{title}, {way}: {regret}, less that without {difference}", flush=True)


if __name__ == "__main__":
    main()
