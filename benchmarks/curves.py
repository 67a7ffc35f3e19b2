"""What is the extrapolation of learning curves worth, and what does a search save by it?

Recorded trainings of random networks of `examples/few_macs.py` (`../shared/reference/few-macs-reference.jsonl`), each
group with the same settings. The models of `studies.curves` and the threshold of `studies.curve_pruning` were chosen on
networks of even number; those of odd number are held out.

- *Extrapolation*: from a third and from half of the curve, with 8 to 16 finished curves drawn at random; mean absolute
  error of the final accuracy beside the present accuracy, and that plus the mean gain of the finished curves; the share
  of final accuracies in the 80 % interval. Beside them LC-PFN (Adriaensen et al. 2023, arXiv:2310.20447), which knows
  no other curve: the posterior under its prior (sec. 3.1, and `lcpfn.domhan_prior` of its code 0.1.3) that its network
  is trained to approximate, here by importance sampling from the prior; nothing of the network enters.
- *Search* for accuracy alone: random search that replays at most 60 of the curves in random order, one trial at a time,
  through `studies.pruning`, in groups of at least 36. Epochs against those of all trials in full, and how far the best
  complete trial is below the best of all by its recorded final accuracy. In the time of half the trials in full: how
  many networks are tried, and how far the best complete one is below the best of all. The ± are standard errors over
  orders; that a pruner stops the best curve of a group is one event in all of its searches.

Nothing is trained.

    python -m benchmarks.curves [--half odd] [--searches 400] [--below 0.02 0.05]

What came out is written up in docs/proxies.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from searchspaces import Task, load_space
from studies.curve_pruning import CurvesPruner
from studies.curves import extrapolate
from studies.pruning import PRUNERS, Aim, Pruning
from studies.trial import Trial

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT.parent / "shared" / "reference" / "few-macs-reference.jsonl"
FINISHED = (8, 12, 16)
"""Curves that are known."""
DRAWS = 40
"""Random orders of the curves, the first of which are known."""
FEWEST, TRIALS = 36, 60
PRIOR_CURVES, PRIOR_EPOCHS = 400_000, 100
"""Curves drawn from LC-PFN's prior, and the epochs over which it demands that they rise and stay in [0, 1]."""
HALVES = {"even": (0,), "odd": (1,), "all": (0, 1)}


@dataclass(frozen=True)
class Training:
    """A recorded one: the trial it would be, and its accuracy at each step."""

    trial: Trial
    curve: tuple[tuple[int, float], ...]


def recorded(half: str) -> dict[str, list[Training]]:
    """The trainings of at least four reports, by their settings."""
    space = load_space(f"{ROOT / 'examples' / 'few_macs.py'}:space")
    found: dict[str, list[Training]] = {}
    for line in RECORDED.read_text().splitlines():
        row = json.loads(line)
        if row["network"] % 2 in HALVES[half] and len(row["curve"]) >= 4:
            architecture = space.architecture(row["choices"])
            trial = Trial(0, architecture, architecture.cost(Task(32, 3, 10)), "running", 0)
            curve = tuple((step, accuracy) for step, accuracy in row["curve"])
            found.setdefault(row["training"].split(":")[-1].strip(), []).append(Training(trial, curve))
    return found


@cache
def drawn_curves() -> npt.NDArray[np.float32]:
    """Noiseless curves (`PRIOR_CURVES`, `PRIOR_EPOCHS`) of LC-PFN's prior: a weighted sum of three shapes."""
    rng, x, kept, count = np.random.default_rng(0), np.arange(1, PRIOR_EPOCHS + 1), [], 0
    uniform, normal = (partial(each, size=(20_000, 1)) for each in (rng.uniform, rng.lognormal))
    while count < PRIOR_CURVES:
        with np.errstate(over="ignore", invalid="ignore"):
            power = uniform(0, 1.25) - uniform(-0.6, 0.6) * x ** -normal(0, 2)
            logarithmic = uniform(0, 1) - uniform(-0.5, 0.5) / np.log(x + 1)
            highest, lowest = uniform(0, 1), uniform(0, 2)
            janoschek = highest - (highest - lowest) * np.exp(-normal(-2, 1) * x ** normal(0, 0.5))
            curves = uniform(0, 1) * power + uniform(0, 1) * logarithmic + uniform(0, 1) * janoschek
        fine = (curves[:, -1] > curves[:, 0]) & (curves >= 0).all(1) & (curves <= 1).all(1)
        kept.append(curves[fine].astype(np.float32))
        count += int(fine.sum())
    return np.concatenate(kept)[:PRIOR_CURVES]


def by_lc_pfn(known: Sequence[tuple[int, float]], last: int) -> tuple[float, float, float, float]:
    """Posterior of the accuracy at the last epoch: its mean, the ends of its 80 % interval, and how many draws count.

    Known are epochs and their accuracies. The noise's deviation is lognormal around exp(-4), and is summed over a grid.
    Draws count as 1 / sum(w²) of their normalized weights w.
    """
    curves = drawn_curves()
    noises = np.exp(np.linspace(-7, -1, 25))
    steps, accuracies = np.array([step for step, _ in known]), np.array([each for _, each in known], np.float32)
    squared = ((curves[:, steps - 1] - accuracies) ** 2).sum(1, dtype=np.float64)[:, None]  # (curves, 1)
    logs = -len(known) * np.log(noises) - squared / (2 * noises**2) - (np.log(noises) + 4) ** 2 / 2  # (curves, noises)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    finals = curves[:, last - 1].astype(float)
    chosen = np.random.default_rng(0).choice(weights.size, 20_000, p=weights.ravel())
    rows, columns = np.divmod(chosen, len(noises))
    seen = finals[rows] + noises[columns] * np.random.default_rng(1).normal(size=len(rows))
    low, high = np.quantile(seen, [0.1, 0.9])
    return float(weights.sum(1) @ finals), low, high, float(1 / (weights.sum(1) ** 2).sum())


