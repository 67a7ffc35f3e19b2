"""What searches choose by observed and adjusted accuracies and beliefs: `python -m benchmarks.adjusted [--seeds 40]`.

On `fashion-losses.json`: six short trainings of each of the 315 networks of `fashion_space.py`, with the training loss
of their last epoch (`record.py --losses` made it). A trial returns one of the first three trainings at random, and so
does a confirmation; the truth is the mean accuracy of the other three, which no search sees, and the accuracy of one
training on nearly nine times the images. From 50 trials on an eighth of them are confirmations, as `--confirm auto` has
them. Both choices are made after the same trials, and the differences are seed by seed. Strategies are told accuracies
as they are observed, and confirmations count so.

First it prints how well one training ranks the networks: Kendall's tau of its accuracy, of its likelihood and of its
adjusted accuracy with the truth, and of the mean of two and three accuracies. Then what adjusting adds to the true
accuracy of the network chosen of some that are drawn, where likelihoods tell more or less of the truth: what it costs
where they tell nothing.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: processes side by side

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fashion_space import BUDGET, TASK, key, space
from estimators.agreement import kendall
from strategies import Outcome, make_strategy
from studies.adjusting import Line, Training
from studies.belief import Seen, posterior
from studies.confirming import AUTO_LEADERS, AUTO_SHARE, ENOUGH, Trained, contested

TABLE = Path(__file__).with_name("fashion-losses.json")
IMAGES = 600
"""That each training was validated on."""
SEEN = 3
"""Trainings that a search may see; the others are the truth."""
FEASIBLE = space.under(BUDGET, TASK)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="*", default=["random", "evolution", "local-search", "guided"])
    parser.add_argument("--trials", nargs="*", type=int, default=[25, 50, 100])
    parser.add_argument("--seeds", type=int, default=40, help="from 1000 on")
    given = parser.parse_args()
    table: dict[str, dict[str, Any]] = json.loads(TABLE.read_text())
    seen = {
        name: [Training(each["accuracy"][one], math.exp(-each["loss"][one]), IMAGES) for one in range(SEEN)]
        for name, each in table.items()
    }
    truths = {
        "the others": {name: float(np.mean(each["accuracy"][SEEN:])) for name, each in table.items()},
        "the long one": {name: each["long"] for name, each in table.items()},
    }
    for name, truth in truths.items():
        print(f"\nwith {name}:")
        ranked(list(seen.values()), np.array(list(truth.values())))
    invented()
    columns = [f"{name}: observed | adjusted | believed" for name in truths]
    print(f"\n| strategy | trials | {' | '.join(columns)} |\n|---|---|---|---|---|---|---|---|")
    for strategy in given.strategies:
        for trials in given.trials:
            found = np.array([search(strategy, trials, seed, seen) for seed in range(1000, 1000 + given.seeds)])
            cells = []
            for truth in truths.values():
                accuracies = 100 * np.vectorize(truth.__getitem__)(found)  # (seeds, three choices)
                cells.append(mean(accuracies[:, 0]))
                cells += [mean(accuracies[:, way] - accuracies[:, 0], "+") for way in (1, 2)]
            print(f"| `{strategy}` | {trials} | {' | '.join(cells)} |", flush=True)


def ranked(trainings: Sequence[Sequence[Training]], truth: Any) -> None:
    """Print how well trainings rank all networks."""
    ways: dict[str, list[float]] = {}
    for one in range(SEEN):
        single = [each[one] for each in trainings]
        line = Line(single)
        for name, values in (
            ("accuracy", [each.accuracy for each in single]),
            ("likelihood", [each.likelihood for each in single]),
            ("adjusted accuracy", [line.adjusted(each) for each in single]),
        ):
            ways.setdefault(f"{name} of one training", []).append(kendall(np.array(values), truth))
    for several in range(2, SEEN + 1):
        means = np.array([np.mean([each.accuracy for each in own[:several]]) for own in trainings])
        ways[f"mean accuracy of {several} trainings"] = [kendall(means, truth)]
    for name, found in ways.items():
        print(f"{name}: tau {np.mean(found):.2f}")


def invented() -> None:
    """Print what adjusting adds to the accuracy of the network chosen, of networks that deviate by a point."""
    counts, images, repeats, rng = (10, 20, 60), 800, 2000, np.random.default_rng(0)
    print(f"\n| correlation | {' | '.join(f'{count} networks' for count in counts)} |")
    print("|---|" + "---|" * len(counts))
    for correlation in (0.0, 0.3, 0.5, 0.7, 0.9):
        cells = []
        for count in counts:
            gains = []
            for _ in range(repeats):
                true, other = rng.normal(0.6, 0.01, count), rng.normal(size=count)
                told = correlation * (true - 0.6) / 0.01 + math.sqrt(1 - correlation**2) * other
                accuracies = rng.binomial(images, true) / images
                found = [Training(a, 0.4 + 0.02 * b, images) for a, b in zip(accuracies, told, strict=True)]
                adjusted = [*map(Line(found).adjusted, found)]
                gains.append(100 * (true[np.argmax(adjusted)] - true[np.argmax(accuracies)]))
            cells.append(mean(np.array(gains), "+"))
        print(f"| {correlation:g} | {' | '.join(cells)} |", flush=True)


def search(name: str, trials: int, seed: int, seen: dict[str, list[Training]]) -> tuple[str, ...]:
    """The networks that a search chooses by observed accuracies, by adjusted ones and by beliefs."""
    confirmations = trials // AUTO_SHARE if trials >= ENOUGH else 0
    strategy, luck = make_strategy(name, FEASIBLE, trials), np.random.default_rng([seed, 0])
    members, found = [], []
    for number in range(trials - confirmations):
        member = strategy.ask(np.random.default_rng([seed, 1, number]))
        training = seen[key(member)][luck.integers(SEEN)]
        strategy.tell(member, Outcome("running"))
        strategy.tell(member, Outcome("complete", training.accuracy))
        members.append(member)
        found.append(training)
    line = Line(found)
    own = getattr(strategy, "believed", None)
    observed, adjusted = [each.accuracy for each in found], [*map(line.adjusted, found)]
    costs = [member.cost(TASK) for member in members]
    told = tuple(
        Seen(member, cost.macs, cost.params, accuracy, 0.0)
        for member, cost, accuracy in zip(members, costs, adjusted, strict=True)
    )
    certain = float(np.mean([line.standard_error(each) ** 2 for each in found]))
    beliefs = [each.mean for each in posterior(told, known_luck=certain)]
    chosen = []
    for judged in (observed, adjusted, beliefs):
        if not confirmations:
            chosen.append(key(members[int(np.argmax(judged))]))
            continue
        merits = np.array(beliefs if judged is beliefs else own(members) if own else observed)
        leaders = np.argsort(-merits, kind="stable")[:AUTO_LEADERS].tolist()
        several, luck = [[judged[each]] for each in leaders], np.random.default_rng([seed, 2])
        for _ in range(confirmations):
            one = contested([Trained(tuple(each), len(each)) for each in several])
            assert one is not None
            several[one].append(seen[key(members[leaders[one]])][luck.integers(SEEN)].accuracy)
        again = [one for one, each in enumerate(several) if len(each) > 1]
        chosen.append(key(members[leaders[max(again, key=lambda one: float(np.mean(several[one])))]]))
    return tuple(chosen)


def mean(values: Any, sign: str = "") -> str:
    """Of some numbers, with its standard error."""
    return f"{values.mean():{sign}.2f} ± {values.std(ddof=1) / math.sqrt(len(values)):.2f}"


if __name__ == "__main__":
    main()
