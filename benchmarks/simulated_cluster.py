"""How large a cluster one driver keeps busy: real strategies, real ledgers, simulated GPUs.

    python -m benchmarks.simulated_cluster [--known 1000] [--trials 200] [--seconds 0.5 60 600] [--clock wall]

Two stages, without Ray and without training.

Measured: for each strategy and each ledger a study that knows `--known` trials goes on for `--trials` more, 50 of them
under way at a time, whose lengths are drawn from a lognormal distribution, so that they end out of order. Each trial
costs the driver what it does: six reports, the end, the strategy's tell, the next proposal and its start, all of it in
the ledger.

Simulated, discrete events: GPUs that each train one trial after the other, of such lengths (mean `--seconds`, sigma 1:
one in 40 is 4 times the mean), and one driver that serves them in the order in which their trials end, each for a time
drawn from those that were measured, reports included. Where a study does so (`Run.prepare`), the driver thinks of the
next proposal while it has nothing else to do; `asked` is without that. The cluster is full at the start, and in its
middle; what is printed is of the second half of five trials a GPU, and of 4,000 at least.

`wall` is the clock on the wall, disks included; `processor` is what the driver and the PostgreSQL server computed,
which other programs do not disturb, and leaves out waiting for disks. Nothing is extrapolated but by drawing measured
times again: a study that knows more trials costs more, see benchmarks/thinking.py.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread, as a busy machine leaves us

import argparse
import contextlib
import heapq
import itertools
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from postgresql_server import programs, server

from benchmarks.thinking import MadeUp, Problem, history, settings, write
from estimators import Estimator, TrialContext
from strategies import make_strategy
from studies import Ending, Job, Study
from studies.engine import Report, nothing
from studies.run import WORTH
from studies.settings import Settings

PROBLEM = Problem("mbconv", "400M")
STRATEGIES = ("evolution", "rl", "tpe", "guided")
LEDGERS = ("memory", "journal", "sqlite", "postgresql")
GPUS = (10, 100, 1_000, 10_000)
AHEAD = 50
"""Trials under way while the driver is measured."""
REPORTS = 6
"""Of each trial: the epochs of the short training."""
SIGMA = 1.0
STUDY = "filled"


class Measured:
    """An engine whose trials take no time: it measures what the study does for each.

    Args:
        trials: to be measured.
        clock: gives seconds.

    Attributes:
        costs: seconds of the driver's work for each trial: reports and end, the thinking for the next, its start.
    """

    def __init__(self, trials: int, clock: Callable[[], float]) -> None:
        self._trials, self._clock = trials, clock
        self.costs: list[tuple[float, float, float]] = []

    def run(
        self,
        estimator: Estimator,
        next_job: Callable[[], Job | None],
        report: Report,
        done: Callable[[int, Ending], None],
        prepare: Callable[[], None] = nothing,
    ) -> None:
        """As in `Engine`."""
        lengths, noise = np.random.default_rng(0), np.random.default_rng(1)
        running: list[tuple[float, int, Job]] = []

        def begin(now: float, job: Job | None) -> None:
            if job is not None:
                heapq.heappush(running, (now + float(lengths.lognormal(0, SIGMA)), job.number, job))

        for _ in range(AHEAD):
            begin(0.0, next_job())
        while running:
            now, number, job = heapq.heappop(running)
            accuracy = MadeUp(PROBLEM).estimate(job.architecture, TrialContext(int(noise.integers(2**31)))).accuracy
            times = [self._clock()]
            for step in range(1, REPORTS + 1):
                report(number, step, accuracy * step / REPORTS)
            done(number, Ending("complete", 0.0, accuracy))
            times.append(self._clock())
            prepare()  # which a trial of no seconds is always worth
            times.append(self._clock())
            more = next_job()
            times.append(self._clock())
            if len(self.costs) < self._trials:
                ended, thought, started = (after - before for before, after in itertools.pairwise(times))
                self.costs.append((ended, thought, started))
            begin(now, more)


def simulate(
    gpus: int, costs: list[tuple[float, float, float]], length_s: float, prepares: bool = True
) -> tuple[float, float]:
    """Trials per second that the cluster manages, and the share of its time that a GPU waits for the driver.

    Args:
        gpus: in the cluster.
        costs: seconds of the driver for a trial, to be drawn from, as in `Measured`.
        length_s: mean of a trial.
        prepares: whether the driver thinks ahead when it has nothing else to do, where that pays.
    """
    prepares = prepares and pays(costs, length_s)
    rng = np.random.default_rng(gpus)
    mu, trials = math.log(length_s) - SIGMA**2 / 2, max(5 * gpus, 4_000)
    # What is left of those under way at any moment: the longer ones are met more often, anywhere in their course.
    ends = list(rng.lognormal(mu + SIGMA**2, SIGMA, gpus) * rng.random(gpus))
    heapq.heapify(ends)
    lengths, services = rng.lognormal(mu, SIGMA, trials), rng.choice(np.array(costs), trials)
    free, waited, worked, half = 0.0, 0.0, 0.0, 0.0
    for index in range(trials):
        end, (ended, thought, started) = heapq.heappop(ends), services[index]
        if prepares and free < end:
            free, thought = free + thought, 0.0
        free = max(end, free) + ended + thought + started
        heapq.heappush(ends, free + lengths[index])
        if index == trials // 2:
            half = free
        elif index > trials // 2:
            waited, worked = waited + free - end, worked + lengths[index]
    return (trials - trials // 2 - 1) / (free - half), waited / (waited + worked)


def pays(costs: list[tuple[float, float, float]], length_s: float) -> bool:
    """Whether a study of such trials prepares its proposals."""
    return float(np.mean(costs, axis=0)[1]) > WORTH * length_s


@contextlib.contextmanager
def ledgers(names: list[str], known: int) -> Iterator[dict[str, tuple[Path, str]]]:
    """For each ledger a run folder with its history, to be copied, and the ledger's URL or name."""
    past, made = history(PROBLEM, known), {}
    with tempfile.TemporaryDirectory() as there, contextlib.ExitStack() as stack:
        for name in names:
            url = stack.enter_context(server(durable=True)) if name == "postgresql" else name
            folder = Path(there) / name / STUDY
            study = Study.create(folder, settings(PROBLEM, "random", 10**6, url))
            with study._at_work():
                write(PROBLEM, study, past if name != "memory" else [])
            study.close()
            made[name] = folder, url
        yield made


