"""How good are the strategies, trial for trial? Regret after N trials, beside other people's searches, in one run.

    python -m benchmarks.regret [--problem macro fashion drawn ...] [--seeds 100] [--trials 25 50 100 200]
                                [--only tpe rl] [--against "Optuna TPE multivariate"] [--at-once 1 2 8 64]
                                [--table nas-bench-macro.json]
                                [--peers peers/bin/python] [--results regret.jsonl] [--jobs 2]

`macro` is NAS-Bench-Macro (`examples/nas_bench_macro.py`; each trial returns one of its three recorded trainings at
random) under 60M MACs. `fashion` is a table that `record.py` made of short trainings, used in the same way. `drawn` has
no training behind it: five spaces of MBConv stages under half of their MACs, whose accuracies are drawn at random
(effects of single options and of pairs), with noise. `failing` is `drawn` with networks that train to nothing, a fifth
to a third of them: those of some pairs of options. `problems.py` has more that are drawn. Each of them has instances of
its own for choosing settings, called `tune-drawn` and so on.

Regret is the best mean accuracy that fits less the mean accuracy of the network chosen, in percentage points. Chosen is
the one with the best observation, as a person would; `confirmed` trains the leaders again within the same N, as `nas
search --confirm 1` and the like do (one leader for each 25 trials, three trainings each), and chooses on the mean.
`confirm auto` is what searches of 50 trials and more do by default. The peers search the plain product of options, as a
person would set them up: what does not fit and what was tried before counts as a trial spent; Optuna is told of the
budget by `set_constraint`, the others get a reward of 0. Numbers behind a peer's name are its population and
tournament, first its own defaults. They are the `peer:` contestants of `nas bench-strategies` (`nas/peers`). pyglove
needs `pip install pyglove==0.4.5`, Syne Tune and NNI an environment of their own: `nas/peers/server.py` says how.

`--against` adds a table of differences, seed by seed, from one contestant.

With `--at-once` our strategies are also run with that many trials under way at any moment: each ask then comes before
that many trials less one have been told. Trials end in the order of lengths drawn from a log-normal distribution whose
standard deviation is half of its mean. Confirmation begins when every proposal has ended, as in a study.

Contestants take turns, seed after seed, so that whatever is done when a run is cut can be compared. What is done is
kept in the file of results, if there is one, and not done again, as long as strategies and table are the same.

How sure is a mean over 50 seeds? On `macro`, uniform draws without repetition have a regret of 0.218 ± 0.002 at N =
200 over 4,000 runs; a single run deviates by 0.15, so that 50 of them tell it to ± 0.02.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: processes side by side

import argparse
import copy
import hashlib
import heapq
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

# Run as a script, this folder would come first, and hold another `strategies`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.problems import PROBLEMS, ROOT, TABLE, TABLES, Problem
from nas.peers.catalog import search
from nas.peers.here import Observed, excess
from searchspaces import Architecture, Task
from strategies import Outcome, make_strategy, settings_of
from studies.confirming import AUTO, Confirm, Trained, confirmations, contested, in_turn, most_leaders

SIGMA = math.sqrt(math.log1p(0.5**2))
"""Of the logarithm of a trial's length, whose standard deviation is half of its mean."""

Trials = list[tuple[Architecture, float]]  # what was tried, what was observed; 0 for what does not fit


class Running:
    """One of this package's strategies, with so many trials under way, in a time of its own.

    Attributes:
        strategy: what it knows is `tried`, and which trials are under way.
        tried: the trials that have ended, in the order in which they did.
    """

    def __init__(self, name: str, problem: Problem, trials: int, seed: int, at_once: int) -> None:
        self.strategy, self.tried = make_strategy(name, problem.space, trials), Trials()
        self._problem, self._seed, self._at_once, self._now = problem, seed, at_once, 0.0
        self._noise, self._lengths = (np.random.default_rng([seed, 1 << power]) for power in (20, 22))
        self._under_way: list[tuple[float, int, Architecture]] = []

    def begin(self, number: int) -> None:
        """Start a trial, and end the first of those under way if there are as many as there may be."""
        member = self.strategy.ask(np.random.default_rng([self._seed, number]))
        self.strategy.tell(member, Outcome("running"))
        ends = self._now + float(self._lengths.lognormal(0.0, SIGMA))
        heapq.heappush(self._under_way, (ends, number, member))
        if len(self._under_way) == self._at_once:
            self._end()

    def ended(self) -> Running:
        """What it is when all that is under way has ended; itself where nothing is."""
        other = copy.deepcopy(self) if self._under_way else self
        while other._under_way:
            other._end()
        return other

    def _end(self) -> None:
        self._now, _, member = heapq.heappop(self._under_way)
        accuracy = self._problem.observed(member, self._noise)
        self.tried.append((member, accuracy))
        self.strategy.tell(member, Outcome("complete", accuracy))


