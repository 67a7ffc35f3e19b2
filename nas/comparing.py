"""Compare runs, and benchmark strategies on recorded accuracies; what is found as documents."""

from __future__ import annotations

import functools
import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from searchspaces import Budget, SearchSpace, Task, UserError, load_object, load_space, own_code
from strategies import STRATEGIES

if TYPE_CHECKING:
    from estimators import TableEstimator
    from nas.documents import Document
    from searchspaces import Architecture
    from studies import Study
    from studies.comparison import Comparison, Run
    from studies.confirming import Confirm
    from studies.settings import Settings

BOOTSTRAP_SEED: Final = 0
"""Seed of the bootstrap resamples: the same runs give the same intervals."""
ONE_OBJECTIVE: Final = [name for name in STRATEGIES if name not in ("pareto", "grid")]
"""The strategies that are benchmarked by default."""


def compare_runs(
    runs: Iterable[str | Path | Study], *, space: str | SearchSpace | None = None, trials: int | None = None
) -> Comparison:
    """Compare finished runs; those of the same settings with different seeds are one contestant.

    Args:
        runs: run folders, or studies.
        space: of the runs, if it is a person's own.
        trials: compare after this many; by default as many as the shortest run has.

    Raises:
        UserError: a folder is not a run folder, or runs cannot be compared; the message says what differs.
    """
    from studies import Study
    from studies.comparison import Run, compare

    space = None if space is None else load_space(space)
    taken = []
    for given in runs:
        if isinstance(given, Study):
            taken.append(Run.of(given))
            continue
        study = Study.open(given, space=space)
        taken.append(Run.of(study))
        study.close()
    return compare(taken, np.random.default_rng(BOOTSTRAP_SEED), trials=trials)


def comparison_document(comparison: Comparison) -> Document:
    """A comparison as plain JSON values; accuracies, regrets and differences in [0, 1]."""
    document: Document = {
        "measure": comparison.measure,
        "trials": comparison.trials,
        "conditions": dict(comparison.conditions),
        "best": comparison.best,
        "confidence": comparison.confidence,
        "resamples": comparison.resamples,
        "contestants": [asdict(each) for each in comparison.contestants],
        "pairs": [asdict(each) for each in comparison.pairs],
    }
    plain: Document = _plain(document)
    return plain


def _run_document(run: Run) -> Document:
    """A run as plain JSON values: the best accuracy after each trial, and the true accuracy where it is known."""
    document: Document = _plain(asdict(run))
    del document["conditions"]
    return document


