"""A run of another package's search on what strategies are benchmarked on, to be compared with those of our studies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from estimators import TrialContext
from nas.peers import catalog
from nas.peers.here import Observed, excess
from searchspaces import UserError
from studies.comparison import Run
from studies.results import merit
from studies.study import Study

if TYPE_CHECKING:
    from estimators import Estimator
    from searchspaces import Architecture, SearchSpace
    from studies.settings import Settings

NO_NETWORK = "no such network"
"""What Optuna is told is exceeded, wholly, where a combination of options is no network of a table."""


@dataclass(frozen=True)
class PeerRun:
    """A run of a peer.

    Attributes:
        run: as a study of the same seed would give it, with accuracies and true accuracies of 0 before the first
            network that fits.
        infeasible: trials that did not fit.
        repeated: trials of what was tried before.
    """

    run: Run
    infeasible: int
    repeated: int


def play_peer(
    settings: Settings,
    version: str,
    truth: Callable[[Architecture], float] | None = None,
    python: str | None = None,
) -> PeerRun:
    """Run a peer as a person would without a study: over the product of all options, each trial a proposal.

    Trial k of a seed is observed with the luck that trial k of a study of that seed has. Chosen is the best single
    observation, as in a study without confirmations.

    Args:
        settings: of a study, with `strategy` the name of a peer, and an estimator that is an object.
        version: of its package, for the settings of the run.
        truth: gives an architecture's true accuracy in [0, 1], where that is known.
        python: another Python, in which Syne Tune and NNI are installed.

    Raises:
        UserError: every trial that fits fails.
    """
    assert isinstance(settings.strategy, str)
    name, trials = settings.strategy.removeprefix(catalog.PREFIX), settings.trials or 0
    where = f"{settings.strategy}, seed {settings.seed}"
    alike = Study.create(None, replace(settings, strategy="random", confirm=0))
    estimator, whole, feasible = cast("Estimator", settings.estimator), alike.space, alike.feasible
    open_ = [each for each in whole.decisions if len(each.options) > 1]
    tried: list[Architecture | tuple[int, ...]] = []
    infeasible, failure = 0, ""
    best = 0.0, math.inf, -1  # as `merit`: what fits is better
    reached, truths = np.zeros(trials), np.zeros(trials)

    def observe(digits: Sequence[int]) -> Observed:
        nonlocal infeasible, failure, best
        number, accuracy, over = len(tried), 0.0, {NO_NETWORK: 1.0}
        found = _member(whole, dict(zip((each.name for each in open_), digits, strict=True)))
        tried.append(tuple(digits) if found is None else found)
        if found is not None and feasible.budget is not None:
            over = excess(feasible.budget, found.cost(alike.task))
        if found is not None and found in feasible:
            try:
                accuracy = estimator.estimate(found, TrialContext(alike.seed_of(number))).accuracy
            except Exception as error:  # as in a study, a trial that fails does not end the search
                failure = str(error)
            else:
                best = min(best, merit(accuracy, found.cost(alike.task).macs, number))
        else:
            infeasible += 1
        reached[number] = abs(best[0])
        if truth and best[2] >= 0:
            truths[number] = truth(cast("Architecture", tried[best[2]]))
        return Observed(accuracy, over)

    catalog.search(name, observe, [len(each.options) for each in open_], trials, settings.seed, python)
    if failure and best[2] < 0:
        raise UserError(f"{where}: every trial that fits failed, the last one so: {failure}")
    run = replace(
        Run.of(alike, where=where),
        strategy=settings.strategy,
        settings={"package": version, **catalog.PEERS[name].settings},
        reached=reached,
        truths=truths if truth else None,
    )
    return PeerRun(run, infeasible, len(tried) - len(set(tried)))


def _member(whole: SearchSpace, indices: dict[str, int]) -> Architecture | None:
    """The network of one option of each decision; None where there is none, as in a table of some of them.

    Args:
        whole: the space.
        indices: place of the option of each decision that has several.
    """
    try:
        return whole.architecture({each.name: each.options[indices.get(each.name, 0)] for each in whole.decisions})
    except UserError:
        return None