def database(url: str, number: int) -> str:
    """A copy of the filled database."""
    import psycopg

    with psycopg.connect(url.replace("/postgres?", "/template1?"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE copy{number} TEMPLATE postgres")
    return url.replace("/postgres?", f"/copy{number}?")


def server_seconds(url: str) -> float:
    """Processor time of a PostgreSQL server's processes, those that live."""
    folder = Path(url.partition("host=")[2])
    first = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    total = 0
    for each in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = each.read_text().rpartition(")")[2].split()
            if int(fields[1]) == first or each.parent.name == str(first):
                total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def measure(
    strategy: str, ledger: str, made: tuple[Path, str], number: int, known: int, trials: int, clock: str
) -> list[tuple[float, float, float]]:
    """Seconds of the driver for each of so many trials, as in `Measured`."""
    folder, url = made
    now = time.perf_counter if clock == "wall" else time.process_time
    engine, past = Measured(trials, now), history(PROBLEM, known)
    with tempfile.TemporaryDirectory() as there:
        copied = Path(there) / STUDY
        if ledger == "postgresql":
            url = database(url, number)
        ours = settings(PROBLEM, strategy, known + trials + AHEAD, url)
        study = Study.create(copied, ours) if (ledger != "postgresql") else _opened(folder, copied, strategy, ours)
        if ledger in ("sqlite", "journal"):
            study.close()
            for file in ("ledger.db", "ledger.log"):
                if (folder / file).exists():
                    shutil.copy(folder / file, copied / file)
        elif ledger == "memory":
            write(PROBLEM, study, past)
        before = server_seconds(made[1]) if ledger == "postgresql" else 0.0
        study.run(engine=engine)
        served = server_seconds(made[1]) - before if ledger == "postgresql" and clock == "processor" else 0.0
        study.close()
    return [(ended + served / (trials + AHEAD), thought, started) for ended, thought, started in engine.costs]


def _opened(folder: Path, copied: Path, strategy: str, ours: Settings) -> Study:
    """The study in a copied database, with another strategy: its manifest is written anew."""
    copied.mkdir()
    manifest = json.loads((folder / "study.json").read_text())
    made = make_strategy(strategy, PROBLEM.feasible, ours.trials or 0)
    manifest |= {"trials": ours.trials, "ledger": "postgresql://elsewhere"}
    manifest["strategy"] |= {"name": strategy, "resolved": dict(made.settings)}
    (copied / "study.json").write_text(json.dumps(manifest))
    return Study.open(copied, estimator=MadeUp(PROBLEM), ledger=ours.ledger)


def percent(share: float) -> str:
    """A share in percent, to two digits where it is neither next to nothing nor next to all."""
    return "< 0.01 %" if share < 1e-4 else "> 99 %" if share > 0.99 else f"{100 * share:.2g} %"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.5, 60.0, 600.0], help="mean of a trial")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--ledgers", nargs="+", choices=LEDGERS, default=list(LEDGERS))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    names = [name for name in given.ledgers if name != "postgresql" or programs() is not None]
    rows = []
    if not given.json:
        print(f"{given.known:,} trials known, {given.trials} measured; time of the {given.clock}")
        print("the driver's ms a trial (median), trials a second that it manages; for trials of so many seconds,")
        print("GPUs that it keeps busy, and the share of its time that a GPU waits for it in clusters of so many GPUs")
        head = ["ms", "trials/s", "seconds", "keeps busy", "proposals", *(f"{gpus:,}" for gpus in GPUS)]
        print(f"{'strategy':10}  {'ledger':10}" + "".join(each.rjust(11) for each in head), flush=True)
    with ledgers(names, given.known) as made:
        for number, (strategy, ledger) in enumerate((s, name) for s in given.strategies for name in names):
            costs = measure(strategy, ledger, made[ledger], number, given.known, given.trials, given.clock)
            whole = np.sum(costs, axis=1)
            each_s, median_ms = float(np.mean(whole)), 1000 * float(np.median(whole))
            for length_s, prepares in itertools.product(given.seconds, (False, True)):
                if prepares and not pays(costs, length_s):
                    continue
                found = {gpus: simulate(gpus, costs, length_s, prepares) for gpus in GPUS}
                rows.append(
                    {
                        "strategy": strategy, "ledger": ledger, "median_ms": median_ms, "length_s": length_s,
                        "prepared": prepares,
                        "trials_per_second": 1 / each_s, "keeps_busy": length_s / each_s,
                        "clusters": {gpus: {"rate": rate, "waits": share} for gpus, (rate, share) in found.items()},
                    }
                )  # fmt: skip
                if not given.json:
                    cells = [f"{median_ms:.1f}", f"{1 / each_s:.1f}", f"{length_s:g}", f"{length_s / each_s:,.0f}"]
                    cells += ["prepared" if prepares else "asked"]
                    cells += [percent(waits) for _, waits in found.values()]
                    print(f"{strategy:10}  {ledger:10}" + "".join(cell.rjust(11) for cell in cells), flush=True)
    if given.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