def extrapolations(name: str, trainings: list[Training]) -> None:
    """A line for each part of the curve that is known."""
    curves = np.array([[accuracy for _, accuracy in each.curve] for each in trainings])
    steps = [step for step, _ in trainings[0].curve]
    last, finals, rng = curves.shape[1], curves[:, -1], np.random.default_rng(0)
    orders = [rng.permutation(len(curves)) for _ in range(DRAWS)]
    for known in sorted({max(last // 3, 1), last // 2}):
        theirs = [by_lc_pfn(each.curve[:known], each.curve[-1][0]) for each in trainings]
        their_error = np.mean([abs(mean - final) for (mean, *_), final in zip(theirs, finals, strict=True)])
        their_share = np.mean([low <= final <= high for (_, low, high, _), final in zip(theirs, finals, strict=True)])
        errors, inside = [], []
        for order, count in itertools.product(orders, FINISHED):
            learned = order[:count]
            gain = (finals[learned] - curves[learned, known - 1]).mean()
            for index in order[count:]:
                found = extrapolate(curves[index, :known].tolist(), curves[learned], finals[learned])
                low, high = found.interval
                present = curves[index, known - 1]
                errors.append(np.abs(np.array([present, present + gain, found.mean]) - finals[index]))
                inside.append(low <= finals[index] <= high)
        points = " | ".join(f"{100 * each:.2f}" for each in np.mean(errors, axis=0))
        covered, draws = 100 * np.mean(inside), np.median([draws for *_, draws in theirs])
        by_prior = f"{100 * their_error:.2f} | {100 * their_share:.0f} % | {draws:.0f}"
        part = f"{steps[known - 1]} of {steps[-1]}"
        print(f"| {name} | {part} | {points} | {covered:.0f} % | {by_prior} |", flush=True)


def stops_below(chance: float, aim: Aim) -> CurvesPruner:
    """The pruner `curves` with another threshold."""
    return CurvesPruner(aim.costs, aim.leaders, chance)


def searched(pruner: str, trainings: list[Training], limit: float = np.inf) -> tuple[int, int, float]:
    """Replay trainings in their order, none being started once the epochs are spent.

    Returns:
        Epochs, trials, and the best final accuracy of a complete trial.
    """
    pruning, epochs, best, tried = Pruning(pruner, Aim()), 0, 0.0, 0
    for number, training in enumerate(trainings):
        if epochs >= limit:
            break
        trial, reports, tried = replace(training.trial, number=number), [], tried + 1
        pruning.started(trial)
        state: Any = "complete"
        for step, accuracy in training.curve:
            reports.append((step, accuracy))
            if not pruning.goes_on(number, step, accuracy) and len(reports) < len(training.curve):
                state = "pruned"
                break
        epochs += len(reports)
        best = max(best, reports[-1][1]) if state == "complete" else best
        pruning.ended(replace(trial, state=state, accuracy=reports[-1][1], reports=tuple(reports), rank=number))
    return epochs, tried, best


def searches(name: str, trainings: list[Training], seeds: int) -> None:
    """A line for each pruner, over the same orders."""
    trials, steps = min(TRIALS, len(trainings)), len(trainings[0].curve)
    for pruner in PRUNERS:
        whole, half = [], []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(trainings))[:trials]
            drawn = [trainings[index] for index in order]
            top = max(each.curve[-1][1] for each in drawn)
            epochs, _, best = searched(pruner, drawn)
            whole.append((1 - epochs / (trials * steps), 100 * (top - best)))
            _, tried, best = searched(pruner, drawn, trials * steps / 2)
            half.append((tried, 100 * (top - best)))
        (saved, lost), (tried, behind) = np.mean(whole, axis=0), np.mean(half, axis=0)
        errors = [np.std(each, axis=0)[1] / np.sqrt(seeds) for each in (whole, half)]
        in_full = f"{100 * saved:.0f} % | {lost:.2f} ± {errors[0]:.2f}"
        print(f"| {name}, {trials} trials | {pruner} | {in_full} | {tried:.0f} | {behind:.2f} ± {errors[1]:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=HALVES, default="odd", help="networks of which number")
    parser.add_argument("--searches", type=int, default=400, help="of each pruner, in different orders")
    parser.add_argument("--below", type=float, nargs="*", default=[], help="thresholds to compare")
    args = parser.parse_args()

    print("| trainings | known | present | + mean gain | extrapolated | coverage | LC-PFN's prior | coverage | draws |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, trainings in recorded(args.half).items():
        extrapolations(name, trainings)
    print("\n| search | pruner | epochs saved | points lost | tried in half the time | points behind |")
    print("|---|---|---|---|---|---|")
    for below in args.below:
        PRUNERS[f"curves, {below:g}"] = partial(stops_below, below)
    for name, trainings in recorded(args.half).items():
        if len(trainings) >= FEWEST:
            searches(name, trainings, args.searches)


if __name__ == "__main__":
    main()