def _plain(value: Any) -> Any:
    """Arrays as lists, NaN as null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(each) for each in (value.tolist() if isinstance(value, np.ndarray) else value)]
    return None if isinstance(value, float) and math.isnan(value) else value


@dataclass(frozen=True)
class Bench:
    """The results of strategies on a table.

    Attributes:
        runs: of every strategy, seed after seed.
        observed: compared by the best observed accuracy.
        regret: compared by the true accuracy of the chosen network, which is what counts; None if the space is too
            large to list, so that its best network is unknown.
        seconds: wall-clock time.
        interrupted: whether Ctrl-C ended it before the last seed.
    """

    runs: tuple[Run, ...]
    observed: Comparison
    regret: Comparison | None
    seconds: float
    interrupted: bool = False


def bench_strategies(
    table: str | Path,
    space: str | SearchSpace,
    budget: str | Budget | None = None,
    *,
    task: str | Task = "224x224x3:1000",
    trials: int = 100,
    seeds: int = 10,
    strategies: Sequence[str] = (),
    key: str | None = None,
    unit: str = "fraction",
    field: str = "test_acc",
    confirm: Confirm | str = 0,
    jobs: int = 1,
    on_begin: Callable[[str, int], None] = lambda strategy, seed: None,
) -> Bench:
    """Run strategies on recorded accuracies, through the same studies as any search, and compare them.

    Args:
        table: a JSON file, as `TableEstimator` reads it; the mean of a network's accuracies is its true accuracy.
        space: a name, `file.py:object`, or a space.
        budget: of the networks that may be tried.
        task: on which costs are counted.
        trials: of each run.
        seeds: number of runs of each strategy, with the seeds 0, 1, ...
        strategies: names; by default all of one objective.
        key: `file.py:function` that gives an architecture's key in the table; by default its text form.
        unit, field: of the table, as for `TableEstimator`.
        confirm: number of leading networks that are evaluated again, within the trials, or `auto`, as in `nas search`.
        jobs: parallel processes; the results do not depend on their number.
        on_begin: called with the strategy and the seed that begin, or with several processes are waited for. Ctrl-C
            ends the benchmark after the last whole round of seeds.

    Raises:
        UserError: an argument is wrong.
        KeyboardInterrupt: the first round of seeds is not finished.
    """
    from studies.comparison import compare
    from studies.confirming import confirm_from
    from studies.contest import best_truth, check

    for name, value in (("trials", trials), ("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    task = Task.parse(task) if isinstance(task, str) else task
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    strategies = list(dict.fromkeys(strategies)) or ONE_OBJECTIVE
    given = _Recorded(str(table), space, budget, task, key, unit, field, trials, confirm_from(confirm))
    whole, estimator = given.opened()
    best, runs, began, interrupted = best_truth(whole, task, budget, estimator.mean), [], time.monotonic(), False
    check(given.settings(), strategies)
    played = _played if jobs == 1 else functools.partial(_played_by, jobs)
    try:
        for run in played(given, [(strategy, seed) for seed in range(seeds) for strategy in strategies], on_begin):
            runs.append(run)
    except KeyboardInterrupt:
        interrupted = True
        del runs[len(runs) - len(runs) % len(strategies) :]
        if not runs:
            raise
    observed = compare(runs, np.random.default_rng(BOOTSTRAP_SEED))
    regret = None if best is None else compare(runs, np.random.default_rng(BOOTSTRAP_SEED), best=best)
    return Bench(tuple(runs), observed, regret, time.monotonic() - began, interrupted)


@dataclass(frozen=True)
class _Recorded:
    """What is benchmarked, as a person gave it, so that another process can open it, functions of a file included."""

    table: str
    space: str | SearchSpace
    budget: Budget | None
    task: Task
    key: str | None
    unit: str
    field: str
    trials: int
    confirm: Confirm

    @functools.lru_cache(maxsize=1)  # noqa: B019 - one, for the runs of a process
    def opened(self) -> tuple[SearchSpace, TableEstimator]:
        """The space and the table."""
        from estimators import TableEstimator

        whole, function = load_space(self.space), None if self.key is None else load_object(self.key)
        if function is not None and not callable(function):
            raise UserError(
                f"{self.key} is a {type(function).__name__}, not a function from an architecture to its key"
            )
        return whole, TableEstimator(self.table, self.unit, self.field, function)

    def settings(self) -> Settings:
        """Of each study, but for its strategy and its seed."""
        from studies.settings import Settings

        whole, estimator = self.opened()
        return Settings(
            space=whole,
            task=self.task,
            budget=self.budget,
            estimator=estimator,
            trials=self.trials,
            confirm=self.confirm,
        )


def _played(
    given: _Recorded, plan: Sequence[tuple[str, int]], on_begin: Callable[[str, int], None] = lambda *_: None
) -> Iterator[Run]:
    """Every run, one after the other."""
    from studies.contest import play

    settings, (_, estimator) = given.settings(), given.opened()

    def truth(architecture: Architecture) -> float:
        mean = estimator.mean(architecture)
        assert mean is not None, "only what the table holds completes"
        return mean

    for strategy, seed in plan:
        on_begin(strategy, seed)
        yield play(replace(settings, strategy=strategy, seed=seed), truth)


def _played_by(
    jobs: int, given: _Recorded, plan: Sequence[tuple[str, int]], on_begin: Callable[[str, int], None]
) -> Iterator[Run]:
    """Every run in the same order, from spawned processes."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin_process, (own_code.sources(),))
    try:
        futures = [pool.submit(_played_alone, given, each) for each in plan]
        for (strategy, seed), future in zip(plan, futures, strict=True):
            on_begin(strategy, seed)
            yield future.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    pool.shutdown()


def _begin_process(code: Mapping[str, own_code.Source]) -> None:
    """Leave Ctrl-C to the process that waits, and know a person's own code, which a space may need to be read."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    own_code.install(code)


def _played_alone(given: _Recorded, one: tuple[str, int]) -> Run:
    return next(_played(given, [one]))


def bench_document(bench: Bench, files: Mapping[str, Path]) -> Document:
    """A benchmark as plain JSON values, with all its results."""
    return {
        "observed": comparison_document(bench.observed),
        "regret": None if bench.regret is None else comparison_document(bench.regret),
        "seconds": bench.seconds,
        "interrupted": bench.interrupted,
        "files": {name: str(path) for name, path in files.items()},
        "runs": [_run_document(run) for run in bench.runs],
    }
