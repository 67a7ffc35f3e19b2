"""Compare runs, and benchmark strategies on recorded accuracies; what is found as documents."""

from __future__ import annotations

import contextlib
import functools
import inspect
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

from nas.recorded import Recorded, Source
from searchspaces import Budget, SearchSpace, Task, UserError, load_space, own_code
from searchspaces.progress import doing
from strategies import STRATEGIES

if TYPE_CHECKING:
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
    runs: str | Path | Iterable[str | Path | Study],
    *,
    space: str | SearchSpace | None = None,
    trials: int | None = None,
) -> Comparison:
    """Compare finished runs; those of the same settings with different seeds are one contestant.

    Args:
        runs: run folders, or studies; one of them alone is taken too.
        space: of the runs, if it is a person's own.
        trials: compare after this many; by default as many as the shortest run has.

    Raises:
        UserError: a folder is not a run folder, `trials` is not at least 1, or runs cannot be compared; the message
            says what differs.
    """
    from studies import Study
    from studies.comparison import Run, compare

    if trials is not None and trials < 1:
        raise UserError(f"trials must be at least 1, got {trials}")
    runs = [runs] if isinstance(runs, str | Path) else runs
    space = None if space is None else load_space(space)
    with contextlib.ExitStack() as opened:
        studies = []
        for given in runs:
            if not isinstance(given, Study):
                doing(f"reading {given}")
                given = Study.open(given, space=space)
                opened.callback(given.close)
            studies.append(given)
        ended = [sum(trial.rank is not None for trial in study.trials) for study in studies]
        after = min(ended, default=0) if trials is None else trials
        taken = [Run.of(study, trials=after) for study in studies]
    doing("resampling the seeds")
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
class Found:
    """What the runs of a benchmark had found after as many trials.

    Attributes:
        observed: compared by the best observed accuracy.
        regret: compared by the true accuracy of the chosen network, below the best there is, which is what counts; None
            if the best is unknown.
        judged: compared by the true accuracy of the chosen network where only the best is unknown; None elsewhere.
    """

    observed: Comparison
    regret: Comparison | None
    judged: Comparison | None


@dataclass(frozen=True)
class Bench:
    """The results of strategies on a table.

    Attributes:
        runs: of every strategy, seed after seed.
        after: what they had found after each number of trials that was asked for, rising.
        recorded: what they were run on.
        seconds: wall-clock time.
        interrupted: whether Ctrl-C ended it before the last seed.
    """

    runs: tuple[Run, ...]
    after: tuple[Found, ...]
    recorded: Recorded
    seconds: float
    interrupted: bool = False

    @property
    def observed(self) -> Comparison:
        """By the best observed accuracy, in the end."""
        return self.after[-1].observed

    @property
    def regret(self) -> Comparison | None:
        """By regret, in the end; None if the best is unknown."""
        return self.after[-1].regret


