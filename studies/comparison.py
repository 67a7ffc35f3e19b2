"""Which of several finds more in as many trials, and how sure is that? Runs over several seeds, compared.

Runs whose settings are equal but for the seed are one contestant. Every run is judged after the same number of trials,
failed and pruned ones included; a trial is the unit of the budget, so runs with different pruners spend different time
in it.

Means come with their standard error over seeds and with bootstrap intervals; differences are taken seed by seed, and
whole seeds are resampled (Efron & Tibshirani 1993, *An Introduction to the Bootstrap*). Percentile intervals are too
narrow for the handful of seeds that a person has, so their levels are moved outwards as far as Student's t asks for:
the expanded percentile interval of Hesterberg 2015, arXiv:1411.5279.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from searchspaces import Budget, UserError
from studies.belief import believed
from studies.results import Merit, by_merit, inherited, merit

if TYPE_CHECKING:
    from searchspaces import Architecture
    from studies.manifest import Manifest
    from studies.study import Study

Floats = npt.NDArray[np.float64]
Measure = Literal["accuracy", "regret"]

RESAMPLES: Final = 10_000
CONFIDENCE: Final = 0.95
POINTS: Final = 200
"""Numbers of trials at which a curve and its band are worked out, at most."""


@dataclass(frozen=True)
class Run:
    """What a comparison keeps of a study.

    Attributes:
        where: what to call it in messages.
        seed: of the study.
        strategy: its name.
        settings: what makes it another contestant: the strategy's settings, the pruner, replicas, confirmation,
            the size of batches.
        conditions: what must be equal for two runs to be comparable, by the name to call it.
        reached: the accuracy of the best, as `Study.best` chooses it, after each trial in the order in which they
            ended: the best observed, or once leaders are confirmed the best mean of theirs. NaN before the first
            complete trial. Shape (trials,).
        truths: the true accuracy of that network. None where the truth is not known. Shape (trials,).
    """

    where: str
    seed: int
    strategy: str
    settings: Mapping[str, Any]
    conditions: Mapping[str, Any]
    reached: Floats
    truths: Floats | None = None

    @staticmethod
    def of(
        study: Study,
        truth: Callable[[Architecture], float] | None = None,
        where: str | None = None,
        trials: int | None = None,
    ) -> Run:
        """Take from a study what a comparison needs; trials that are still running do not count.

        Args:
            study: finished or not.
            truth: gives an architecture's true accuracy in [0, 1], where that is known.
            where: what to call it; by default its folder.
            trials: leave out all that ended after so many; accuracies are believed by those that are left, as
                the study itself did then.

        Raises:
            UserError: the estimates of the study are no accuracies.
        """
        manifest = study.manifest
        if unit := manifest.estimator["resolved"].get("estimates"):
            raise UserError(f"{where or study.folder}: its estimates are a {unit}, and only accuracies can be compared")
        ended = sorted((trial for trial in study.trials if trial.rank is not None), key=lambda trial: trial.rank or 0)
        left = believed(sorted(ended[:trials], key=lambda trial: trial.number))
        ended = sorted(left, key=lambda trial: trial.rank or 0)
        reached = np.full(len(ended), np.nan)
        truths = np.full(len(ended), np.nan)
        first: Merit | None = None
        confirmed: dict[int, list[float]] = {}
        alone = inherited(ended)
        by_number = {trial.number: trial for trial in ended}
        for place, trial in enumerate(ended):
            if trial.state != "complete" or trial.accuracy is None:
                continue
            if trial.confirms is None:
                rival = by_merit(trial)
                if confirmed or (first is not None and rival > first):
                    continue
                best = first = rival
            else:
                leader = by_number[trial.confirms]
                confirmed.setdefault(leader.number, [] if alone else [leader.accuracy or 0.0]).append(trial.accuracy)
                best = min(
                    merit(sum(several) / len(several), by_number[number].cost.macs, number)
                    for number, several in confirmed.items()
                )
            reached[place:] = -best[0]
            truths[place:] = truth(by_number[best[2]].architecture) if truth else np.nan
        return Run(
            where or str(study.folder or f"{manifest.strategy['name']}, seed {manifest.seed}"),
            manifest.seed,
            str(manifest.strategy["name"]),
            _settings(manifest),
            _conditions(manifest),
            reached,
            truths if truth else None,
        )


@dataclass(frozen=True)
class Curve:
    """A mean over seeds as trials go by, with its interval at each number of trials.

    Attributes:
        trials: numbers of trials, rising, from the first after which every seed had found something.
        mean, low, high: in [0, 1]; the interval is NaN with a single seed.
    """

    trials: tuple[int, ...]
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Contestant:
    """Runs of the same settings, one for each seed.

    Attributes:
        name: of the strategy, with the settings that tell it from others of that name.
        settings: as of its runs.
        seeds: rising.
        values: what each seed had reached in the end. Shape (seeds,).
        mean: of the values.
        standard_error: of the mean; None with a single seed.
        interval: of the mean; None with a single seed.
        curve: the way there.
    """

    name: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    values: Floats
    mean: float
    standard_error: float | None
    interval: tuple[float, float] | None
    curve: Curve


@dataclass(frozen=True)
class Pair:
    """Two contestants, compared on the seeds that both have.

    Attributes:
        first, second: names; the first has the better mean over all its seeds.
        seeds: how many both have.
        difference: mean over those of the first's value less the second's; None where there are none.
        interval: of the difference; None with fewer than two seeds.
        wins: share of those seeds on which the first is ahead, ties counted half; None where there are none.
        better: share of the resamples in which the first's mean is ahead, ties counted half: the probability that it is
            better on average. None with fewer than two seeds.
    """

    first: str
    second: str
    seeds: int
    difference: float | None = None
    interval: tuple[float, float] | None = None
    wins: float | None = None
    better: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Contestants, best first, and what is between them.

    Attributes:
        trials: after so many ended trials all are judged.
        measure: `accuracy` (the best observed so far, more is better) or `regret` (how far the true accuracy of the
            network chosen is below the best there is, less is better); both in [0, 1].
        conditions: what all runs share.
        contestants: best mean first.
        pairs: each two of them, in that order.
        resamples: of the bootstrap.
        confidence: of the intervals.
        best: the largest true accuracy there is; for regret.
    """

    trials: int
    measure: Measure
    conditions: Mapping[str, Any]
    contestants: tuple[Contestant, ...]
    pairs: tuple[Pair, ...]
    resamples: int = RESAMPLES
    confidence: float = CONFIDENCE
    best: float | None = None


