"""`nas compare` and `nas bench-strategies`: which search finds more, and how certain that is."""

from __future__ import annotations

import json as as_text
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text

from nas.commands import options
from nas.commands.console import Bar, console, interrupted, print_json, visible, waiting
from nas.commands.tables import FAINT, facts, table
from nas.wording import duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from nas.documents import Document
    from studies.comparison import Comparison

OBSERVED: Final = "Best accuracy"
"""What is compared where nothing is known but what was observed."""
LINES: Final = 20
"""Lines of progress where there is no terminal, at most."""


def compare(
    runs: options.Runs,
    trials: options.TrialsCompared = None,
    out: options.CurvesPage = None,
    space: options.OwnSpace = None,
    json: options.Json = False,
) -> None:
    """Compare searches under equal conditions: which found better networks, and how certain that is.

    Runs that differ only in their seed count as one contestant; several seeds
    per contestant give confidence intervals.

    [bold]Example:[/]  nas compare runs/evolution-* runs/random-* --out compare.html
    """
    with waiting(json):
        from nas.comparing import compare_runs, comparison_document
        from searchspaces.files import check_place

        if out is not None:
            check_place(page_in(out))
        found = compare_runs(runs, space=space, trials=trials)
        document = comparison_document(found)
        if out is not None:
            document["plot"] = str(_write_curves(found, out))
    if json:
        return print_json(document)
    show_comparison(document, console())
    print(visible(document["plot"]) if out is not None else "for the curves, add --out compare.html")


