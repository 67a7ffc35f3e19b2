"""What is the extrapolation of learning curves worth, and what does a search save by it?

Recorded trainings of random networks of `examples/few_macs.py` (`../shared/reference/few-macs-reference.jsonl`), each
group with the same settings. The models of `studies.curves` and the threshold of `studies.curve_pruning` were chosen on
networks of even number; those of odd number are held out.

- *Extrapolation*: from the first report, from a third and from half of the curve and from the last report but one, with
  8 to 16 finished curves drawn at random; mean absolute error of the final accuracy beside the present accuracy, and
  that plus the mean gain of the finished curves; the share of final accuracies in the 80 % interval. Beside them LC-PFN
  (Adriaensen et al. 2023, arXiv:2310.20447), which knows no other curve: the posterior under its prior (sec. 3.1, and
  `lcpfn.domhan_prior` of its code 0.1.3) that its network is trained to approximate, here by importance sampling from
  the prior; nothing of the network enters. The last group was trained at a constant learning rate, networks of
  `fashion_space.py` on Fashion-MNIST (`constant-rate.jsonl`, from `--record`).
- *Search* for accuracy alone: random search that replays at most 60 of the curves in random order, one trial at a time,
  through `studies.pruning`, in groups of at least 36. Epochs against those of all trials in full, and how far the best
  complete trial is below the best of all by its recorded final accuracy; so too the trial that is best by what complete
  ones ended at and pruned ones are expected to. In the time of half the trials in full: how many networks are tried,
  and how far the best complete one is below the best of all. How many pruned trials are named as maybe better than the
  best, with which chance, and how many were. The ± are standard errors over orders; that a pruner stops the best curve
  of a group is one event in all of its searches.

Nothing is trained but by `--record`; `--speed` times the pruners with 10,000 complete trials known.

    python -m benchmarks.curves [--half odd] [--searches 400] [--below 0.02 0.05] [--prior]
    python -m benchmarks.curves --scales
    python -m benchmarks.curves --speed
    python -m benchmarks.curves --record ../shared/data/fashion-mnist.npz

What came out is written up in docs/proxies.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from searchspaces import Task, load_space
from studies.curves import Fitted
from studies.extrapolating import expected_finals, may_exceed
from studies.pruning import PRUNERS, Aim, Pruning
from studies.results import accuracy_of
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
CONSTANT = ROOT / "benchmarks" / "constant-rate.jsonl"
CONSTANT_NETWORKS = 36
AT_CONSTANT_RATE: dict[str, Any] = {
    "schedule": "constant", "warmup": 0.0, "lr": 0.02, "batch": 32, "label_smoothing": 0.0, "mix": 0.0, "ema": 0.0,
    "randaugment_operations": 0, "drop_path": 0.0, "crop": 0.0, "mirror": False, "data_fraction": 0.04,
    "val_fraction": 0.5,
}  # fmt: skip
"""15 epochs of 1,200 images of Fashion-MNIST at 14x14 pixels, validated on 1,200 others."""


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


def record(data: str) -> None:
    """Train random networks of `fashion_space.py` at a constant learning rate, a line in `CONSTANT` for each; goes on
    where it was cut."""
    from benchmarks.fashion_space import BUDGET, TASK, key, space
    from estimators import FullTraining, TrialContext, load_data

    training = FullTraining(load_data(data), "sgd", 15, AT_CONSTANT_RATE, image_size=TASK.image_size)
    fits, rng = space.under(BUDGET, TASK), np.random.default_rng(0)
    drawn = list(dict.fromkeys(fits.sample(rng) for _ in range(2 * CONSTANT_NETWORKS)))[:CONSTANT_NETWORKS]
    done = len(CONSTANT.read_text().splitlines()) if CONSTANT.exists() else 0
    for number, architecture in enumerate(drawn[done:], start=done):
        curve = training.estimate(architecture, TrialContext(number, "cpu")).curve
        steps = [[step, round(accuracy, 4)] for step, accuracy in enumerate(curve, start=1)]
        row = {"network": number, "key": key(architecture), "curve": steps}
        with CONSTANT.open("a") as file:
            file.write(json.dumps(row) + "\n")


def at_constant_rate() -> dict[str, list[Training]]:
    """What `record` wrote."""
    from benchmarks.fashion_space import TASK, space

    found = []
    for line in CONSTANT.read_text().splitlines():
        row = json.loads(line)
        architecture = space.decode(np.array([int(digit) for digit in row["key"]], np.int16))
        trial = Trial(0, architecture, architecture.cost(TASK), "running", 0)
        found.append(Training(trial, tuple((step, accuracy) for step, accuracy in row["curve"])))
    return {"constant rate, 15 epochs, 1,200 images, batch 32": found}


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


def extrapolations(name: str, trainings: list[Training], prior: bool) -> None:
    """A line for each part of the curve that is known; the ± of a coverage is over networks.

    With LC-PFN's prior, if asked for, from a third and from half of the curve.
    """
    curves = np.array([[accuracy for _, accuracy in each.curve] for each in trainings])
    steps = [step for step, _ in trainings[0].curve]
    last, finals, rng = curves.shape[1], curves[:, -1], np.random.default_rng(0)
    orders = [rng.permutation(len(curves)) for _ in range(DRAWS)]
    for known in sorted({1, max(last // 3, 1), last // 2, last - 1}):
        errors: list[Any] = []
        inside: list[list[bool]] = [[] for _ in finals]
        for order, count in itertools.product(orders, FINISHED):
            learned = order[:count]
            gain = (finals[learned] - curves[learned, known - 1]).mean()
            fitted = Fitted.of(curves[learned], finals[learned], known)
            for index in order[count:]:
                found = fitted.at(curves[index, :known].tolist())
                low, high = found.interval
                present = curves[index, known - 1]
                errors.append(np.abs(np.array([present, present + gain, found.mean]) - finals[index]))
                inside[index].append(low <= finals[index] <= high)
        points = " | ".join(f"{100 * each:.2f}" for each in np.mean(errors, axis=0))
        shares = 100 * np.array([*map(np.mean, inside)])
        covered = f"{shares.mean():.0f} ± {shares.std(ddof=1) / np.sqrt(len(shares)):.0f} %"
        by_prior = " | | "
        if prior and known in (max(last // 3, 1), last // 2):
            theirs = [by_lc_pfn(each.curve[:known], each.curve[-1][0]) for each in trainings]
            error = np.mean([abs(mean - final) for (mean, *_), final in zip(theirs, finals, strict=True)])
            share = np.mean([low <= final <= high for (_, low, high, _), final in zip(theirs, finals, strict=True)])
            by_prior = f"{100 * error:.2f} | {100 * share:.0f} % | {np.median([each[-1] for each in theirs]):.0f}"
        part = f"{steps[known - 1]} of {steps[-1]}"
        print(f"| {name} | {part} | {points} | {covered} | {by_prior} |", flush=True)


@dataclass(frozen=True)
class Searched:
    """What a search came to.

    Attributes:
        epochs, trials: spent.
        best: the best final accuracy of a complete trial.
        believed: the final accuracy, had it been trained to the end, of the trial that is best by what complete ones
            ended at and pruned ones are expected to.
        named: of each pruned trial that `may_exceed` names its chance, and whether its training ended above the best.
    """

    epochs: int
    trials: int
    best: float
    believed: float
    named: list[tuple[float, bool]]


def searched(pruner: str, trainings: list[Training], limit: float = np.inf) -> Searched:
    """Replay trainings in their order, none being started once the epochs are spent."""
    pruning, epochs, done = Pruning(pruner, Aim()), 0, list[Trial]()
    for number, training in enumerate(trainings):
        if epochs >= limit:
            break
        trial, reports = replace(training.trial, number=number), []
        pruning.started(trial)
        state: Any = "complete"
        for step, accuracy in training.curve:
            reports.append((step, accuracy))
            if not pruning.goes_on(number, step, accuracy) and len(reports) < len(training.curve):
                state = "pruned"
                break
        epochs += len(reports)
        done.append(replace(trial, state=state, accuracy=reports[-1][1], reports=tuple(reports), rank=number))
        pruning.ended(done[-1])
    ends = {each.number: accuracy_of(each) for each in done if each.state == "complete"}
    best = max(ends.values(), default=0.0)
    means = ends | {number: final.mean for number, final in expected_finals(done).items()}
    truth = [each.curve[-1][1] for each in trainings]
    believed = truth[max(means, key=lambda number: means[number])] if means else 0.0
    named = [(each.chance, truth[each.number] > best) for each in may_exceed(done, best)]
    return Searched(epochs, len(done), best, believed, named)


def searches(name: str, trainings: list[Training], pruners: Sequence[str], seeds: int) -> None:
    """A line for each pruner, over the same orders."""
    trials, steps = min(TRIALS, len(trainings)), len(trainings[0].curve)
    for pruner in pruners:
        whole, half, named = [], [], []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(trainings))[:trials]
            drawn = [trainings[index] for index in order]
            top = max(each.curve[-1][1] for each in drawn)
            found = searched(pruner, drawn)
            whole.append((1 - found.epochs / (trials * steps), 100 * (top - found.best), 100 * (top - found.believed)))
            named += found.named
            found = searched(pruner, drawn, trials * steps / 2)
            half.append((found.trials, 100 * (top - found.best)))
        (saved, lost, believed), (tried, behind) = np.mean(whole, axis=0), np.mean(half, axis=0)
        errors = [np.std(each, axis=0)[1] / np.sqrt(seeds) for each in (whole, half)]
        in_full = f"{100 * saved:.0f} % | {lost:.2f} ± {errors[0]:.2f} | {believed:.2f}"
        shares = [f"{100 * each:.0f} %" for each in np.mean(named, axis=0)] if named else ["none named", ""]
        said = f"{len(named) / seeds:.2f} | {' | '.join(shares)}"
        in_half = f"{tried:.0f} | {behind:.2f} ± {errors[1]:.2f}"
        print(f"| {name}, {trials} trials | {pruner} | {in_full} | {in_half} | {said} |", flush=True)


def scales(groups: dict[str, list[Training]], draws: int = 10) -> None:
    """Would a scale learned at each step hold better? It was tried, and is not in `studies.curves`.

    The interval times a factor: the quantile of the finished curves' own leave-one-out errors that split conformal
    prediction takes (Vovk et al. 2005), relative to Student's, to the power of n / (n + prior) for n finished curves: a
    prior of 0 believes the study alone, an infinite one Student's. The interval score (Gneiting & Raftery 2007, J. Am.
    Stat. Assoc. 102(477), eq. 43; points, the less the better) weighs width against misses.
    """
    rows: dict[tuple[float, bool], list[Any]] = {}
    for trainings in groups.values():
        curves = np.array([[accuracy for _, accuracy in each.curve] for each in trainings])
        finals, last, rng = curves[:, -1], curves.shape[1], np.random.default_rng(0)
        orders = [rng.permutation(len(curves)) for _ in range(draws)]
        for known in sorted({1, 2, max(last // 3, 1), last // 2, last - 1}):
            found: dict[float, list[Any]] = {}
            for order, count in itertools.product(orders, FINISHED):
                learned, others = order[:count], order[count:]
                fitted = Fitted.of(curves[learned], finals[learned], known)
                means = np.array([fitted.at(curve).mean for curve in curves[others, :known].tolist()])
                missed = np.abs(means - finals[others])
                left_out = []
                for index in range(count):
                    kept = np.delete(learned, index)
                    alone = Fitted.of(curves[kept], finals[kept], known).at(curves[learned[index], :known].tolist())
                    left_out.append(abs(alone.mean - finals[learned[index]]) / fitted.spread)
                students = float(stdtrit(count - 1, 0.9))
                own = np.sort(left_out)[min(int(np.ceil(0.8 * (count + 1))), count) - 1] / students
                for prior in (0.0, 10.0, 30.0, 100.0, np.inf):
                    half = students * fitted.spread * max(own, 1e-6) ** (count / (count + prior))
                    score = 2 * half + 2 / 0.2 * np.maximum(missed - half, 0)
                    found.setdefault(prior, []).append((np.mean(missed <= half), score.mean()))
            for prior, several in found.items():
                for first in {False, known == 1}:
                    rows.setdefault((prior, first), []).append(np.mean(several, axis=0))
    print("| prior | from | coverage | deviation between groups | lowest | highest | interval score |")
    print("|---|---|---|---|---|---|---|")
    for (prior, first), several in sorted(rows.items(), key=lambda each: (not each[0][1], each[0][0])):
        shares, found_scores = 100 * np.array(several).T
        spread = f"{shares.std(ddof=1):.1f} | {shares.min():.0f} % | {shares.max():.0f} %"
        where = "the first report" if first else "five steps"
        print(f"| {prior:g} | {where} | {shares.mean():.1f} % | {spread} | {found_scores.mean():.2f} |")


def speed(known: int = 10_000, judged: int = 300) -> None:
    """Milliseconds of a core that a report costs where so many complete trials are known, and each that is judged ends
    complete, so that all of it is fitted anew."""
    some = [each.trial for each in next(iter(recorded("all").values()))]
    curves = 0.6 - 0.4 / np.arange(1, 7) + np.random.default_rng(0).normal(0, 0.02, (known + judged, 6))
    for pruner, aim in itertools.product(("asha", "median", "curves"), (Aim(), Aim(("macs",)))):
        pruning, began = Pruning(pruner, aim), 0.0
        for number, curve in enumerate(curves):
            reports = [(step, float(each)) for step, each in enumerate(curve, start=1)]
            ended = replace(some[number % len(some)], number=number, rank=number, state="complete")
            ended = replace(ended, accuracy=reports[-1][1], reports=tuple(reports))
            if number < known:
                pruning.remember(ended, {})
                continue
            began = time.process_time() if number == known else began
            pruning.started(replace(ended, state="running", accuracy=None, reports=()))
            for step, accuracy in reports:
                pruning.goes_on(number, step, accuracy)
            pruning.ended(ended)
        took = (time.process_time() - began) / (judged * len(curves[0]))
        print(f"| {pruner} | {', '.join(('accuracy', *aim.costs))} | {1000 * took:.3f} ms |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=HALVES, default="odd", help="networks of which number")
    parser.add_argument("--searches", type=int, default=400, help="of each pruner, in different orders")
    parser.add_argument("--below", type=float, nargs="*", default=[], help="thresholds to compare")
    parser.add_argument("--record", metavar="DATA", help="train the networks of constant rates on this .npz instead")
    parser.add_argument("--only", default="", metavar="TEXT", help="groups whose name holds this")
    parser.add_argument(
        "--prior", action="store_true", help="with the posterior under LC-PFN's prior, which takes long"
    )
    parser.add_argument("--scales", action="store_true", help="learned scales of the interval instead")
    parser.add_argument("--speed", action="store_true", help="time a report with 10,000 complete trials instead")
    args = parser.parse_args()
    if args.record:
        record(args.record)
        return
    if args.speed:
        speed()
        return
    groups = {**recorded(args.half), **at_constant_rate()}
    groups = {name: each for name, each in groups.items() if args.only in name}
    if args.scales:
        scales(groups)
        return

    print("| trainings | known | present | + mean gain | extrapolated | coverage | LC-PFN's prior | coverage | draws |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, trainings in groups.items():
        extrapolations(name, trainings, args.prior)
    print(
        "\n| search | pruner | epochs saved | points lost | by extrapolation | tried in half the time | points behind "
        "| named | their chance | above the best |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    pruners = [*PRUNERS, *(f"curves:{below!r}" for below in args.below)]
    for name, trainings in groups.items():
        if len(trainings) >= FEWEST:
            searches(name, trainings, pruners, args.searches)


if __name__ == "__main__":
    main()
