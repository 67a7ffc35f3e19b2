"""How far what a study says of a network is from trainings of the same network that came later.

    python -m benchmarks.belief_later RUN [RUN ...] [--space FILE.py:OBJECT]

RUN is the folder of a search that trained leaders again (`--confirm`). Each accuracy is computed from the proposals
alone, each trained once: as observed, as adjusted by the training loss (`studies.adjusting`), and as believed
(`studies.belief`). It is compared with the confirmations of the same network, which none of them has seen.

A row has the root of the mean square and the mean (bias) of its distances in points from the mean of the later
trainings of a network, weighted by how many they are. Then the ratio, the root of the mean square of distances in
standard errors, which is 1 where standard errors are right and more where they are too small; and the share of
networks inside the interval of 80 %. These two take the first later training of each network alone: `--confirm auto`
trains those no more that came out low, so that the mean of few trainings is too low, and of many too high. The standard
error of such a distance is that of the accuracy and the deviation of one training, from the variance between later
trainings of one network, pooled over all runs of the same estimator and images: a run alone has too few. What follows ±
is a standard error over runs (jackknife): networks of one run err together.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from estimators.estimator import binomial_error
from nas.api import open_study
from searchspaces import UserError
from searchspaces.plural import number_of
from studies.adjusting import adjusted, line_of, training_of
from studies.belief import beliefs
from studies.results import accuracy_of, pooled_variance
from studies.trial import Trial

WAYS: Final = ("observed", "adjusted by the training loss", "believed")
NORMAL_80: Final = 1.2816
"""Standard deviations on either side of the mean that hold 80 % of a normal distribution."""


class Later(NamedTuple):
    """A network that was trained again.

    Attributes:
        told: by each of `WAYS`, an accuracy in [0, 1] and its standard error.
        accuracies: of its later trainings, in their order.
        deviation: of one such training; NaN where no network of its kind was trained again twice.
    """

    told: dict[str, tuple[float, float]]
    accuracies: tuple[float, ...]
    deviation: float = math.nan

    @property
    def mean(self) -> float:
        """Over the later trainings."""
        return sum(self.accuracies) / len(self.accuracies)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--space", help="of the runs, where it is a person's own")
    given = parser.parse_args()
    kinds = defaultdict(list)
    for run in given.runs:
        try:
            study = open_study(run, space=given.space)
        except UserError as error:
            print(f"left out: {error}")
            continue
        if several := [*later(study.trials)]:
            kinds[json.dumps(study.manifest.estimator["resolved"], sort_keys=True)].append(several)
        else:
            print(f"left out: {run}: no network that there is a belief of was trained again")
        study.close()
    if kinds:
        print(table([run for runs in kinds.values() for run in with_deviation(runs)]))


def later(trials: Sequence[Trial]) -> Iterator[Later]:
    """The networks of a study that were trained again, with what was told of them from the proposals alone."""
    fresh = defaultdict(list)
    for trial in trials:
        if trial.confirms is not None and trial.state == "complete":
            fresh[trial.confirms].append(accuracy_of(trial))
    proposed = [each for each in trials if each.confirms is None]
    line, on_line, believed = line_of(proposed), {each.number: each for each in adjusted(proposed)}, beliefs(proposed)
    for number, accuracies in fresh.items():
        if number not in believed:
            continue
        one = trials[number]
        own = accuracy_of(one), binomial_error(accuracy_of(one), one.details["val_images"])
        training = training_of(one)
        on = own if line is None or training is None else (accuracy_of(on_line[number]), line.standard_error(training))
        told = (own, on, (believed[number].mean, believed[number].standard_error))
        yield Later(dict(zip(WAYS, told, strict=True)), tuple(accuracies))


def with_deviation(runs: Sequence[Sequence[Later]]) -> list[list[Later]]:
    """The networks of runs of one kind, with the deviation of one training between trainings of a network."""
    deviation = math.sqrt(pooled_variance(each.accuracies for run in runs for each in run))
    return [[each._replace(deviation=deviation) for each in run] for run in runs]


def table(runs: Sequence[Sequence[Later]]) -> str:
    """The figures of all networks together, in Markdown."""
    networks = [each for run in runs for each in run]
    squares = [each.deviation**2 for each in networks if not math.isnan(each.deviation)]
    lines = [
        f"{number_of(len(networks), 'network')} of {number_of(len(runs), 'run')}, trained "
        f"{sum(len(each.accuracies) for each in networks)} times later, of which one deviates by "
        f"{100 * math.sqrt(np.mean(squares)) if squares else math.nan:.2f} points",
        "",
        "| accuracy | root mean square, points | bias, points | ratio to the standard error | in the 80 % interval |",
        "|---|---|---|---|---|",
    ]
    for way in WAYS:
        square, bias, ratio, inside = (_over(runs, figure, way) for figure in (rmse, mean_off, calibration, coverage))
        lines.append(
            f"| {way} | {100 * square[0]:.2f} ± {100 * square[1]:.2f} | {100 * bias[0]:+.2f} ± {100 * bias[1]:.2f} "
            f"| {ratio[0]:.2f} ± {ratio[1]:.2f} | {100 * inside[0]:.0f} % ± {100 * inside[1]:.0f} % |"
        )
    return "\n".join(lines)


def rmse(networks: Sequence[Later], way: str) -> float:
    """The root of the mean square of distances, in [0, 1], weighted by later trainings."""
    weights = [len(each.accuracies) for each in networks]
    return math.sqrt(np.average([(each.told[way][0] - each.mean) ** 2 for each in networks], weights=weights))


def mean_off(networks: Sequence[Later], way: str) -> float:
    """The mean of what is told less the later mean, weighted by later trainings."""
    weights = [len(each.accuracies) for each in networks]
    return float(np.average([each.told[way][0] - each.mean for each in networks], weights=weights))


def calibration(networks: Sequence[Later], way: str) -> float:
    """The root of the mean square of distances of first later trainings, in their standard errors."""
    found = _standardized(networks, way)
    return math.sqrt(np.mean(np.square(found))) if found else math.nan


def coverage(networks: Sequence[Later], way: str) -> float:
    """The share of first later trainings inside the interval of 80 %."""
    found = _standardized(networks, way)
    return float(np.mean(np.abs(found) <= NORMAL_80)) if found else math.nan


def _standardized(networks: Sequence[Later], way: str) -> list[float]:
    """Distances of first later trainings in their standard errors, of networks whose deviation is known."""
    told = [(*each.told[way], each) for each in networks if not math.isnan(each.deviation)]
    return [(each.accuracies[0] - accuracy) / math.hypot(error, each.deviation) for accuracy, error, each in told]


def _over(
    runs: Sequence[Sequence[Later]], figure: Callable[[Sequence[Later], str], float], way: str
) -> tuple[float, float]:
    """A figure of the networks of all runs, and its standard error by leaving out each run in turn; NaN of one run."""
    whole = figure([each for run in runs for each in run], way)
    if len(runs) < 2:
        return whole, math.nan
    without = [
        figure([each for place, run in enumerate(runs) if place != left for each in run], way)
        for left in range(len(runs))
    ]
    return whole, math.sqrt((len(runs) - 1) * float(np.var(without)))


if __name__ == "__main__":
    main()
