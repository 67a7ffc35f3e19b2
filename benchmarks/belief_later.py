"""How far what a study says of a network is from trainings of the same network that came later.

    python -m benchmarks.belief_later RUN [RUN ...] [--space FILE.py:OBJECT]

RUN is the folder of a search that trained leaders again (`--confirm`). Each accuracy is computed from the proposals
alone, each trained once: as observed, as adjusted by the training loss (`studies.adjusting`), and as believed
(`studies.belief`). It is compared with the mean of the confirmations of the same network, which none of them has seen.

A row has the root of the mean square and the mean (bias) of the distances in points, weighted by the number of later
trainings; the ratio, the root of the mean square of distances in standard errors, which is 1 where standard errors are
right and more where they are too small; and the share of networks inside the interval of 80 %. The standard error of a
distance is that of the accuracy and that of the later mean, from the variance between later trainings of one network,
pooled over its run. What follows ± is a standard error over runs (jackknife): networks of one run err together.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from estimators.estimator import binomial_error
from nas.api import open_study
from searchspaces import UserError
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
        mean: over its later trainings.
        error: the standard error of that mean; NaN where no network of its run was trained again twice.
        trainings: how many later ones there are.
    """

    told: dict[str, tuple[float, float]]
    mean: float
    error: float
    trainings: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--space", help="of the runs, where it is a person's own")
    given = parser.parse_args()
    found = []
    for run in given.runs:
        try:
            if several := list(later(open_study(run, space=given.space).trials)):
                found.append(several)
            else:
                print(f"{run}: no network that there is a belief of was trained again")
        except UserError as error:
            print(f"left out: {error}")
    if found:
        print(table(found))


def later(trials: Sequence[Trial]) -> Iterator[Later]:
    """The networks of a study that were trained again, with what was told of them from the proposals alone."""
    fresh = defaultdict(list)
    for trial in trials:
        if trial.confirms is not None and trial.state == "complete":
            fresh[trial.confirms].append(accuracy_of(trial))
    proposed = [each for each in trials if each.confirms is None]
    line, on_line = line_of(proposed), {each.number: accuracy_of(each) for each in adjusted(proposed) if each.accuracy}
    believed, variance = beliefs(proposed), pooled_variance(fresh.values())
    for number, accuracies in fresh.items():
        if number not in believed:
            continue
        one = trials[number]
        own = accuracy_of(one), binomial_error(accuracy_of(one), one.details["val_images"])
        training = training_of(one)
        moved = own if line is None or training is None else (on_line[number], line.standard_error(training))
        told = dict(zip(WAYS, (own, moved, (believed[number].mean, believed[number].standard_error)), strict=True))
        error = math.sqrt(variance / len(accuracies))
        yield Later(told, float(np.mean(accuracies)), error, len(accuracies))


def table(runs: Sequence[Sequence[Later]]) -> str:
    """The figures of all networks together, in Markdown."""
    networks = [each for run in runs for each in run]
    trainings = sum(each.trainings for each in networks)
    known = [each.error for each in networks if not math.isnan(each.error)]
    lines = [
        f"{len(networks)} networks of {len(runs)} runs, trained {trainings} times later; the mean of a network's later "
        f"trainings has a standard error of {100 * np.sqrt(np.mean(np.square(known))):.2f} points",
        "",
        "| accuracy | root mean square, points | bias, points | ratio to the standard error | in the 80 % interval |",
        "|---|---|---|---|---|",
    ]
    for way in WAYS:
        square, bias, ratio, inside = (_over(runs, figure, way) for figure in (rmse, mean_off, calibration, coverage))
        lines.append(
            f"| {way} | {100 * square[0]:.2f} ± {100 * square[1]:.2f} | {100 * bias[0]:+.2f} ± {100 * bias[1]:.2f} "
            f"| {ratio[0]:.2f} ± {ratio[1]:.2f} | {inside[0]:.0%} ± {inside[1]:.0%} |"
        )
    return "\n".join(lines)


def rmse(networks: Sequence[Later], way: str) -> float:
    """The root of the mean square of distances, in [0, 1], weighted by later trainings."""
    weights = [each.trainings for each in networks]
    return math.sqrt(np.average([(each.told[way][0] - each.mean) ** 2 for each in networks], weights=weights))


def mean_off(networks: Sequence[Later], way: str) -> float:
    """The mean of what is told less the later mean, weighted by later trainings."""
    weights = [each.trainings for each in networks]
    return float(np.average([each.told[way][0] - each.mean for each in networks], weights=weights))


def calibration(networks: Sequence[Later], way: str) -> float:
    """The root of the mean square of distances in their standard errors."""
    return math.sqrt(np.mean(np.square(_standardized(networks, way))))


def coverage(networks: Sequence[Later], way: str) -> float:
    """The share of later means inside the interval of 80 %."""
    return float(np.mean(np.abs(_standardized(networks, way)) <= NORMAL_80))


def _standardized(networks: Sequence[Later], way: str) -> list[float]:
    """Distances in their standard errors, of networks whose errors are known."""
    told = [(*each.told[way], each) for each in networks if not math.isnan(each.error)]
    return [(each.mean - accuracy) / math.hypot(error, each.error) for accuracy, error, each in told]


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