def ours(
    name: str, problem: Problem, trials: Sequence[int], seed: int, at_once: int
) -> Iterator[tuple[int, str, Trials]]:
    """One of this package's strategies after so many trials; without and with confirmations, by `WAYS`.

    All begin alike, and so do all numbers of trials for which a strategy has the same settings: that is done once.
    """
    alike: dict[str, list[int]] = {}
    for n in trials:
        alike.setdefault(json.dumps(settings_of(make_strategy(name, problem.space, n))), []).append(n)
    for several in alike.values():
        running = Running(name, problem, max(several), seed, at_once)
        for number in range(max(several) + 1):
            for n in several:
                for way, confirm in WAYS.items():
                    if number == n - confirmations(confirm(n), n):
                        ended = running.ended()
                        yield n, way, ended.tried + confirmed(ended, confirm(n), n - number, problem, seed)
                if number == n:
                    yield n, "", running.ended().tried[:]
            if number < max(several):
                running.begin(number)


def confirmed(running: Running, confirm: Confirm, again: int, problem: Problem, seed: int) -> Trials:
    """So many fresh trainings of the leaders."""
    believed, noise = getattr(running.strategy, "believed", None), np.random.default_rng([seed, 1 << 21])
    tried = running.tried
    merits = believed([member for member, _ in tried]) if believed else [accuracy for _, accuracy in tried]
    order = sorted(range(len(tried)), key=lambda index: -merits[index])[: most_leaders(confirm)]
    several, found = [Trained((tried[index][1],), 1) for index in order], Trials()
    for _ in range(again):
        chosen = contested(several) if confirm == AUTO else in_turn(several)
        assert chosen is not None
        member = tried[order[chosen]][0]
        found.append((member, problem.observed(member, noise)))
        known = (*several[chosen].accuracies, found[-1][1])
        several[chosen] = Trained(known, len(known))
    return found


def peer_trials(name: str, problem: Problem, trials: int, seed: int) -> Trials:
    """What a search of another package tries, and what it is told."""
    tried, noise = Trials(), np.random.default_rng([seed, 1 << 20])
    budget, task = problem.space.budget, problem.space.task or Task()

    def observe(digits: Sequence[int]) -> Observed:
        member = problem.member(digits)
        fits = member in problem.space
        tried.append((member, problem.observed(member, noise) if fits else 0.0))
        return Observed(tried[-1][1], excess(budget, member.cost(task)) if budget else {})

    search(name, observe, problem.digits, trials, seed, os.environ.get(PEERS))
    return tried


PEERS = "NAS_BENCHMARK_PEERS"  # in the environment of the processes of a run: the peers' Python
OURS = ("random", "evolution", "local-search", "tpe", "rl", "guided")
CONTESTANTS: dict[str, str | None] = {
    **dict.fromkeys(OURS),
    "pyglove 100/10": "pyglove-evolution",
    "pyglove 40/20": "pyglove-evolution-40-20",
    "Optuna TPE univariate": "optuna-tpe-univariate",
    "Optuna TPE multivariate": "optuna-tpe",
    "Syne Tune 100/10": "syne-tune-evolution",
    "Syne Tune 40/20": "syne-tune-evolution-40-20",
    "NNI 100/25": "nni-evolution",
    "NNI 40/20": "nni-evolution-40-20",
    "NNI RL": "nni-rl",
}
"""And the name of each peer in `nas.peers.catalog`."""
WAYS: dict[str, Callable[[int], Confirm]] = {
    ", confirmed": lambda trials: trials // 25,
    ", confirm auto": lambda _: AUTO,
}
"""What is confirmed of so many trials, by what a contestant's name ends in."""


@dataclass(frozen=True)
class Score:
    """Of one run.

    Attributes:
        regret: in percentage points.
        infeasible: trials that did not fit.
        repeated: trials of a network that was tried before.
        seconds: of the processor of this process, for all of a contestant's runs with this seed.
    """

    problem: str
    contestant: str
    trials: int
    seed: int
    regret: float
    infeasible: int
    repeated: int
    seconds: float = 0.0


def called(contestant: str, at_once: int) -> str:
    """A contestant's name in the table."""
    return contestant if at_once == 1 else f"{contestant}, {at_once} at once"


