"""Compare runs, and benchmark strategies on recorded accuracies; what is found as documents."""

from __future__ import annotations

import contextlib
import functools
import json
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
from searchspaces import Budget, SearchSpace, Task, UserError, load_space, nearest, own_code
from searchspaces.progress import doing
from strategies import STRATEGIES
from studies.interrupts import ENDS

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
class Played:
    """A run of a benchmark.

    Attributes:
        run: of a strategy or a peer with a seed.
        trials: the numbers of trials that it is compared after, rising; it was planned for the last of them.
        infeasible: trials that did not fit the budget; our strategies have none.
        repeated: trials of what was tried before, but for confirmations, of a peer; our strategies have none.
    """

    run: Run
    trials: tuple[int, ...]
    infeasible: int = 0
    repeated: int = 0


@dataclass(frozen=True)
class Bench:
    """The results of strategies on a table.

    Attributes:
        played: the runs of every strategy, seed after seed.
        after: what they had found after each number of trials that was asked for, rising.
        recorded: what they were run on.
        seconds: wall-clock time.
        interrupted: whether Ctrl-C ended it before the last seed.
    """

    played: tuple[Played, ...]
    after: tuple[Found, ...]
    recorded: Recorded
    seconds: float
    interrupted: bool = False

    @property
    def runs(self) -> tuple[Run, ...]:
        """Of every strategy, seed after seed."""
        return tuple(each.run for each in self.played)

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
    confirm: Confirm | str | None = None,
    jobs: int = 1,
    peers_python: str | None = None,
    on_begin: Callable[[str, int], None] = lambda strategy, seed: None,
) -> Bench:
    """Run strategies on recorded accuracies, through the same studies as any search, and compare them.

    Args:
        source: of the accuracies, the space and the costs.
        budget: of the networks that may be tried.
        task: on which costs are counted, where they are not recorded.
        trials: of each run. Of several numbers, each is compared as a search of so many trials: those for which a
            strategy has the same settings and confirms nothing are compared after the first trials of one run, the
            others have runs of their own.
        seeds: number of runs of each strategy, with the seeds 0, 1, ...
        strategies: names, those of peers included (`nas.peers.catalog`); by default all of ours with one objective.
        confirm: number of leading networks that are evaluated again, within the trials, or `auto`; None is what
            `nas search` does of itself. Peers confirm nothing.
        jobs: parallel processes; the results do not depend on their number.
        peers_python: another Python, for peers that need one.
        on_begin: called with the strategy and the seed that begin, or with several processes are waited for. Ctrl-C
            ends the benchmark after the last whole round of seeds.

    Raises:
        UserError: an argument is wrong.
        KeyboardInterrupt: the first round of seeds is not finished.
    """
    from nas.peers import elsewhere
    from studies.confirming import confirm_from
    from studies.contest import best_truth

    numbers = sorted({trials} if isinstance(trials, int) else set(trials)) or [0]
    confirm = None if confirm is None else confirm_from(confirm)
    for name, value in (("trials", numbers[0]), ("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    task = Task.parse(task) if isinstance(task, str) else task
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    strategies = list(dict.fromkeys(strategies)) or ONE_OBJECTIVE
    given = _Benchmark(source, budget, task, confirm, peers_python)
    _refuse_unknown(strategies)
    source.refuse_bare(strategies)
    whole, truth = source.whole(), source.opened()[1]
    best = None if truth is None else best_truth(whole, task, budget, truth)
    contestants = [given.contestant(strategy, numbers) for strategy in strategies]
    turns, began, interrupted = list[list[Played]](), time.monotonic(), False
    played = _played if jobs == 1 else functools.partial(_played_by, jobs)
    try:
        for turn in played(given, [(each, seed) for seed in range(seeds) for each in contestants], on_begin):
            turns.append(turn)
    except KeyboardInterrupt:
        interrupted = True
        del turns[len(turns) - len(turns) % len(strategies) :]
        if not turns:
            raise
    finally:
        elsewhere.close()
    every = [one for turn in turns for one in turn]
    return Bench(tuple(every), _after(every, numbers, best), source.recorded(), time.monotonic() - began, interrupted)


def _refuse_unknown(strategies: Sequence[str]) -> None:
    """Refuse a name that is neither a strategy's nor a peer's, with the nearest of both.

    Raises:
        UserError: there is one.
    """
    from nas.peers.catalog import is_peer, names

    for name in strategies:
        if not (name in STRATEGIES or ":" in name or is_peer(name)):
            raise UserError(f"unknown strategy {name!r}{nearest(name, [*STRATEGIES, 'optuna:GPSampler', *names()])}")


def _after(played: Sequence[Played], numbers: Sequence[int], best: float | None) -> tuple[Found, ...]:
    """What runs had found after each number of trials, or after all where a small space is exhausted before.

    Args:
        played: runs of every strategy, for every number.
        numbers: of trials, rising.
        best: the largest true accuracy there is, if it is known.
    """
    found = dict[int, Found]()
    for number in numbers:
        runs = [each.run for each in played if number in each.trials]
        shortest = min(number, *(len(run.reached) for run in runs))
        found[shortest] = _found(runs, shortest, best)
    return tuple(found[each] for each in sorted(found))


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
class _Contestant:
    """A strategy or a peer, with the runs that it has for each seed.

    Attributes:
        strategy: its name.
        together: the numbers of trials that one run is compared after, for each of its runs; each is rising.
        version: of a peer's package; None for a strategy of ours.
    """

    strategy: str
    together: tuple[tuple[int, ...], ...]
    version: str | None = None


@dataclass(frozen=True)
class _Benchmark:
    """What each study of a benchmark is given, so that another process can begin it.

    Attributes:
        source: of the accuracies and the space.
        budget, task, confirm, peers_python: as for `bench_strategies`.
    """

    source: Source
    budget: Budget | None
    task: Task
    confirm: Confirm | None
    peers_python: str | None

    def settings(self, strategy: str, trials: int, seed: int = 0) -> Settings:
        """Of a study."""
        from studies.settings import Settings

        return Settings(
            space=self.source.whole(),
            task=self.task,
            budget=self.budget,
            estimator=self.source.opened()[0],
            trials=trials,
            strategy=strategy,
            seed=seed,
            confirm=self.confirm,
        )

    def contestant(self, strategy: str, numbers: Sequence[int]) -> _Contestant:
        """A contestant, checked before anything has run.

        Searches of different numbers of trials begin alike, and are one run, where the strategy has the same settings
        and nothing is confirmed, which is what the last trials of a search are for.

        Args:
            strategy: its name.
            numbers: of trials, rising.

        Raises:
            UserError: the name is unknown, a peer is not installed, or a study cannot be begun.
        """
        from nas.peers.catalog import is_peer, version
        from studies import Study

        if is_peer(strategy):
            return _Contestant(strategy, (tuple(numbers),), version(strategy, self.peers_python))
        together = dict[str, list[int]]()
        for number in numbers:
            manifest = Study.create(None, self.settings(strategy, number)).manifest
            alike = json.dumps([manifest.strategy["resolved"], manifest.confirm, number if manifest.confirm else 0])
            together.setdefault(alike, []).append(number)
        return _Contestant(strategy, tuple(map(tuple, together.values())))


_Turn = tuple[_Contestant, int]  # with its seed


def _played(
    given: _Benchmark, plan: Sequence[_Turn], on_begin: Callable[[str, int], None] = lambda *_: None
) -> Iterator[list[Played]]:
    """The runs of every turn, one after the other."""
    from studies.contest import play

    mean = given.source.opened()[1]

    def truth(architecture: Architecture) -> float:
        found = mean(architecture) if mean else None
        if found is None:
            raise UserError(f"the true accuracy of {architecture.to_json()}, which a run chose, is not known")
        return found

    for contestant, seed in plan:
        on_begin(contestant.strategy, seed)
        turn = []
        for numbers in contestant.together:
            settings = given.settings(contestant.strategy, numbers[-1], seed)
            if contestant.version is None:
                turn.append(Played(play(settings, truth if mean else None), numbers))
            else:
                from nas.peers.playing import play_peer

                run = play_peer(settings, contestant.version, truth if mean else None, given.peers_python)
                turn.append(Played(run.run, numbers, run.infeasible, run.repeated))
        yield turn


def _played_by(
    jobs: int, given: _Benchmark, plan: Sequence[_Turn], on_begin: Callable[[str, int], None]
) -> Iterator[list[Played]]:
    """The runs of every turn in the same order, from spawned processes."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin_process, (own_code.sources(),))
    try:
        futures = [pool.submit(_played_alone, given, each) for each in plan]
        for (contestant, seed), future in zip(plan, futures, strict=True):
            on_begin(contestant.strategy, seed)
            yield future.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.kill()  # which ignores SIGTERM
        raise
    pool.shutdown()


def _begin_process(code: Mapping[str, own_code.Source]) -> None:
    """Leave Ctrl-C and other ends to the process that waits, and know a person's own code, which a space may need to be
    read."""
    for each in (signal.SIGINT, *ENDS):
        signal.signal(each, signal.SIG_IGN)
    own_code.install(code)


def _played_alone(given: _Benchmark, one: _Turn) -> list[Played]:
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
        "runs": [_played_document(one) for one in bench.played],
    }


def _played_document(played: Played) -> Document:
    """A run of a benchmark as plain JSON values."""
    spent = {"infeasible": played.infeasible, "repeated": played.repeated}
    return {**_run_document(played.run), "trials": list(played.trials), **spent}


def _found_document(found: Found) -> Document:
    """Comparisons after one number of trials; None for what is not known."""
    compared = {"observed": found.observed, "regret": found.regret, "judged": found.judged}
    return {name: None if each is None else comparison_document(each) for name, each in compared.items()}
