"""What thinking costs: seconds that a strategy and its study take for a trial, beside the training itself.

    python -m benchmarks.thinking [--trials 100 1000 10000] [--only evolution tpe] [--ledgers memory sqlite]
    python -m benchmarks.thinking --only guided --space nasnet --budget 600M --trials 20 100 1000 --ledgers memory
    python -m benchmarks.thinking --only guided --budget 399.5M..400M --trials 20 100 1000 --ledgers memory

Networks of `mbconv` under 400M MACs, or of another space and budget, with accuracies made up: effects of options, and
noise. A history of random networks is told first, all but the last `--timed` trials of it, and those are timed: ask and
both tells by themselves (the first ask, which catches up on all that was told at once as a resumed study does, has a
column of its own); and through a study with its ledger in memory and in SQLite, where a trial is asked for, checked,
written as started, "estimated", written as ended and told.

Times are of the processor, so that other work on the machine counts little; SQLite waits for the disk, so the clock's
time is given too.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread, as a busy machine leaves us

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

# Run as a script, this folder would come first, and hold another `strategies`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from estimators import Estimate, TrialContext
from searchspaces import Architecture, Budget, Task, load_space
from strategies import STRATEGIES, Outcome, make_strategy
from studies import Event, Study, Trial, TrialEnded
from studies.settings import Settings

TASK = Task()
THINKERS = [name for name in STRATEGIES if name != "grid"]
"""A grid takes only spaces far smaller than this one, and thinks of nothing."""
FILLED = 1000
"""Trials up to which an SQLite ledger is filled unless asked for: filling it takes 50 ms a trial."""
STRICT_S = 0.5
"""Seconds that an ask may take after 10,000 trials, and not more."""


class Problem:
    """A space under a budget, and what each option is worth.

    Args:
        space, budget: as they are typed.
    """

    def __init__(self, space: str, budget: str) -> None:
        self.space, self.budget = load_space(space), Budget.parse(budget)
        self.feasible = self.space.under(self.budget, TASK)
        draw = np.random.default_rng(2026)
        self.effects = [draw.normal(0, 0.01, len(decision.options) + 1) for decision in self.space.decisions]

    def accuracy(self, architecture: Architecture, rng: np.random.Generator) -> float:
        """An accuracy in [0, 1], about 0.7."""
        index = self.space.encode(architecture)
        worth = sum(float(effects[i]) for effects, i in zip(self.effects, index, strict=True))
        return float(np.clip(0.7 + worth + rng.normal(0, 0.005), 0, 1))


class MadeUp:
    """An estimator: the sum of what each option is worth, and noise."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def describe(self) -> dict[str, Any]:
        """It has no settings."""
        return {"name": "made-up"}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """Takes no time to speak of."""
        accuracy = self._problem.accuracy(architecture, np.random.default_rng(context.seed))
        return Estimate(accuracy, 0.0, (accuracy,))


def history(problem: Problem, trials: int) -> list[Trial]:
    """Random networks that were tried one after the other."""
    rng, now, found = np.random.default_rng(1), datetime.now().astimezone(), []
    for number in range(trials):
        member = problem.feasible.sample(rng)
        accuracy, cost = problem.accuracy(member, rng), member.cost(TASK)
        found.append(
            Trial(
                number, member, cost, "complete", told=number, accuracy=accuracy, reports=((1, accuracy),),
                seconds=0.0, rank=number, started=now, ended=now,
            )
        )  # fmt: skip
    return found


def alone(problem: Problem, name: str, trials: int, past: Sequence[Trial], timed: int) -> tuple[list[float], float]:
    """Processor seconds of each timed ask, and of a trial (ask and both tells) but the first, without a study.

    The first ask after a history that was told at once catches up on what a running study did trial by trial.
    """
    strategy = make_strategy(name, problem.feasible, trials)
    for trial in past:
        strategy.tell(trial.architecture, Outcome("running", cost=trial.cost))
        strategy.tell(trial.architecture, trial.outcome)
    asks, noise = [], np.random.default_rng(2)
    for number in range(len(past), len(past) + timed):
        if number == len(past) + 1:
            began = time.process_time()
        before = time.process_time()
        member = strategy.ask(np.random.default_rng([0, number]))
        asks.append(time.process_time() - before)
        cost = member.cost(TASK)
        strategy.tell(member, Outcome("running", cost=cost))
        strategy.tell(member, Outcome("complete", problem.accuracy(member, noise), cost))
    return asks, (time.process_time() - began) / (timed - 1)