def bench_strategies(
    table: options.RecordedTable = None,
    estimator: options.RecordedEstimator = None,
    space: options.RecordedSpace = None,
    budget: options.RecordedBudget = None,
    task: options.RecordedTask = "224x224x3:1000",
    trials: options.TrialsOfEach = "100",
    seeds: options.Seeds = 10,
    strategies: options.Strategies = None,
    key: options.Key = None,
    unit: options.Unit = "fraction",
    field: options.Field = "test_acc",
    judge: options.Judge = None,
    cost: options.RecordedCosts = None,
    confirm: options.ConfirmOfEach = None,
    jobs: options.Jobs = 1,
    peers_python: options.PeersPython = None,
    out: options.BenchFolder = Path("bench-strategies"),
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Benchmark strategies on recorded accuracies over several seeds.

    [bold]Example:[/]  nas bench-strategies --table macro.json --space macro.py:space
    --key macro.py:key --unit percent --task 32x32x3:10 --budget 60M

    [bold]Without a space:[/]  nas bench-strategies --table macro.json --unit percent
    --cost macs=flops --budget 60M
    """
    from searchspaces import UserError
    from searchspaces.files import make_folder, write_whole

    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {str(out)!r} is a file, not a folder")
    if estimator is not None and ".py:" not in estimator:
        raise UserError(f"--estimator must be file.py:object, got {estimator!r}")
    if (table is None) == (estimator is None):
        raise UserError("give either --table or --estimator")
    try:
        numbers = [int(each) for each in trials.split(",")]
    except ValueError:
        raise UserError(f"--trials: {trials!r} is not a number, or several as in 25,50,100") from None
    screen = console(json)
    with waiting(json, quiet) as begin:
        from nas.comparing import ONE_OBJECTIVE, bench_document
        from nas.comparing import bench_strategies as bench
        from nas.recorded import Source

        given = None if strategies is None else [name.strip() for name in strategies.split(",") if name.strip()]
        if given == []:
            raise UserError(f"--strategies: {strategies!r} names none; give one or more, or leave it out")
        named = given or ONE_OBJECTIVE
        source = Source(str(table or estimator), space, key, unit, field, judge, cost)
        with BenchProgress(len(set(named)) * seeds, screen, quiet, begin) as progress:

            def on_begin(strategy: str, seed: int) -> None:
                make_folder(out)  # better to learn before the first run that it cannot be made
                progress(strategy, seed)

            found = bench(
                source, budget, task=task, trials=numbers, seeds=seeds, strategies=named, confirm=confirm, jobs=jobs,
                peers_python=peers_python, on_begin=on_begin,
            )  # fmt: skip
    files = {"plot": _write_curves(found.regret or found.observed, out), "results": out / "results.json"}
    document = bench_document(found, files)
    write_whole(files["results"], as_text.dumps(document, indent=1) + "\n")
    if json:
        print_json(document)
    else:
        show_bench(document, screen)
    if found.interrupted:
        raise interrupted(f"the results cover {len(found.runs)} runs")


def page_in(out: Path) -> Path:
    """Where the page of a comparison goes: a file, or compare.html in a folder.

    Raises:
        UserError: it is no page.
    """
    from searchspaces import UserError

    path = out / "compare.html" if out.is_dir() else out
    if path.suffix.lower() != ".html":
        raise UserError(f"the comparison is an HTML page: {str(path)!r} must end in .html")
    return path


def _write_curves(found: Comparison, out: Path) -> Path:
    """Write the page of a comparison into a file, or into a folder as compare.html."""
    from searchspaces.files import write_whole
    from studies.pages.comparison import curves_html

    path = page_in(out)
    write_whole(path, curves_html(found))
    return path


def show_comparison(document: Document, console: Console, pairs: bool = True, accuracy: str = OBSERVED) -> None:
    """The table of the contestants, and the table of their pairwise differences.

    Args:
        document: of a comparison.
        console: where it is shown.
        pairs: whether the second table is shown.
        accuracy: what to call it, where no regret is compared.
    """
    regret = document["measure"] == "regret"
    level = f"{document['confidence']:.0%} interval"
    title = "Regret in percentage points" if regret else accuracy
    made = table("", "seeds>", "mean>", "standard error>", f"{level}>")
    made.title = f"{title} after {document['trials']} trials"
    for one in document["contestants"]:
        ends = _interval(one["interval"], regret)
        error = "-" if one["standard_error"] is None else _points(one["standard_error"]) + ("" if regret else "%")
        made.add_row(one["name"], str(len(one["seeds"])), _value(one["mean"], regret), error, ends)
    console.print(made)
    if not pairs or not document["pairs"]:
        return
    made = table("first", "second", "seeds>", "difference>", f"{level}>", "ahead>", "better>")
    made.title = "Difference (first − second), points, paired by seed"
    for one in document["pairs"]:
        made.add_row(
            one["first"],
            one["second"],
            str(one["seeds"]),
            _signed(one["difference"]),
            "-" if one["interval"] is None else " to ".join(map(_signed, one["interval"])),
            "-" if one["wins"] is None else f"{one['wins']:.0%}",
            "-" if one["better"] is None else _probability(one["better"]),
        )
    console.print(made)
    notes = ["ahead: share of seeds on which the first is ahead; better: probability that it is better on average"]
    if min(one["seeds"] for one in document["pairs"]) < 5:
        notes.append("with fewer than five seeds, intervals are too narrow; with fewer than two, there are none")
    console.print(Text("\n".join(notes), style=FAINT))


def _probability(value: float) -> str:
    from studies.pages.comparison import probability

    return probability(value)


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


def show_bench(document: Document, console: Console) -> None:
    """`nas bench-strategies`."""
    from nas.peers.catalog import is_peer
    from studies.contest import LISTED

    measure = next(name for name in ("regret", "judged", "observed") if document[name] is not None)
    last, recorded = document[measure], document["recorded"]
    if measure != "observed":
        show_comparison(document["observed"], console, pairs=False, accuracy="Best observed accuracy")
    show_comparison(last, console, accuracy="True accuracy of the chosen network" if measure == "judged" else OBSERVED)
    if document["shorter"]:
        show_along([*(each[measure] for each in document["shorter"]), last], document["runs"], console)
    rows: list[tuple[str, RenderableType]] = [("runs", f"{len(document['runs'])} in {duration(document['seconds'])}")]
    rows.append(("confirmed", confirmed_text(document["runs"])))
    if any(map(is_peer, (run["strategy"] for run in document["runs"]))):
        rows.append(("wasted by peers", spent_text(document["runs"])))
    rows.append(("recorded", recorded_text(recorded)))
    if recorded["options"] is not None:
        rows.append(("networks", keys_text(recorded["options"], recorded["entries"])))
    if recorded["costs"]:
        rows.append(("costs", costs_text(recorded["costs"])))
    if measure == "regret":
        within = " within the budget" if last["conditions"]["budget"] else ""
        rows.append(("best true accuracy", f"{last['best']:.2%}{within}"))
    elif measure == "judged":
        rows.append(("regret", f"unknown: the space has more than {LISTED:,} networks, too many to list"))
    else:
        rows.append(
            ("regret", f"unknown: {recorded['estimator']} has no mean(architecture) that gives true accuracies")
        )
    console.print(facts(*rows, *((name, Text(path)) for name, path in document["files"].items())))


def confirmed_text(runs: Sequence[Document]) -> Text:
    """What was confirmed after each number of trials.

    >>> alike = {"strategy": "random", "settings": {"confirm": 0}, "trials": [25]}
    >>> print(confirmed_text([alike, {**alike, "settings": {"confirm": "auto"}, "trials": [50, 100]}]))
    N = 25: 0; N = 50, 100: auto
    """
    from nas.peers.catalog import is_peer

    found: dict[str, set[int]] = {}
    for run in runs:
        if not is_peer(run["strategy"]):
            found.setdefault(str(run["settings"]["confirm"]), set()).update(run["trials"])
    if not found:
        return Text("nothing: peers choose by the best single observation")
    told = [f"N = {', '.join(map(str, sorted(numbers)))}: {confirm}" for confirm, numbers in found.items()]
    return Text("; ".join(told))


def spent_text(runs: Sequence[Document]) -> Text:
    """What share of their trials peers spend on what does not fit or was tried before.

    >>> peer = {"strategy": "peer:optuna-tpe", "trials": [25, 50], "infeasible": 20, "repeated": 5}
    >>> print(spent_text([peer, {**peer, "infeasible": 10}]))
    peer:optuna-tpe: 30% outside the budget, 10% repeated
    """
    from nas.peers.catalog import is_peer

    told = []
    for name in dict.fromkeys(run["strategy"] for run in runs if is_peer(run["strategy"])):
        own = [run for run in runs if run["strategy"] == name]
        trials = sum(run["trials"][-1] for run in own)
        outside, again = (sum(run[spent] for run in own) / trials for spent in ("infeasible", "repeated"))
        told.append(f"{name}: {outside:.0%} outside the budget, {again:.0%} repeated")
    return Text("\n".join(told))


def recorded_text(recorded: Document) -> Text:
    """What accuracies were observed, and what judged.

    >>> print(recorded_text({"entries": 9, "fewest": 1, "most": 1, "field": "val", "judge": "val", "estimator": None}))
    9 networks, one accuracy per network: free of noise, a trial observes the true accuracy
    """
    if recorded["entries"] is None:
        return Text(f"nothing; accuracies are of {recorded['estimator']}")
    fewest, most, judge = recorded["fewest"], recorded["most"], recorded["judge"]
    if most > 1:
        each = f"{most}" if fewest == most else f"{fewest} to {most}"
        told = f"{each} accuracies per network; a trial observes one of them"
    else:
        told = "one accuracy per network"
        if judge == recorded["field"]:
            told += ": free of noise, a trial observes the true accuracy"
    if judge != recorded["field"]:
        told += f"; observed by {recorded['field']!r}, judged by {judge!r}"
    return Text(f"{recorded['entries']:,} networks, {told}")


def keys_text(options: Sequence[int], networks: int) -> Text:
    """What decisions were read from the keys of a table.

    >>> print(keys_text([3, 3, 2], 15))
    of the table: 3 fields of their keys differ (3, 3, 2 values); 15 of 18 combinations
    """
    from searchspaces import human

    every = math.prod(options)
    values = ", ".join(map(str, options[:8])) + (", ..." if len(options) > 8 else "")
    combinations = f"{networks:,} of {f'{every:,}' if every < 10**6 else human(every)} combinations"
    return Text(f"of the table: {len(options)} fields of their keys differ ({values} values); {combinations}")


def costs_text(costs: Mapping[str, str]) -> Text:
    """What a budget bounded.

    >>> print(costs_text({"macs": "flops:M"}))
    macs as recorded in the table (field flops:M), not counted
    """
    fields = ", ".join(f"{cost} as recorded in the table (field {field})" for cost, field in costs.items())
    return Text(f"{fields}, not counted")


def show_along(comparisons: Sequence[Document], runs: Sequence[Document], console: Console) -> None:
    """The mean of each contestant after each number of trials, in the order of the last.

    Args:
        comparisons: after each number of trials, rising.
        runs: with the numbers of trials that each is compared after.
        console: where it is shown.
    """
    regret = comparisons[-1]["measure"] == "regret"
    made = table("", *(f"N = {each['trials']}>" for each in comparisons))
    made.title = f"{'Regret in percentage points' if regret else 'Accuracy'} after N trials, ± standard error"
    means = [{one["name"]: one for one in each["contestants"]} for each in comparisons]
    for name in means[-1]:
        made.add_row(name, *(_with_error(each[name], regret) if name in each else "-" for each in means))
    console.print(made)
    played = Counter((run["strategy"], run["seed"]) for run in runs)
    own = list(dict.fromkeys(name for (name, _), several in played.items() if several > 1))
    one = list(dict.fromkeys(name for name, _ in played if name not in own))
    told = [f"One run per seed, read after its first N trials: {', '.join(one)}."] if one else []
    if own:
        told.append(f"Separate runs for each N, as settings or confirmations depend on it: {', '.join(own)}.")
    console.print(Text(" ".join(told) + "\n", style=FAINT))


def _with_error(contestant: Document, regret: bool) -> str:
    error = contestant["standard_error"]
    return _value(contestant["mean"], regret) + ("" if error is None else f" ± {_points(error)}")


class BenchProgress(Bar):
    """Shows which strategy and seed run: a progress bar on a terminal, some lines elsewhere.

    Args:
        runs: in all.
        console: where it is shown.
        quiet, begin: as of every bar.
    """

    def __init__(
        self, runs: int, console: Console, quiet: bool = False, begin: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(console, quiet, begin)
        self._runs, self._begun = runs, 0
        self._bar = self._live.add_task("", total=runs) if self._live else None

    def __call__(self, strategy: str, seed: int) -> None:
        """A run begins."""
        if (live := self.shown()) is not None and self._bar is not None:
            live.update(self._bar, description=f"seed {seed}: {strategy}", completed=self._begun)
        elif not self._quiet and self._begun * LINES // self._runs != (self._begun - 1) * LINES // self._runs:
            self._console.print(f"run {self._begun + 1} of {self._runs}: {strategy}, seed {seed}", soft_wrap=True)
        self._begun += 1
