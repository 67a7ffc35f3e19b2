"""What is a rung of fewer images, or of fewer epochs, worth before a training?

Recorded trainings of random networks of `examples/few_macs.py` (`../shared/reference/few-macs-reference.jsonl`),
paired by network: a rung, and the training that it comes before. What `estimators.rungs` would do is replayed: the
rung's final accuracy is the report at step 0, the epochs of the training follow.

- *Rank*: Kendall's tau and Pearson's r of the rung and the end of the training, beside those of the training's own
  epoch 1, and of the epoch until which it has trained on about as many images.
- *Search* for accuracy alone: random search through `studies.pruning` over the same orders with and without the rung.
  The share of the images saved, those of the rungs counted; points that the best complete trial is below the best of
  all by its recorded final accuracy, ± the standard error over orders.
- *Equal loss*: a plain rule keeps the best share of a random half of the networks at one point, by the rung or by an
  epoch, and every share is tried: the most images saved while the mean loss is at most so many points.

Nothing is trained.

    python -m benchmarks.rungs [--searches 200]

What came out is written up in docs/proxies.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from scipy.stats import kendalltau

from benchmarks.curves import RECORDED, ROOT
from searchspaces import Task, load_space
from studies.pruning import PRUNERS, Aim, Pruning
from studies.trial import Trial

PAIRS: Final = (
    ("3 epochs, 3,200 images, batch 32", "6 epochs, 8,000 images, batch 64"),
    ("6 epochs, 3,200 images, batch 32", "6 epochs, 8,000 images, batch 64"),
    ("12 epochs, 3,200 images, batch 128", "12 epochs, 8,000 images, batch 128"),
    ("6 epochs, 3,200 images, batch 32", "full: 60 epochs, 10,000 images, batch 128"),
    ("6 epochs, 8,000 images, batch 64", "full: 60 epochs, 10,000 images, batch 128"),
)
"""A rung, and the training after it."""
LOSSES: Final = (0.1, 0.3)
"""Points at which rules are compared."""


@dataclass(frozen=True)
class Replayed:
    """A trial: its rung, then its training.

    Attributes:
        trial: that it would be.
        reports: step and accuracy; the first is that of the rung, at step 0.
        images: that were trained on until each report, from the start of what it belongs to.
    """

    trial: Trial
    reports: tuple[tuple[int, float], ...]
    images: tuple[int, ...]


def images_of(training: str) -> int:
    """Of an epoch.

    >>> images_of("6 epochs, 3,200 images, batch 32")
    3200
    """
    return int(training.split(" epochs, ")[1].split(" images")[0].replace(",", ""))


def replayed(rung: str, training: str) -> list[Replayed]:
    """The networks that have both, with the first seed of each."""
    space = load_space(f"{ROOT / 'examples' / 'few_macs.py'}:space")
    rows = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    first = {(row["training"], row["network"]): row for row in reversed(rows)}
    found = []
    for network in sorted({row["network"] for row in rows}):
        if (rung, network) not in first or (training, network) not in first:
            continue
        small, whole = first[rung, network], first[training, network]
        architecture = space.architecture(whole["choices"])
        trial = Trial(0, architecture, architecture.cost(Task(32, 3, 10)), "running", 0)
        reports = ((0, small["curve"][-1][1]), *((step, accuracy) for step, accuracy in whole["curve"]))
        counts = (small["curve"][-1][0] * images_of(rung), *(step * images_of(training) for step, _ in whole["curve"]))
        found.append(Replayed(trial, reports, counts))
    return found


def searched(pruner: str, trials: list[Replayed], rung: bool) -> tuple[int, float]:
    """Images that were trained on, and the best final accuracy of a complete trial."""
    pruning, images, best = Pruning(pruner, Aim()), 0, 0.0
    for number, each in enumerate(trials):
        trial, reports = replace(each.trial, number=number), list[tuple[int, float]]()
        pruning.started(trial)
        state: Any = "complete"
        spent = 0
        for at, report in enumerate(each.reports):
            if at == 0 and not rung:
                continue
            spent = each.images[at] + (each.images[0] if rung and at else 0)
            reports.append(report)
            if not pruning.goes_on(number, *report) and at + 1 < len(each.reports):
                state = "pruned"
                break
        images += spent
        best = max(best, reports[-1][1]) if state == "complete" else best
        pruning.ended(replace(trial, state=state, accuracy=reports[-1][1], reports=tuple(reports), rank=number))
    return images, best


def searches(name: str, trials: list[Replayed], seeds: int, known: dict[tuple[str, str], str]) -> None:
    """A line for each pruner; `known` has what came out without a rung, by the training and the pruner."""
    whole, top = sum(each.images[-1] for each in trials), max(each.reports[-1][1] for each in trials)

    def cell(pruner: str, rung: bool) -> str:
        drawn = []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(trials))
            images, best = searched(pruner, [trials[index] for index in order], rung)
            drawn.append((100 * (1 - images / whole), 100 * (top - best)))
        (saved, lost), spread = np.mean(drawn, axis=0), np.std(drawn, axis=0)[1] / np.sqrt(seeds)
        return f"{saved:.0f} % | {lost:.2f} ± {spread:.2f}"

    for pruner in (name for name in PRUNERS if name != "none"):
        without = name.split(" → ")[1], pruner
        if without not in known:
            known[without] = cell(pruner, False)
        print(f"| {name} | {pruner} | {known[without]} | {cell(pruner, True)} |", flush=True)


def correlations(name: str, trials: list[Replayed]) -> None:
    """A line: how the rung ranks, beside the epochs of the training."""
    accuracies = np.array([[accuracy for _, accuracy in each.reports] for each in trials])
    images = trials[0].images
    near = 1 + int(np.argmin(np.abs(np.array(images[1:-1]) - images[0])))
    cells = []
    for at in (0, 1, near):
        tau = kendalltau(accuracies[:, at], accuracies[:, -1]).statistic
        cells.append(f"{tau:.2f}, {np.corrcoef(accuracies[:, at], accuracies[:, -1])[0, 1]:.2f}")
    share = f"{100 * images[0] / images[-1]:.0f} %"
    print(f"| {name} | {len(trials)} | {share} | {' | '.join(cells)} (epoch {trials[0].reports[near][0]}) |")


def equal_loss(name: str, trials: list[Replayed], seeds: int) -> None:
    """A line: the most that keeping the best share at one point saves, over random halves of the networks."""
    accuracies = np.array([[accuracy for _, accuracy in each.reports] for each in trials])
    images = np.array(trials[0].images)
    half = len(trials) // 2
    drawn = [np.random.default_rng(seed).permutation(len(trials))[:half] for seed in range(seeds)]
    cells = []
    for limit in LOSSES:
        best: dict[str, tuple[float, str]] = {}
        for at in range(len(images) - 1):
            for kept in range(1, half + 1):
                lost = []
                for some in drawn:
                    leaders = some[np.argsort(-accuracies[some, at], kind="stable")[:kept]]
                    lost.append(accuracies[some, -1].max() - accuracies[leaders, -1].max())
                again = kept * images[-1] + (half if at == 0 else half - kept) * images[at]
                saved = 100 * (1 - again / (half * images[-1]))
                if 100 * np.mean(lost) <= limit:
                    of, where = ("rung", "") if at == 0 else ("epoch", f" (epoch {trials[0].reports[at][0]})")
                    best[of] = max(best.get(of, (0.0, "")), (saved, where))
                    break
        cells += [f"{best[of][0]:.0f} %{best[of][1]}" if of in best else "–" for of in ("rung", "epoch")]
    print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=200, help="of each pruner, in different orders")
    args = parser.parse_args()
    several = {f"{rung} → {training.removeprefix('full: ')}": replayed(rung, training) for rung, training in PAIRS}

    print("| rung → training | networks | rung's images | τ, r: rung | epoch 1 | epoch of as many images |")
    print("|---|---|---|---|---|---|")
    for name, trials in several.items():
        correlations(name, trials)
    print("\n| rung → training | pruner | saved without | points lost | saved with the rung | points lost |")
    print("|---|---|---|---|---|---|")
    known: dict[tuple[str, str], str] = {}
    for name, trials in several.items():
        searches(name, trials, args.searches, known)
    columns = [f"{of}, ≤ {limit:g} points" for limit in LOSSES for of in ("rung", "epoch")]
    print(f"\n| rung → training | {' | '.join(columns)} |\n|---|---|---|---|---|")
    for name, trials in several.items():
        equal_loss(name, trials, args.searches)


if __name__ == "__main__":
    main()
