"""What `nas compare` and `nas bench-strategies` do and say: documents first, then how they look on a screen."""

from __future__ import annotations

import functools
import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.text import Text

from nas.screens import FAINT, Bar, facts, table
from nas.wording import duration
from searchspaces import Budget, SearchSpace, Task, UserError, load_object, load_space, own_code
from strategies import STRATEGIES
from studies.contest import LISTED
from studies.curves import probability

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from estimators import TableEstimator
    from nas.documents import Document
    from searchspaces import Architecture
    from studies import Study
    from studies.comparison import Comparison, Run

BOOTSTRAP_SEED: Final = 0
"""Of the resamples: the same runs give the same intervals."""
ONE_OBJECTIVE: Final = [name for name in STRATEGIES if name not in ("pareto", "grid")]
"""The strategies that are run against each other unless told otherwise."""
LINES: Final = 20
"""Lines that tell the progress where there is no terminal, at most."""


def compare_runs(
    runs: Iterable[str | Path | Study], *, space: str | SearchSpace | None = None, trials: int | None = None
) -> Comparison:
    """Compare finished runs; those of the same settings with different seeds are one contestant.

    Args:
        runs: run folders, or studies.
        space: where the runs were made with a space of one's own.
        trials: compare after so many; by default as many as the shortest run has.

    Raises:
        UserError: a folder is no run, or runs cannot be compared; the message says what differs.
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
    """A run as plain JSON values: what it had reached after each trial, and the truth about that where it is known."""
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


def show_comparison(document: Document, console: Console, pairs: bool = True) -> None:
    """The table of the contestants and the table of what is between them."""
    regret = document["measure"] == "regret"
    level = f"{document['confidence']:.0%} interval"
    what = "Regret in percentage points" if regret else "Best accuracy"
    made = table(
        "", "seeds>", "mean>", "standard error>", f"{level}>", title=f"{what} after {document['trials']} trials"
    )
    for one in document["contestants"]:
        ends = _interval(one["interval"], regret)
        error = "-" if one["standard_error"] is None else _points(one["standard_error"]) + ("" if regret else "%")
        made.add_row(one["name"], str(len(one["seeds"])), _value(one["mean"], regret), error, ends)
    console.print(made)
    if not pairs or not document["pairs"]:
        return
    made = table(
        "first", "second", "seeds>", "difference>", f"{level}>", "ahead>", "better>",
        title="First less second in percentage points, paired by seed",
    )  # fmt: skip
    for one in document["pairs"]:
        made.add_row(
            one["first"],
            one["second"],
            str(one["seeds"]),
            _signed(one["difference"]),
            "-" if one["interval"] is None else " to ".join(map(_signed, one["interval"])),
            "-" if one["wins"] is None else f"{one['wins']:.0%}",
            "-" if one["better"] is None else probability(one["better"]),
        )
    console.print(made)
    notes = ["ahead: share of seeds on which the first is ahead; better: probability that it is better on average"]
    if min(one["seeds"] for one in document["pairs"]) < 5:
        notes.append("with fewer than five seeds intervals are too narrow, and with fewer than two there are none")
    console.print(Text("\n".join(notes), style=FAINT))


def _value(value: float, regret: bool) -> str:
    return _points(value) if regret else f"{value:.2%}"


def _points(value: float) -> str:
    """Percentage points.

    >>> _points(0.00042)
    '0.042'
    """
    return f"{100 * value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.3f}"


def _interval(ends: Sequence[float] | None, regret: bool) -> str:
    return "-" if ends is None else " to ".join(_value(each, regret) for each in ends)


@dataclass(frozen=True)
class Bench:
    """Strategies run on a table.

    Attributes:
        runs: of every strategy, seed after seed.
        observed: compared by the best accuracy observed.
        regret: compared by the true accuracy of the network chosen, which is what counts; None where the space is too
            large to list, so that the best there is, is not known.
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
    confirm: int = 0,
    jobs: int = 1,
    on_begin: Callable[[str, int], None] = lambda strategy, seed: None,
) -> Bench:
    """Run strategies on recorded accuracies, through the same studies as any search, and compare them.

    Args:
        table: a JSON file, as `TableEstimator` reads it; the mean of what it holds of a network counts as the truth.
        space: a name, `file.py:object`, or a space.
        budget: what may be tried.
        task: on which costs are counted.
        trials: of each run.
        seeds: runs of each strategy, with the seeds 0, 1, ...
        strategies: names; by default all of one objective.
        key: `file.py:function` that gives an architecture's key in the table; by default its text form.
        unit, field: of the table, as for `TableEstimator`.
        confirm: so many leading networks are evaluated again, within the trials, as by `nas search`.
        jobs: processes that share the runs; results are the same for any number.
        on_begin: told which strategy and seed begin, or with several processes are waited for. Ctrl-C ends the bench
            after the last whole round of seeds.

    Raises:
        UserError: an argument is wrong.
        KeyboardInterrupt: before the first round was over.
    """
    from studies.comparison import compare
    from studies.contest import best_truth, check

    for name, value in (("trials", trials), ("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    task = Task.parse(task) if isinstance(task, str) else task
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    strategies = list(dict.fromkeys(strategies)) or ONE_OBJECTIVE
    given = _Recorded(str(table), space, budget, task, key, unit, field, trials, confirm)
    whole, estimator = given.opened()
    best, runs, began, interrupted = best_truth(whole, task, budget, estimator.mean), [], time.monotonic(), False
    check(whole, task, budget, estimator, strategies, trials, confirm)
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
    """What is searched, as a person gave it: another process can open it anew, functions of a file included."""

    table: str
    space: str | SearchSpace
    budget: Budget | None
    task: Task
    key: str | None
    unit: str
    field: str
    trials: int
    confirm: int

    @functools.lru_cache(maxsize=1)  # noqa: B019 - one, for the runs of a process
    def opened(self) -> tuple[SearchSpace, TableEstimator]:
        """The space and the table."""
        from estimators import TableEstimator

        whole, function = load_space(self.space), None if self.key is None else load_object(self.key)
        if function is not None and not callable(function):
            raise UserError(f"{self.key} is {type(function).__name__}; not a function from an architecture to its key")
        return whole, TableEstimator(self.table, self.unit, self.field, function)


Plan = Sequence[tuple[str, int]]  # strategies and seeds


def _played(given: _Recorded, plan: Plan, on_begin: Callable[[str, int], None] = lambda *_: None) -> Iterator[Run]:
    """Every run, one after the other."""
    from studies.contest import play

    whole, estimator = given.opened()

    def truth(architecture: Architecture) -> float:
        mean = estimator.mean(architecture)
        assert mean is not None, "only what the table holds completes"
        return mean

    for strategy, seed in plan:
        on_begin(strategy, seed)
        yield play(whole, given.task, given.budget, estimator, strategy, given.trials, seed, truth, given.confirm)


def _played_by(jobs: int, given: _Recorded, plan: Plan, on_begin: Callable[[str, int], None]) -> Iterator[Run]:
    """Every run in the same order, from processes that are begun afresh, as on any system."""
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
    """A bench as plain JSON values, with all its results."""
    return {
        "observed": comparison_document(bench.observed),
        "regret": None if bench.regret is None else comparison_document(bench.regret),
        "seconds": bench.seconds,
        "interrupted": bench.interrupted,
        "files": {name: str(path) for name, path in files.items()},
        "runs": [_run_document(run) for run in bench.runs],
    }


def show_bench(document: Document, console: Console) -> None:
    """`nas bench-strategies`."""
    regret = document["regret"]
    show_comparison(document["observed"], console, pairs=regret is None)
    if regret is not None:
        show_comparison(regret, console)
    rows: list[tuple[str, RenderableType]] = [("runs", f"{len(document['runs'])} in {duration(document['seconds'])}")]
    if regret is not None:
        rows.append(("best mean that fits", f"{regret['best']:.2%}"))
    else:
        rows.append(("regret", f"not known: the space has more than {LISTED:,} networks, too many to list"))
    console.print(facts(*rows, *((name, Text(path)) for name, path in document["files"].items())))


class BenchProgress(Bar):
    """Tells on a console which strategy and seed begin; a live bar on a terminal, some lines elsewhere.

    Args:
        runs: how many there will be.
        quiet: tell nothing.
    """

    def __init__(self, runs: int, console: Console, quiet: bool = False) -> None:
        super().__init__(console, quiet)
        self._runs, self._begun = runs, 0
        self._bar = self._live.add_task("", total=runs) if self._live else None

    def __call__(self, strategy: str, seed: int) -> None:
        """A run begins."""
        if self._live is not None and self._bar is not None:
            self._live.update(self._bar, description=f"seed {seed}: {strategy}", completed=self._begun)
        elif not self._quiet and self._begun * LINES // self._runs != (self._begun - 1) * LINES // self._runs:
            self._console.print(f"run {self._begun + 1} of {self._runs}: {strategy}, seed {seed}", soft_wrap=True)
        self._begun += 1