def in_study(
    problem: Problem, name: str, trials: int, past: Sequence[Trial], timed: int, ledger: Path | None
) -> tuple[float, float]:
    """Processor and clock seconds of a trial through a study.

    Args:
        ledger: an SQLite file with the history in it; None for a ledger in memory.
    """
    ends: list[tuple[float, float]] = []

    def note(event: Event) -> None:
        if isinstance(event, TrialEnded):
            ends.append((time.process_time(), time.perf_counter()))

    with tempfile.TemporaryDirectory() as there:
        folder = None if ledger is None else Path(there) / NAME
        study = Study.create(folder, settings(problem, name, trials))
        if ledger is None:
            write(problem, study, past)
        else:
            study.close()
            shutil.copy(ledger, Path(there) / NAME / "ledger.db")
        study.run(len(past) + timed, on_event=note)
        study.close()
    (cpu, clock), (cpu_end, clock_end) = ends[0], ends[-1]
    return (cpu_end - cpu) / (timed - 1), (clock_end - clock) / (timed - 1)


NAME = "thinking"  # of the folder, and so of the study in its ledger


def settings(problem: Problem, strategy: str, trials: int, ledger: str = "sqlite") -> Settings:
    return Settings(
        space=problem.space,
        task=TASK,
        budget=problem.budget,
        strategy=strategy,
        estimator=MadeUp(problem),
        trials=trials,
        ledger=ledger,
    )


def write(problem: Problem, study: Study, past: Sequence[Trial]) -> None:
    """Put a history into an empty ledger."""
    for trial in past:
        running = replace(trial, state="running", accuracy=None, reports=(), seconds=None, rank=None, ended=None)
        study.record.ledger.started(running, study.seed_of(trial.number), problem.space, running.told)
        study.record.ledger.ended(trial, 0, {})


def written(problem: Problem, past: Sequence[Trial], folder: Path) -> Path:
    """An SQLite ledger with a history in it."""
    study = Study.create(folder / NAME, settings(problem, "random", len(past) + 1))
    write(problem, study, past)
    study.close()
    return folder / NAME / "ledger.db"


def rows(
    problem: Problem, names: Sequence[str], trials: int, timed: int, ledgers: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """One row of cells for each strategy."""
    past = history(problem, trials - timed)
    in_memory = Path("/dev/shm")  # where it exists, filling the ledger does not wait for the disk
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as there:
        file = written(problem, past, Path(there)) if "sqlite" in ledgers else None
        for name in names:
            alone(problem, name, 60, past[:50], 10)  # what is imported when first used is not thinking
            asks, thinking = alone(problem, name, trials, past, timed)
            first, *others = asks
            slow = " !" if trials >= 10_000 and max(others) > STRICT_S else ""
            cells = [f"{1000 * float(np.mean(others)):.2f}", f"{1000 * float(np.median(others)):.2f}"]
            cells += [f"{1000 * max(others):.2f}{slow}", f"{1000 * first:.2f}", f"{1000 * thinking:.2f}"]
            cells.append(
                f"{1000 * in_study(problem, name, trials, past, timed, None)[0]:.2f}" if "memory" in ledgers else "-"
            )
            through = in_study(problem, name, trials, past, timed, file) if file is not None else ()
            cells += [f"{1000 * seconds:.2f}" for seconds in through] or ["-", "-"]
            yield name, cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--space", default="mbconv")
    parser.add_argument("--budget", default="400M")
    parser.add_argument("--timed", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=THINKERS, default=THINKERS)
    parser.add_argument("--ledgers", nargs="*", choices=["memory", "sqlite"])
    given = parser.parse_args()
    problem = Problem(given.space, given.budget)
    heads = ["ask", "median ask", "slowest ask", "first ask", "ask + tells"]
    heads += ["in memory", "SQLite", "its clock"]
    print(f"milliseconds a trial, mean of the last {given.timed} but the first; ! is over {STRICT_S} s")
    print(f"{'trials':>7}  {'strategy':12}" + "".join(head.rjust(14) for head in heads), flush=True)
    for trials in given.trials:
        ledgers = given.ledgers or ["memory", *(["sqlite"] if trials <= FILLED else [])]
        for name, cells in rows(problem, given.only, trials, given.timed, ledgers):
            print(f"{trials:7,}  {name:12}" + "".join(cell.rjust(14) for cell in cells), flush=True)


if __name__ == "__main__":
    main()