def compare(
    runs: Iterable[Run],
    rng: np.random.Generator,
    *,
    trials: int | None = None,
    best: float | None = None,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare runs by what they had found after as many trials.

    Args:
        runs: of any number of contestants.
        rng: the bootstrap's only randomness.
        trials: after how many; by default as many as the shortest run has.
        best: the largest true accuracy there is; given, runs are compared by regret, else by observed accuracy.
        resamples: of the bootstrap.

    Raises:
        UserError: there is nothing to compare, or runs that cannot be compared; the message says what differs.
    """
    runs = list(runs)
    if not runs:
        raise UserError("there is no run to compare")
    _refuse_incomparable(runs)
    shortest = min(runs, key=lambda run: len(run.reached))
    trials = len(shortest.reached) if trials is None else trials
    if trials < 1 or trials > len(shortest.reached):
        raise UserError(
            f"cannot compare after {trials} trials: {shortest.where} has only {len(shortest.reached)} that finished"
        )
    bootstrap = _Bootstrap(rng, resamples)
    contestants = [
        _contestant(name, sorted(group, key=lambda run: run.seed), trials, best, bootstrap)
        for name, group in grouped(runs).items()
    ]
    contestants.sort(key=lambda each: (each.mean if best is not None else -each.mean, each.name))
    pairs = [
        _pair(first, second, best is not None, bootstrap)
        for place, first in enumerate(contestants)
        for second in contestants[place + 1 :]
    ]
    return Comparison(
        trials,
        "accuracy" if best is None else "regret",
        runs[0].conditions,
        tuple(contestants),
        tuple(pairs),
        resamples,
        best=best,
    )


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Contestants by name: the strategy's, with the settings that differ where several have one strategy.

    Raises:
        UserError: two runs have the same settings and the same seed.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        group = groups.setdefault(json.dumps([run.strategy, run.settings], sort_keys=True, default=str), [])
        twin = next((each for each in group if each.seed == run.seed), None)
        if twin is not None:
            raise UserError(
                f"{run.where} and {twin.where} are the same {run.strategy} with the same seed, {run.seed}: "
                "give one of them"
            )
        group.append(run)
    named: dict[str, list[Run]] = {}
    for group in groups.values():
        alike = [other[0] for other in groups.values() if other[0].strategy == group[0].strategy]
        name = _told_apart(group[0], alike)
        where = group[0].where
        tries = (name, f"{name} ({Path(where).name})", f"{name} ({where})")
        named[next((each for each in tries if each not in named), f"{name} ({where}, {len(named)})")] = group
    return named


def _told_apart(run: Run, alike: Sequence[Run]) -> str:
    """The strategy's name, with the values of as many settings as it takes to tell it from those that have it too."""
    told, rivals = [], [each for each in alike if each.settings != run.settings]
    for key in dict.fromkeys(key for each in alike for key in each.settings):
        left = [each for each in rivals if each.settings.get(key) == run.settings.get(key)]
        if len(left) < len(rivals):
            told.append(f"{key} {_short(run.settings.get(key))}")
        rivals = left
    return " ".join([run.strategy, ", ".join(told)]) if told else run.strategy


def _differs(name: str, there: Any, here: Any) -> str:
    """How a condition of two runs differs; budgets as screens have them, unless they are damaged or read alike."""
    if isinstance(there, _Content) and isinstance(here, _Content) and there == here:
        there, here = there.whole, here.whole
    texts = _short(there), _short(here)
    if name == "budget":
        with contextlib.suppress(UserError):
            words = [Budget.parse(each).words() if isinstance(each, str) else "none" for each in (there, here)]
            texts = (words[0], words[1]) if words[0] != words[1] else texts
    return f"the {name} is {texts[0]} there and {texts[1]} here"


def _short(value: Any) -> str:
    if isinstance(value, _Images):
        return f"{value.name!r} (#{value[:8]})"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 24 else text[:23] + "…"


def _settings(manifest: Manifest) -> dict[str, Any]:
    """What a person may vary between contestants."""
    told = dict(manifest.strategy["resolved"])
    told |= {"pruner": manifest.pruner, "replicas": manifest.replicas, "confirm": manifest.confirm}
    if manifest.prescreen is not None:
        told["prescreen"] = manifest.prescreen
    if manifest.inherit:
        told["inherit"] = True
    if manifest.wave is not None:  # in batches of so many, whose proposals know less
        told["batch"] = manifest.wave
    if manifest.strategy["origin"] != "named":
        told["from"] = manifest.strategy["origin"]
    return told


def _conditions(manifest: Manifest) -> dict[str, Any]:
    """What must be the same; the name of the data may differ where the images do not."""
    described = dict(manifest.estimator["resolved"])
    data = described.pop("data", None)
    found: dict[str, Any] = {
        "space": manifest.space["name"],
        _CONTENT: _Content(manifest.space["fingerprint"], manifest.space.get("content")),
        "task": manifest.task,
        "budget": manifest.budget,
        "latency table": manifest.latency,
        "objectives": dict(manifest.objectives),
        "estimator": described.pop("name", manifest.estimator["name"]),
    }
    if data is not None:
        known = isinstance(data, dict) and "fingerprint" in data
        found["data"] = _Images(data["fingerprint"], data.get("name")) if known else data
    return {**found, **{f"estimator's {key}": value for key, value in described.items()}}


_CONTENT: Final = "content of the space"


class _Content(str):
    """The fingerprint of a space, and a hash of all that it says of itself, which decides where both have one."""

    whole: str | None

    def __new__(cls, fingerprint: str, whole: str | None = None) -> _Content:
        made = super().__new__(cls, fingerprint)
        made.whole = whole
        return made


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, _Content) and isinstance(other, _Content) and one.whole and other.whole:
        return one.whole == other.whole
    return bool(one == other)


