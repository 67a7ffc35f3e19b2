"""Several strategies on one problem, each over the same seeds, through the same study as any search.

Ledgers are kept in memory, so that a table of recorded accuracies answers thousands of trials a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from searchspaces import UserError
from studies.comparison import Run
from studies.origins import under
from studies.study import Study

if TYPE_CHECKING:
    from searchspaces import Architecture, Budget, SearchSpace, Task
    from studies.settings import Settings


LISTED: Final = 1_000_000
"""Architectures of the largest space that is listed in search of the best."""


def contest(
    settings: Settings,
    strategies: Iterable[str],
    seeds: Iterable[int],
    truth: Callable[[Architecture], float] | None = None,
    on_begin: Callable[[str, int], None] = lambda strategy, seed: None,
) -> Iterator[Run]:
    """Run every strategy once for each seed: all of them for one seed before any for the next, so that whatever was
    done when it is cut can be compared.

    Args:
        settings: of each study, but for its strategy and its seed.
        strategies: names, or `file.py:object`.
        seeds: each gives every strategy a study of that seed, and so the same luck in training.
        truth: gives an architecture's true accuracy in [0, 1], where that is known.
        on_begin: told which study begins.

    Raises:
        UserError: as `Study.create` and `Study.run` do, and where all trials fail alike.
    """
    strategies = list(dict.fromkeys(strategies))
    check(settings, strategies)
    for seed in seeds:
        for strategy in strategies:
            on_begin(strategy, seed)
            yield play(replace(settings, strategy=strategy, seed=seed), truth)


def check(settings: Settings, strategies: Iterable[str]) -> None:
    """Refuse a name or number that is wrong before anything has run; arguments as for `contest`.

    Raises:
        UserError: as `Study.create` does.
    """
    for strategy in strategies:
        Study.create(None, replace(settings, strategy=strategy))


def play(settings: Settings, truth: Callable[[Architecture], float] | None = None) -> Run:
    """One run of a contest: what it gives does not depend on the runs before it.

    Args:
        settings: of the study.
        truth: as for `contest`.

    Raises:
        UserError: all trials fail alike.
    """
    study = Study.create(None, settings)
    ended, name = study.run(), f"{settings.strategy}, seed {settings.seed}"
    if ended.kind in ("failing", "stuck"):
        raise UserError(f"{name}: {ended.reason}")
    return Run.of(study, truth, name)


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