def scores(problem_name: str, contestant: str, at_once: int, trials: Sequence[int], seed: int) -> list[Score]:
    """Run a contestant with one seed: a peer once, since its settings are the same for any number of trials."""
    make, instances = PROBLEMS[problem_name]
    problem, began = make(seed % instances), time.process_time()
    runs: list[tuple[str, int, Trials]] = []
    peer = CONTESTANTS[contestant]
    if peer:
        tried = peer_trials(peer, problem, max(trials), seed)
        runs = [(contestant, n, tried[:n]) for n in trials]
    else:
        name = called(contestant, at_once)
        runs = [(name + way, n, tried) for n, way, tried in ours(contestant, problem, trials, seed, at_once)]
    seconds = time.process_time() - began
    return [
        Score(problem_name, name, n, seed, *judged(problem, tried, name.endswith(tuple(WAYS))), round(seconds, 2))
        for name, n, tried in runs
    ]


def judged(problem: Problem, tried: Trials, by_mean: bool) -> tuple[float, int, int]:
    """Regret of the network chosen, how many trials did not fit, how many repeated one."""
    fitting = [(member, accuracy) for member, accuracy in tried if member in problem.space]
    seen: dict[Architecture, list[float]] = {}
    for member, accuracy in fitting:
        seen.setdefault(member, []).append(accuracy)
    if by_mean:
        seen = {member: several for member, several in seen.items() if len(several) > 1} or seen
        chosen = max(seen, key=lambda member: float(np.mean(seen[member])), default=None)
    else:
        chosen = max(seen, key=lambda member: max(seen[member]), default=None)
    reached = problem.mean(chosen) if chosen else 0.0
    return 100 * (problem.best - reached), len(tried) - len(fitting), len(tried) - len({member for member, _ in tried})