class _Images(str):
    """The fingerprint of images, by which they are compared, and their name, which may differ."""

    name: object

    def __new__(cls, fingerprint: str, name: object = None) -> _Images:
        made = super().__new__(cls, fingerprint)
        made.name = name
        return made


def _refuse_incomparable(runs: Sequence[Run]) -> None:
    # each with the first that says all of its space: two that differ may both be like an older one, which says less
    first = next((run for run in runs if getattr(run.conditions.get(_CONTENT), "whole", None)), runs[0])
    for run in runs:
        names = dict.fromkeys([*first.conditions, *run.conditions])
        differing = [name for name in names if not _equal(first.conditions.get(name), run.conditions.get(name))]
        if "estimator" in differing:  # two kinds of estimators differ in every setting
            differing = [name for name in differing if not name.startswith("estimator's")]
        if differing:
            told = "; ".join(_differs(name, run.conditions.get(name), first.conditions.get(name)) for name in differing)
            raise UserError(f"{run.where} cannot be compared with {first.where}: {told}")


def _contestant(name: str, runs: Sequence[Run], trials: int, best: float | None, bootstrap: _Bootstrap) -> Contestant:
    reached = np.array([_reached(run, best)[:trials] for run in runs])  # (seeds, trials)
    for run, row in zip(runs, reached, strict=True):
        if np.isnan(row[-1]):
            raise UserError(f"{run.where} cannot be compared: none of its first {trials} trials is complete")
    begins = int(np.isnan(reached).sum(axis=1).max())
    points = np.unique(np.linspace(begins, trials - 1, min(POINTS, trials - begins)).round().astype(int))
    along = reached[:, points]  # (seeds, points)
    low, high = bootstrap.interval(along)
    values = reached[:, -1]
    several = len(runs) > 1
    return Contestant(
        name,
        runs[0].settings,
        tuple(run.seed for run in runs),
        values,
        float(values.mean()),
        float(values.std(ddof=1) / math.sqrt(len(values))) if several else None,
        (float(low[-1]), float(high[-1])) if several else None,
        Curve(tuple(int(point) + 1 for point in points), along.mean(axis=0), low, high),
    )


