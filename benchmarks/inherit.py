"""Is a search better for the same seconds when candidates start from the weights of their neighbours (`--inherit`)?

Regularized evolution over small residual networks of equal cost, on 400 images of Fashion-MNIST at 10 pixels, so
small that sixty trials take a minute or two of a core. The same seeds with and without. What counts is the network
that a search would return after so many trials, trained from scratch by the same short training on images drawn anew,
and more: an inherited accuracy holds the training of a whole lineage, and is no measure of a network. Seconds are
those of the trials' wall clock, epochs those that were trained.

    python -m benchmarks.inherit [--trials 60] [--seeds 3] [--first-seed 0] [--inherited 0.5 0.75] [--out inherit.jsonl]

What came out is written up in docs/proxies.md. The searches lie in a temporary folder; each line of `--out` is one
search, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from estimators import ShortTraining, TrialContext, load_data
from searchspaces import Architecture, Budget, Space, Stage, Task, choice, conv_head, conv_stem
from searchspaces.resnet import basic
from studies import LocalEngine, Study
from studies.results import best
from studies.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "fashion-mnist.npz"
TASK = Task(10, 1, 10)
BUDGET = Budget.parse("150K..250K")
SPACE = Space(
    "small-residual",
    stem=Stage(conv_stem, width=choice(8, 16), kernel=choice(3, 5)),
    stages=[
        Stage(basic, width=choice(8, 16, 24, 32), depth=choice(1, 2), kernel=choice(3, 5), stride=2),
        Stage(basic, width=choice(16, 24, 32, 48, 64), depth=choice(1, 2), kernel=choice(3, 5), stride=2),
    ],
    head=Stage(conv_head, width=choice(32, 64, 128), dropout=0.0),
    smallest_map=3,
)
IMAGES = 800
"""Of which half are trained on and half validated on."""
SHORT: dict[str, Any] = {
    "epochs": 6, "image_size": 10, "width": 1.0, "depth": 1.0, "val_fraction": 0.5, "device": "cpu",
    "save_after_s": 1e9, "adjusted": True,
}  # fmt: skip
AFTER = (30, 60)
"""Trials after which the search is asked for its best network."""
TRUTHS = 2
"""Trainings from scratch of each such network."""


def searched(seed: int, inherited: float | None, trials: int, estimator: ShortTraining) -> list[dict[str, Any]]:
    """The trials of one search: seconds so far, the observed accuracy, and the network that it would return."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study.create(
            Path(folder) / "run",
            Settings(
                space=SPACE, budget=BUDGET, task=TASK,
                trials=trials, strategy="evolution", seed=seed, inherit=inherited is not None,
                estimator=estimator if inherited is None else replace(estimator, inherited=inherited),
            ),
        )  # fmt: skip
        study.run(engine=LocalEngine("cpu", at_once=1))
        rows, seconds, epochs = [], 0.0, 0
        for trial in study.trials:
            seconds, epochs = seconds + (trial.seconds or 0.0), epochs + len(trial.reports)
            chosen = best(study.trials[: trial.number + 1])
            rows.append(
                {
                    "seconds": seconds,
                    "epochs": epochs,
                    "accuracy": trial.accuracy,
                    "parent": trial.parent,
                    "details": {key: trial.details.get(key) for key in ("inherited", "weights_bytes")},
                    "best": None if chosen is None else json.loads(chosen.architecture.to_json()),
                    "observed": None if chosen is None else chosen.accuracy,
                }
            )
        study.close()
    return rows


def truth(architecture: Architecture, estimator: ShortTraining) -> float:
    """The mean accuracy of trainings from scratch on other images than the search's, 800 and 800 to validate on."""
    judge = replace(estimator, split_seed=1, data_fraction=2 * (estimator.data_fraction or 1.0))
    return float(np.mean([judge.estimate(architecture, TrialContext(9000 + n)).accuracy for n in range(TRUTHS)]))


def table(found: list[dict[str, Any]]) -> None:
    """A line for each way and number of trials: the mean over seeds, and its standard error.

    Below it the points that inheritance gains, paired by seed: after as many trials, and after as many epochs.
    """
    print("| epochs left out | trials | epochs | seconds | observed | from scratch |\n|---|---|---|---|---|---|")
    for inherited in dict.fromkeys(each["inherited"] for each in found):
        runs = [each for each in found if each["inherited"] == inherited]
        for count in sorted(runs[0]["truths"], key=int):
            rows = [each["rows"][int(count) - 1] for each in runs]
            truths = 100 * np.array([each["truths"][count] for each in runs])
            error = truths.std(ddof=1) / np.sqrt(len(truths)) if len(truths) > 1 else float("nan")
            truth_text = f"{truths.mean():.1f} ± {error:.1f}"
            name = "no inheritance" if inherited is None else f"{inherited:g}"
            epochs, seconds, observed = (
                np.mean([row[key] for row in rows]) for key in ("epochs", "seconds", "observed")
            )
            print(f"| {name} | {count} | {epochs:.0f} | {seconds:.0f} | {100 * observed:.1f} | {truth_text} |")
    print()
    without = {each["seed"]: each["truths"] for each in found if each["inherited"] is None}
    for inherited in dict.fromkeys(each["inherited"] for each in found if each["inherited"] is not None):
        runs = [each for each in found if each["inherited"] == inherited and each["seed"] in without]
        for count, other in (("30", "30"), ("60", "60"), ("60", "30")):
            pairs = [(each["truths"][count], without[each["seed"]][other]) for each in runs if count in each["truths"]]
            if len(pairs) > 1:
                gains = [100 * (mine - theirs) for mine, theirs in pairs]
                gained = f"{np.mean(gains):+.2f} ± {np.std(gains, ddof=1) / np.sqrt(len(gains)):.2f}"
                print(f"{inherited:g} left out, {count} trials, less {other} without: {gained}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--inherited", type=float, nargs="+", default=[0.5], help="shares of the epochs left out")
    parser.add_argument("--out", type=Path, help="a line for each search")
    args = parser.parse_args()

    images = load_data(str(args.data))
    estimator = ShortTraining(images, data_fraction=IMAGES / len(images.labels), **SHORT)
    found = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out and args.out.exists() else []
    known = {json.dumps(each["network"]): each["truth"] for run in found for each in run["known"]}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for inherited in (None, *args.inherited):
            if any((each["seed"], each["inherited"]) == (seed, inherited) for each in found):
                continue
            rows = searched(seed, inherited, args.trials, estimator)
            run: dict[str, Any] = {"seed": seed, "inherited": inherited, "rows": rows, "truths": {}, "known": []}
            for count in (each for each in AFTER if each <= len(rows)):
                network = rows[count - 1]["best"]
                key = json.dumps(network)
                if key not in known:
                    known[key] = truth(SPACE.architecture(network["choices"]), estimator)
                run["truths"][str(count)] = known[key]
                run["known"].append({"network": network, "truth": known[key]})
            found.append(run)
            if args.out:
                with args.out.open("a") as file:
                    file.write(json.dumps(run) + "\n")
    table(found)


if __name__ == "__main__":
    main()
