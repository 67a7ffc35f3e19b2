"""Several strategies on one problem, each over the same seeds, through the same study as any search.

Ledgers are kept in memory, so that a table of recorded accuracies answers thousands of trials a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from searchspaces import UserError
from studies.comparison import Run
from studies.origins import under
from studies.study import Study

if TYPE_CHECKING:
    from estimators import Estimator
    from searchspaces import Architecture, Budget, SearchSpace, Task


LISTED: Final = 1_000_000
"""Architectures of the largest space that is listed in search of the best."""


def contest(
    space: str | SearchSpace,
    task: Task,
    budget: Budget | None,
    estimator: str | Estimator,
    strategies: Iterable[str],
    trials: int,
    seeds: Iterable[int],
    truth: Callable[[Architecture], float] | None = None,
    on_begin: Callable[[str, int], None] = lambda strategy, seed: None,
    confirm: int = 0,
) -> Iterator[Run]:
    """Run every strategy once for each seed: all of them for one seed before any for the next, so that whatever was
    done when it is cut can be compared.

    Args:
        space, task, budget, estimator: as for `Study.create`.
        strategies: names, or `file.py:object`.
        trials: of each study.
        seeds: each gives every strategy a study of that seed, and so the same luck in training.
        truth: gives an architecture's true accuracy in [0, 1], where that is known.
        on_begin: told which study begins.
        confirm: of each study, within its trials.

    Raises:
        UserError: as `Study.create` and `Study.run` do, and where all trials fail alike.
    """
    strategies = list(dict.fromkeys(strategies))
    check(space, task, budget, estimator, strategies, trials, confirm)
    for seed in seeds:
        for strategy in strategies:
            on_begin(strategy, seed)
            yield play(space, task, budget, estimator, strategy, trials, seed, truth, confirm)


def check(
    space: str | SearchSpace,
    task: Task,
    budget: Budget | None,
    estimator: str | Estimator,
    strategies: Iterable[str],
    trials: int,
    confirm: int = 0,
) -> None:
    """Tell of a name or number that is wrong before anything has run; arguments as for `contest`.

    Raises:
        UserError: as `Study.create` does.
    """
    for strategy in strategies:
        Study.create(None, space, task, budget, strategy, estimator, trials=trials, confirm=confirm)


def play(
    space: str | SearchSpace,
    task: Task,
    budget: Budget | None,
    estimator: str | Estimator,
    strategy: str,
    trials: int,
    seed: int,
    truth: Callable[[Architecture], float] | None = None,
    confirm: int = 0,
) -> Run:
    """One run of a contest, arguments as there: what it gives does not depend on the runs before it.

    Raises:
        UserError: all trials fail alike.
    """
    study = Study.create(None, space, task, budget, strategy, estimator, seed, trials=trials, confirm=confirm)
    ended = study.run()
    if ended.kind in ("failing", "stuck"):
        raise UserError(f"{strategy}, seed {seed}: {ended.reason}")
    return Run.of(study, truth, f"{strategy}, seed {seed}")


def best_truth(
    space: SearchSpace, task: Task, budget: Budget | None, truth: Callable[[Architecture], float | None]
) -> float | None:
    """The largest true accuracy of all that fits; None for a space of more than a million, which nobody lists.

    Args:
        space: the whole of it.
        task, budget: what fits.
        truth: gives an architecture's true accuracy in [0, 1], or None where it is not known.

    Raises:
        UserError: none of all that fits has a known truth.
    """
    if space.size > LISTED:
        return None
    fits = space.enumerate() if budget is None else under(space, budget, task).enumerate()
    known = [found for architecture in fits if (found := truth(architecture)) is not None]
    if not known:
        raise UserError(f"the table has none of the networks of {space.name} that fit; is the key right?")
    return max(known)