def _reached(run: Run, best: float | None) -> Floats:
    """After each trial: the best observed accuracy so far, or the regret of what would be chosen."""
    if best is None:
        return run.reached
    if run.truths is None:
        raise UserError(f"{run.where} has no regret: the true accuracies are not known")
    return best - run.truths


def _pair(first: Contestant, second: Contestant, less: bool, bootstrap: _Bootstrap) -> Pair:
    theirs = dict(zip(second.seeds, second.values, strict=True))
    shared = [(value, theirs[seed]) for seed, value in zip(first.seeds, first.values, strict=True) if seed in theirs]
    if not shared:
        return Pair(first.name, second.name, 0)
    values = np.array(shared)  # (seeds, 2)
    differences = values[:, 0] - values[:, 1]
    ahead = -differences if less else differences
    wins = float(np.mean((ahead > 0) + 0.5 * (ahead == 0)))
    if len(shared) < 2:
        return Pair(first.name, second.name, 1, float(differences[0]), wins=wins)
    means = bootstrap.means(ahead[:, None])[:, 0]
    means[np.abs(means) < 1e-12] = 0.0  # sums of rounded numbers; accuracies of a million images differ by more
    low, high = bootstrap.interval(differences[:, None])
    return Pair(
        first.name,
        second.name,
        len(shared),
        float(differences.mean()),
        (float(low[0]), float(high[0])),
        wins,
        float(np.mean((means > 0) + 0.5 * (means == 0))),
    )


@dataclass
class _Bootstrap:
    """Means of resampled seeds. The same resamples for all that have as many seeds, so that what is compared is paired.

    Attributes:
        rng: draws the resamples.
        resamples: how many.
    """

    rng: np.random.Generator
    resamples: int
    _drawn: dict[int, Floats] = field(default_factory=dict)

    def means(self, values: Floats) -> Floats:
        """Means over resampled rows.

        Args:
            values: shape (seeds, columns).

        Returns:
            shape (resamples, columns).
        """
        seeds = len(values)
        if seeds not in self._drawn:  # how often each seed is drawn, as a share
            self._drawn[seeds] = self.rng.multinomial(seeds, [1 / seeds] * seeds, size=self.resamples) / seeds
        means: Floats = self._drawn[seeds] @ values
        return means

    def interval(self, values: Floats) -> tuple[Floats, Floats]:
        """The expanded percentile interval of the mean of each column; NaN with a single row.

        Args:
            values: shape (seeds, columns).
        """
        seeds = len(values)
        if seeds < 2:
            return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
        from scipy.special import ndtr, stdtrit

        outwards = math.sqrt(seeds / (seeds - 1)) * stdtrit(seeds - 1, (1 + CONFIDENCE) / 2)
        level = float(ndtr(-outwards))
        low, high = np.quantile(self.means(values), [level, 1 - level], axis=0)
        return low, high