def code_and_table(problem: str, contestant: str) -> str:
    """What results depend on, in short: the table or problem, and the strategies and confirmations or the peers."""
    files = [Path(os.environ[TABLE])] if problem in TABLES else [ROOT / "benchmarks" / "problems.py"]
    if contestant.split(",")[0] in OURS:
        files += [*sorted((ROOT / "strategies").glob("*.py")), ROOT / "studies" / "confirming.py"]
    else:
        files += [ROOT / "nas" / "peers" / name for name in ("here.py", "server.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def kept(results: Path | None, problem: str) -> list[Score]:
    """What a file of results holds; a line that was cut off as it was written is left out."""
    lines = results.read_text().split("\n")[:-1] if results and results.exists() else []
    rows = [(row["code"], Score(**row["score"])) for row in map(json.loads, lines)]
    codes = {name: code_and_table(problem, name) for name in {score.contestant for _, score in rows}}
    return [score for code, score in rows if score.problem == problem and code == codes[score.contestant]]


def rows_of(contestant: str, at_once: int) -> list[str]:
    """The names of a contestant's rows in the table."""
    name = called(contestant, at_once)
    return [name] if CONTESTANTS[contestant] else [name, *(name + way for way in WAYS)]


def done(problem: str, names: Sequence[str], trials: Sequence[int], seed: int, found: Iterable[Score]) -> bool:
    """Whether the file holds all that a contestant has to do with this seed."""
    have = {(score.problem, score.contestant, score.trials, score.seed) for score in found}
    return all((problem, name, n, seed) in have for name in names for n in trials)


def show(found: Sequence[Score], names: Sequence[str], trials: Sequence[int]) -> None:
    """The table, in Markdown; the smallest regret after the largest number of trials first."""
    regrets = {
        (name, n): {s.seed: s.regret for s in found if (s.contestant, s.trials) == (name, n)}
        for name in names
        for n in trials
    }
    names = sorted(
        (name for name in names if regrets[name, trials[-1]]), key=lambda name: mean(regrets[name, trials[-1]])
    )
    print(
        "| contestant | seeds | "
        + " | ".join(f"N = {n}" for n in trials)
        + " | more than the first, 95 % | over budget | repeated |"
    )
    print("|---|---|" + "---|" * (len(trials) + 3))
    for name in names:
        last, first = regrets[name, trials[-1]], regrets[names[0], trials[-1]]
        more = np.array([last[seed] - first[seed] for seed in last if seed in first])
        ends = 1.96 * more.std(ddof=1) / len(more) ** 0.5 if len(more) > 1 else float("nan")
        between = f"{more.mean() - ends:+.3f} to {more.mean() + ends:+.3f}" if name != names[0] else ""
        of_name = [score for score in found if (score.contestant, score.trials) == (name, trials[-1])]
        cells = [f"{mean(regrets[name, n]):.3f} ± {error(regrets[name, n]):.3f}" for n in trials]
        cells += [
            between,
            f"{np.mean([s.infeasible for s in of_name]) / trials[-1]:.0%}",
            f"{np.mean([s.repeated for s in of_name]):.0f}",
        ]
        print(f"| {name} | {len(last)} | " + " | ".join(cells) + " |")


def show_differences(found: Sequence[Score], names: Sequence[str], trials: Sequence[int], against: str) -> None:
    """How much more regret than one contestant, seed by seed, ± the standard error of the mean; in Markdown."""
    print(f"\n| regret less that of {against} | seeds | " + " | ".join(f"N = {n}" for n in trials) + " |")
    print("|---|---|" + "---|" * len(trials))
    regrets = {(s.contestant, s.trials, s.seed): s.regret for s in found}
    for name in names:
        more = {
            n: {
                seed: regret - regrets[against, n, seed]
                for (contestant, ran, seed), regret in regrets.items()
                if (contestant, ran) == (name, n) and (against, n, seed) in regrets
            }
            for n in trials
        }
        if name != against and all(more.values()):
            cells = [f"{mean(more[n]):+.3f} ± {error(more[n]):.3f}" for n in trials]
            print(f"| {name} | {len(more[trials[-1]])} | " + " | ".join(cells) + " |")


def mean(regrets: dict[int, float]) -> float:
    return float(np.mean(list(regrets.values())))


def error(regrets: dict[int, float]) -> float:
    """Standard error of the mean."""
    return float(np.std(list(regrets.values()), ddof=1) / len(regrets) ** 0.5) if len(regrets) > 1 else float("nan")


def main() -> None:
    """Run what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", nargs="+", choices=PROBLEMS, default=["macro"])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--trials", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--first-seed", type=int, default=1000, help="settings were chosen with seeds below 1000")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="CONTESTANT")
    parser.add_argument(
        "--against", choices=CONTESTANTS, metavar="CONTESTANT", help="differences from it, seed by seed"
    )
    parser.add_argument("--at-once", type=int, nargs="+", default=[1], metavar="K", help="trials under way, of ours")
    parser.add_argument("--table", type=Path, help="the file of the problem's table, where it is elsewhere")
    parser.add_argument("--peers", help="Python of the environment that Syne Tune and NNI are installed in")
    parser.add_argument("--results", type=Path, help="a file that keeps what is done, one line each")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args()
    if given.table and len(given.problem) > 1:
        parser.error("--table is the file of one problem")
    names = list(dict.fromkeys([*given.only, *filter(None, [given.against])]))
    if any(name.startswith("pyglove") for name in names):
        try:
            import pyglove  # noqa: F401
        except ImportError:
            print("pyglove is not installed (pip install pyglove==0.4.5): left out")
            names = [name for name in names if not name.startswith("pyglove")]
    if given.peers:
        os.environ[PEERS] = given.peers
    elif any(name.startswith(("Syne", "NNI")) for name in names):
        print("Syne Tune and NNI are left out: --peers says in which environment they are")
        names = [name for name in names if not name.startswith(("Syne", "NNI"))]
    for problem in given.problem:
        if problem in TABLES:
            os.environ[TABLE] = str(given.table or TABLES[problem])
            if not Path(os.environ[TABLE]).exists():
                parser.error(f"the table of {problem} is not at {os.environ[TABLE]}: give its path with --table")
        run(problem, names, given)


def run(problem: str, names: Sequence[str], given: argparse.Namespace) -> None:
    """Run what is not done yet of one problem, and print its table."""
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    trials, found = sorted(given.trials), kept(given.results, problem)
    contestants = [(name, k) for name in names for k in ([1] if CONTESTANTS[name] else sorted(set(given.at_once)))]
    todo = [
        (*contestant, seed)
        for seed in seeds
        for contestant in contestants
        if not done(problem, rows_of(*contestant), trials, seed, found)
    ]
    with ProcessPoolExecutor(given.jobs) as pool:
        futures = [pool.submit(scores, problem, name, k, trials, seed) for name, k, seed in todo]
        for number, future in enumerate(as_completed(futures), start=1):
            found += future.result()
            if given.results:
                with given.results.open("a") as file:
                    for score in future.result():
                        code = code_and_table(problem, score.contestant)
                        file.write(json.dumps({"code": code, "score": asdict(score)}) + "\n")
            print(f"\r{number} of {len(todo)}", end="", file=sys.stderr, flush=True)
    print(f"\n{problem}: mean regret in percentage points, ± its standard error")
    rows = list(itertools.chain.from_iterable(rows_of(*contestant) for contestant in contestants))
    mine = [score for score in found if score.problem == problem and score.seed in seeds]
    show(mine, rows, trials)
    if given.against:
        show_differences(mine, rows, trials, given.against)


if __name__ == "__main__":
    main()