def bench_strategies(
    source: Source,
    budget: str | Budget | None = None,
    *,
    task: str | Task = "224x224x3:1000",
    trials: int | Sequence[int] = 100,
    seeds: int = 10,
    strategies: Sequence[str] = (),
    confirm: Confirm | str = 0,
    jobs: int = 1,
    on_begin: Callable[[str, int], None] = lambda strategy, seed: None,
) -> Bench:
    """Run strategies on recorded accuracies, through the same studies as any search, and compare them.

    Args:
        source: of the accuracies, the space and the costs.
        budget: of the networks that may be tried.
        task: on which costs are counted, where they are not recorded.
        trials: of each run; of several numbers the largest, and each is compared after the first trials of those runs.
        seeds: number of runs of each strategy, with the seeds 0, 1, ...
        strategies: names; by default all of one objective.
        confirm: number of leading networks that are evaluated again, within the trials, or `auto`, as in `nas search`.
        jobs: parallel processes; the results do not depend on their number.
        on_begin: called with the strategy and the seed that begin, or with several processes are waited for. Ctrl-C
            ends the benchmark after the last whole round of seeds.

    Raises:
        UserError: an argument is wrong.
        KeyboardInterrupt: the first round of seeds is not finished.
    """
    from studies.confirming import confirm_from
    from studies.contest import best_truth, check

    numbers = sorted({trials} if isinstance(trials, int) else set(trials)) or [0]
    confirm = confirm_from(confirm)
    for name, value in (("trials", numbers[0]), ("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    if confirm and len(numbers) > 1:
        raise UserError("confirm takes the last trials of each run, so that it needs one number of trials, not several")
    task = Task.parse(task) if isinstance(task, str) else task
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    strategies = list(dict.fromkeys(strategies)) or ONE_OBJECTIVE
    given = _Benchmark(source, budget, task, numbers[-1], confirm)
    source.refuse_bare(strategies)
    whole, truth = source.whole(), source.opened()[1]
    best = None if truth is None else best_truth(whole, task, budget, truth)
    runs, began, interrupted = [], time.monotonic(), False
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
    shortest = min(len(run.reached) for run in runs)  # a small space is exhausted before
    after = tuple(_found(runs, number, best) for number in sorted({min(number, shortest) for number in numbers}))
    return Bench(tuple(runs), after, source.recorded(), time.monotonic() - began, interrupted)


def _found(runs: Sequence[Run], trials: int, best: float | None) -> Found:
    """What runs had found after as many trials.

    Args:
        runs: of every strategy.
        trials: after how many.
        best: the largest true accuracy there is, if it is known.
    """
    from studies.comparison import compare

    def compared(runs: Sequence[Run], best: float | None = None) -> Comparison:
        return compare(runs, np.random.default_rng(BOOTSTRAP_SEED), trials=trials, best=best)

    true = [replace(run, reached=run.truths) for run in runs if run.truths is not None]
    return Found(
        compared(runs),
        None if best is None else compared(runs, best),
        compared(true) if true and best is None else None,
    )


@dataclass(frozen=True)
class _Benchmark:
    """What each study of a benchmark is given, so that another process can begin it.

    Attributes:
        source: of the accuracies and the space.
        budget, task, confirm: as for `bench_strategies`.
        trials: of each run.
    """

    source: Source
    budget: Budget | None
    task: Task
    trials: int
    confirm: Confirm

    def settings(self) -> Settings:
        """Of each study, but for its strategy and its seed."""
        from studies.settings import Settings

        return Settings(
            space=self.source.whole(),
            task=self.task,
            budget=self.budget,
            estimator=self.source.opened()[0],
            trials=self.trials,
            confirm=self.confirm,
        )


def _played(
    given: _Benchmark, plan: Sequence[tuple[str, int]], on_begin: Callable[[str, int], None] = lambda *_: None
) -> Iterator[Run]:
    """Every run, one after the other."""
    from studies.contest import play

    settings, mean = given.settings(), given.source.opened()[1]

    def truth(architecture: Architecture) -> float:
        found = mean(architecture) if mean else None
        if found is None:
            raise UserError(f"the true accuracy of {architecture.to_json()}, which a run chose, is not known")
        return found

    for strategy, seed in plan:
        on_begin(strategy, seed)
        yield play(replace(settings, strategy=strategy, seed=seed), truth if mean else None)


def _played_by(
    jobs: int, given: _Benchmark, plan: Sequence[tuple[str, int]], on_begin: Callable[[str, int], None]
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


def _played_alone(given: _Benchmark, one: tuple[str, int]) -> Run:
    return next(_played(given, [one]))


def bench_document(bench: Bench, files: Mapping[str, Path]) -> Document:
    """A benchmark as plain JSON values, with all its results."""
    *shorter, last = map(_found_document, bench.after)
    return {
        **last,
        "shorter": shorter,
        "recorded": asdict(bench.recorded),
        "seconds": bench.seconds,
        "interrupted": bench.interrupted,
        "files": {name: str(path) for name, path in files.items()},
        "runs": [_run_document(run) for run in bench.runs],
    }


def _found_document(found: Found) -> Document:
    """Comparisons after one number of trials; None for what is not known."""
    compared = {"observed": found.observed, "regret": found.regret, "judged": found.judged}
    return {name: None if each is None else comparison_document(each) for name, each in compared.items()}


def settings_follow_trials(strategy: str) -> bool:
    """Whether a strategy that is known by its name begins with other settings for another number of trials.

    >>> [settings_follow_trials(name) for name in ("random", "evolution")]
    [False, True]
    """
    return "trials" in inspect.signature(STRATEGIES[strategy]).parameters if strategy in STRATEGIES else True
