"""How documents look on a terminal: from 80 columns up, and in plain text when there is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from rich import box
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from nas.wording import MACS_NOTE, about, count, duration, human, percent, share, sparkline

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from nas.documents import Document

BLUE: Final = "bold cyan"
FAINT: Final = "dim"
COST_NAMES: Final = {
    "macs": "MACs",
    "params": "parameters",
    "activations": "activations",
    "peak_activation_bytes": "peak activation memory",
    "latency_ms": "latency",
}


def table(*columns: str, title: str | None = None) -> Table:
    """A table in the house's style. A column's name ends in `>` for numbers, on the right."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    made.header_style = BLUE
    for name in columns:
        made.add_column(name.rstrip(">"), justify="right" if name.endswith(">") else "left", overflow="fold")
    return made


def facts(*pairs: tuple[str, RenderableType]) -> Table:
    """Names and what they are, in two columns."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style=BLUE, no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, value)
    return made


def cost_text(name: str, value: float | None) -> str:
    """One cost with its unit.

    >>> cost_text("macs", 385_814_752), cost_text("peak_activation_bytes", 9633792), cost_text("latency_ms", 8.412)
    ('386M', '9.63MB', '8.41ms')
    """
    if value is None:
        return "not known"
    if name == "latency_ms":
        return f"{value:.3g}ms" if value < 100 else f"{value:.0f}ms"
    return f"{human(value)}B" if name.endswith("_bytes") else human(value)


def show_space(document: Document, console: Console) -> None:
    """`nas space`."""
    console.print(Text(document["space"], style="bold"), Text(document["doc"], style=FAINT))
    console.print()
    by_stage = _decisions(document["decisions"])
    wide = Measurement.get(console, console.options.update(max_width=1000), by_stage).maximum > console.width
    console.print(_alike(document["decisions"]) if wide else by_stage)
    costs = table("cost", "smallest>", "largest>")
    for name, title in COST_NAMES.items():
        if name in document["smallest"]:
            costs.add_row(title, *(cost_text(name, document[end][name]) for end in ("smallest", "largest")))
    console.print(costs)
    console.print(facts(*space_facts(document)))
    if document["references"]:
        members = table("member", "MACs>", "params>", *(["fits"] if document["budget"] else []))
        for one in document["references"]:
            row = [one["name"], human(one["macs"]), human(one["params"])]
            members.add_row(*row, *([_yes(one["fits"])] if document["budget"] else []))
        console.print(members)
    console.print()
    console.print(Text(MACS_NOTE, style=FAINT))


def space_facts(document: Document) -> list[tuple[str, RenderableType]]:
    """Size, task, budget and what fits."""
    pairs: list[tuple[str, RenderableType]] = [("holds", f"{count(document['size'])} architectures")]
    told = f"; smallest and largest as far as {document['draws']} draws tell" if document["draws"] else ""
    pairs.append(("costs on", f"{document['task']}  (height x width x channels : classes){told}"))
    if document["strides_left_out"]:
        halving = " and ".join(document["strides_left_out"])
        pairs.append(("strides", f"{halving} would halve a larger image, and leave one this small as it is"))
    if document["fits"] is not None:
        pairs.append(("budget", document["budget"]))
        pairs.append(("fits", _fits(document["fits"])))
    return pairs


def _fits(fits: Document) -> str:
    """How much of a space fits; an estimate says from how many draws."""
    if fits["draws"]:
        low, high = fits["share"]
        return about(low, high, fits["draws"])
    return f"{share(*fits['share'])} of them: {count(fits['low'], fits['high'])} architectures"


def _decisions(decisions: list[Document]) -> Table:
    """One row for each stage (or block), one column for each thing decided there."""
    rows: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for one in decisions:
        stage, _, key = one["name"].rpartition(".")
        rows.setdefault(stage, {})[key] = " ".join(_option(option) for option in one["options"])
        columns[key] = None
    made = table("where", *columns)
    for stage, taken in rows.items():
        made.add_row(Text(stage or "everywhere", style="bold"), *(taken.get(key, "") for key in columns))
    return made


def _alike(decisions: list[Document]) -> Table:
    """One row for each thing decided and its options, with the stages (or pairs, or blocks) where they are open."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in decisions:
        stage, _, key = one["name"].rpartition(".")
        rows.setdefault((key, " ".join(map(_option, one["options"]))), []).append(stage or "everywhere")
    made = table("decision", "options", "where")
    keys = [key for key, _ in rows]
    for (key, options), stages in sorted(rows.items(), key=lambda row: keys.index(row[0][0])):
        where = ", ".join(stages) if len(stages) <= 4 else f"{stages[0]} ... {stages[-1]}: {len(stages)} places"
        made.add_row(Text(key, style="bold"), options, where)
    return made


def _option(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(map(_option, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _yes(value: bool) -> Text:
    return Text("yes", style="green") if value else Text("no", style=FAINT)


def show_spaces(document: Document, console: Console) -> None:
    """`nas spaces`."""
    made = table("space", "architectures>", "what it is, and the classics in it")
    for one in document["spaces"]:
        classics = f"\n{', '.join(one['references'])}" if one["references"] else ""
        made.add_row(Text(one["name"], style="bold"), count(one["size"]), Text.assemble(one["doc"], (classics, FAINT)))
    console.print(made)
    console.print(Text("More about one: nas space NAME --budget 400M", style=FAINT))


def show_classics(document: Document, console: Console) -> None:
    """`nas classics`."""
    made = table("network", "MACs>", "params>", "image", "paper")
    family = None
    for one in document["classics"]:
        if one["family"] != family:
            if family is not None:
                made.add_row()
            made.add_row(Text(one["family"], style=FAINT))
            family = one["family"]
        costs = human(one["macs"]), human(one["params"])
        made.add_row(
            Text(one["name"], style="bold"),
            *costs,
            one["task"].partition(":")[0],
            Text(_source(one["paper"]), style=FAINT),
        )
    console.print(made)
    console.print(Text(f"{len(document['classics'])} networks. More about one: nas show NAME", style=FAINT))


def _source(paper: str) -> str:
    """Who and where, without table and section.

    >>> _source("He 2016, arXiv:1512.03385, table 1")
    'He 2016, arXiv:1512.03385'
    """
    return ", ".join(paper.split(", ")[:2])


def show_network(document: Document, console: Console) -> None:
    """`nas show NETWORK`: as `nas cost`, with the blocks of each stage and the operators in them."""
    made = table("stage", "x>", "operators, /stride, width", "output", "MACs>", "%>", "params>", "%>")
    for one in document["stages"]:
        for index, block in enumerate(one["opened"]):
            made.add_row(
                Text(one["name"] if index == 0 else "", style="bold"),
                str(block["times"]),
                ", ".join(block["operators"]),
                _shape(block["output"]),
                human(block["macs"]),
                f"{100 * block['share_of_macs']:.1f}",
                human(block["params"]),
                f"{100 * block['share_of_params']:.1f}",
            )
    if document["stages"]:
        console.print(made)
    more: list[tuple[str, RenderableType]] = [("choices", _words(document))] if document.get("words") else []
    more += [("drawing", Text(document["drawing"]))] if "drawing" in document else []
    _totals(document, console, *more)


def _shape(output: list[int]) -> str:
    return "x".join(map(str, output))


def show_cost(document: Document, console: Console) -> None:
    """`nas cost`."""
    if document["stages"]:
        made = table("stage", "blocks>", "layers", "output>", "MACs>", "%>", "params>", "%>")
        for one in document["stages"]:
            made.add_row(
                Text(one["name"], style="bold"),
                str(one["blocks"]),
                ", ".join(one["layers"]),
                _shape(one["output"]),
                human(one["macs"]),
                f"{100 * one['share_of_macs']:.1f}",
                human(one["params"]),
                f"{100 * one['share_of_params']:.1f}",
            )
        console.print(made)
    _totals(document, console)


def show_export(document: Document, console: Console) -> None:
    """`nas export`."""
    for note in document["notes"]:
        console.print(Text(note, style="bold yellow"))
    known = ["same class>"] if any("images" in one for one in document["exports"]) else []
    known += ["test accuracy>"] if any("test_accuracy" in one for one in document["exports"]) else []
    made = table("format", "file", "size>", "difference>", *known)
    for one in document["exports"]:
        difference = one.get("max_difference")
        for number, file in enumerate(one["files"]):
            checked = [
                "" if difference is None else f"{difference:.1e}" if difference else "none",
                f"{one['same_class']} of {one['images']}" if "images" in one else "",
                percent(one["test_accuracy"]) if "test_accuracy" in one else "",
            ]
            words = ["", "", ""] if number else checked
            words = words[: 1 + len(known)]
            made.add_row(
                Text("" if number else one["format"], style="bold"),
                file["file"].replace("\\", "/").rpartition("/")[2],
                f"{human(file['bytes'])}B",
                *words,
            )
    console.print(made)
    console.print(
        facts(
            ("network", Text.assemble((document["name"], "bold"), (f"  {document['weights']} weights", FAINT))),
            ("takes", document["input"]),
            ("gives", document["output"]),
            ("folder", document["out"]),
            ("card", document["card"]),
        )
    )
    console.print()
    said = f"difference: the largest in a logit, from torch's; more than {document['tolerance']:g} of the largest logit"
    console.print(Text(f"{said} is refused", style=FAINT))


def _totals(document: Document, console: Console, *more: tuple[str, RenderableType]) -> None:
    """What a network is, and what it costs in all."""
    traced = document["counted"] == "by tracing"
    how = Text("counted by tracing (fvcore); operators it does not know count nothing", style="yellow")
    console.print(
        facts(
            ("network", Text.assemble((document["name"], "bold"), (f"  {document['paper'] or ''}", FAINT))),
            ("on", f"{document['task']}  (height x width x channels : classes)"),
            *((title, _exact(name, document[name])) for name, title in COST_NAMES.items() if name in document),
            ("how", how if traced else Text("exact, from the layers themselves")),
            *more,
        )
    )
    console.print()
    console.print(Text(MACS_NOTE, style=FAINT))


def _exact(name: str, value: float | None) -> str:
    if value is None:
        return "not told by a trace"
    if name == "latency_ms":
        return f"{value:g} ms  (as the latency table predicts it)"
    return f"{value:,}" + (f"  ({cost_text(name, value)})" if value >= 1000 else "")


def show_preflight(study: Document, space: Document, console: Console) -> None:
    """What is about to happen, before anything is trained."""
    rows: list[tuple[str, RenderableType]] = [("space", f"{study['space']}: {count(space['size'])} architectures")]
    timed = f", {_range(space, 'latency_ms')}" if "latency_ms" in space["smallest"] else ""
    rows.append(("", f"{_range(space, 'macs')} MACs, {_range(space, 'params')} parameters{timed}"))
    if space["fits"] is not None:
        rows.append(("budget", f"{study['budget']}, counted on {study['task']}"))
        rows.append(("fits", _fits(space["fits"])))
    rows += how(study)
    ended = sum(study["trials"][state] for state in ("complete", "pruned", "failed"))
    if ended:
        rows.append(("goes on", f"after {ended} trials"))
    console.print(
        Panel(
            facts(*rows),
            title=Text(f"nas search: {study['run']}", style="bold"),
            title_align="left",
            border_style=FAINT,
        )
    )
    console.print(Text(MACS_NOTE, style=FAINT))
    console.print()


def _range(space: Document, name: str) -> str:
    return f"{cost_text(name, space['smallest'][name])} to {cost_text(name, space['largest'][name])}"


def how(study: Document) -> list[tuple[str, RenderableType]]:
    """What a study trains, and in which order: data, proxy, strategy and seed."""
    rows: list[tuple[str, RenderableType]] = []
    estimator = dict(study["estimator"])
    data = estimator.pop("data", None)
    if isinstance(data, dict):
        images = {use: estimator.pop(f"{use}_images", None) for use in ("train", "val")}
        counts = [f"{number:,} to {_USES[use]}" for use, number in images.items() if number is not None]
        rows.append(("data", f"{data.get('name')}, {data.get('task')}; images: {', '.join(counts) or 'not told'}"))
    name = str(estimator.pop("name", ""))
    telling = {key: estimator[key] for key in _TELLING if key in estimator} or estimator
    rows.append(("proxy", Text.assemble(name, (f"  {_settings(telling)}", FAINT))))
    strategy = study["strategy"]
    rows.append(("strategy", Text.assemble(strategy["name"], (f"  {_settings(strategy['settings'])}", FAINT))))
    planned = f"{study['planned']} planned, " if study["planned"] else ""
    waves = f", in waves of {study['wave']}" if study["wave"] else ""
    rows.append(("trials", f"{planned}seed {study['seed']}, pruner {study['pruner']}{waves}"))
    if starts := strategy["settings"].get("start_from"):
        names = (f"{name[:40]}..." if name.startswith("{") else name for name in starts)
        rows.append(("starts from", Text("\n".join(names))))
    if study["confirm"]:
        who = "best" if study["confirm"] == 1 else f"{study['confirm']} best three times each"
        rows.append(("confirms", f"the last {3 * study['confirm']} trials train the {who} again; the mean decides"))
    return rows


_USES: Final = {"train": "train on", "val": "validate on"}
_TELLING: Final = ("epochs", "image_size", "width", "depth", "data_fraction")
"""How a proxy shrinks training; the manifest has all settings."""


def _settings(settings: Document) -> str:
    """Settings in one line; those that are off or empty are left out.

    >>> _settings({"epochs": 4, "width": 0.5, "mirror": False, "objectives": ["accuracy", "macs"]})
    'epochs 4, width 0.5, objectives accuracy and macs'
    """
    shown = {name: value for name, value in settings.items() if value not in (None, False, [], {}, "") and value != 0}
    shown.pop("start_from", None)  # has a line of its own
    return ", ".join(f"{name} {_option(value)}" for name, value in shown.items())


def show_result(document: Document, console: Console) -> None:
    """What a search has found, where it is, and what to type next."""
    if document["pareto"]:
        console.print(_pareto(document))
    if document["confirmed"]:
        console.print(_confirmed(document))
    rows: list[tuple[str, RenderableType]] = []
    best, run = document["best"], document["run"]
    if best is not None:
        rows += [("best", _words(best)), ("", "")]
    states = ", ".join(f"{number} {state}" for state, number in document["trials"].items() if number)
    again = f", {document['confirmations']} of them confirmations" if document["confirmations"] else ""
    rows.append(("trials", f"{states or 'none yet'}{again}; {duration(document['seconds'])} of work"))
    rows += [("failed", Text(f"{number} x {why}", style="red")) for why, number in document["failures"].items()]
    if "ended" in document:
        rows.append(("ended", document["ended"]["reason"]))
    if run is not None:
        rows.append(("", ""))
        rows += [(name, Text(path)) for name, path in document["files"].items()]
        rows += [("drawing", Text(document["drawing"]))] if "drawing" in document else []
        rows.append(("", ""))
        commands = [*document["looks"], document["more"]]
        rows += [("next" if index == 0 else "", Text(command)) for index, command in enumerate(commands)]
    console.print(facts(*rows))


def show_study(document: Document, console: Console) -> None:
    """`nas show RUN`."""
    rows: list[tuple[str, RenderableType]] = [("run", Text(str(document["run"]), style="bold"))]
    rows.append(("space", f"{document['space']}, {document['budget'] or 'no budget'}, counted on {document['task']}"))
    console.print(facts(*rows, *how(document)))
    console.print()
    show_result(document, console)


def _pareto(document: Document) -> Table:
    """Networks that no other beats in accuracy and a cost, cheapest first."""
    against = "" if document["against"] == "macs" else f" in {COST_NAMES[document['against']]}"
    title = f"The best at their cost{against}"
    timed = ["latency>"] if any("latency_ms" in one for one in document["pareto"]) else []
    made = table("trial>", "accuracy>", *timed, "MACs>", "parameters>", "peak memory>", "took>", title=title)
    for one in document["pareto"]:
        made.add_row(
            str(one["number"]),
            percent(one["accuracy"]),
            *(cost_text("latency_ms", one["latency_ms"]) for _ in timed),
            human(one["macs"]),
            human(one["params"]),
            cost_text("peak_activation_bytes", one["peak_activation_bytes"]),
            duration(one["seconds"] or 0.0),
            style="bold green" if one["number"] == document["best"]["number"] else "",
        )
    return made


def _confirmed(document: Document) -> Table:
    """Leading networks on the mean of their trainings, with its standard error."""
    made = table("trial>", "mean>", "std. error>", "trainings", "MACs>", "parameters>", "", title="Trained again")
    for one in document["confirmed"]:
        won = one["number"] == document["best"]["number"]
        error = one["standard_error"]
        made.add_row(
            str(one["number"]),
            percent(one["mean"]),
            "-" if error is None else f"± {percent(error)}",
            " ".join(f"{100 * accuracy:.1f}" for accuracy in one["accuracies"]),
            human(one["macs"]),
            human(one["params"]),
            "best" if won else "",
            style="bold green" if won else "",
        )
    return made


def _words(trial: Document) -> Text:
    """An architecture, a line for each stage."""
    return Text("\n".join(part.strip() for part in trial["words"].split("|")))


def show_trial(document: Document, console: Console) -> None:
    """`nas show RUN --trial N`."""
    rows: list[tuple[str, RenderableType]] = [("trial", Text(str(document["number"]), style="bold"))]
    rows.append(("state", document["state"] + (f": {document['reason']}" if document["reason"] else "")))
    if document["confirms"] is not None:
        rows.append(("trains again", f"the network of trial {document['confirms']}"))
    if document["accuracy"] is not None:
        rows.append(("accuracy", Text(percent(document["accuracy"]), style="bold green")))
    if document["curve"]:
        ends = f"{percent(document['curve'][0])} to {percent(document['curve'][-1])} in {len(document['curve'])} epochs"
        rows.append(("curve", Text.assemble((sparkline(document["curve"], width=40), "cyan"), f"  {ends}")))
    if document["seconds"] is not None:
        rows.append(("took", duration(document["seconds"])))
    rows += [(title, _exact(name, document[name])) for name, title in COST_NAMES.items() if name in document]
    rows.append(("architecture", _words(document)))
    rows += [("drawing", Text(document["drawing"]))] if "drawing" in document else []
    console.print(facts(*rows))


class Bar:
    """A live bar where the console is a terminal; what takes its place elsewhere is the caller's.

    Args:
        console: where to.
        quiet: show nothing.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console, self._quiet = console, quiet
        columns = (TextColumn("{task.description}"), BarColumn(40), MofNCompleteColumn(), TimeRemainingColumn())
        self._live = Progress(*columns, console=console, transient=True) if console.is_terminal and not quiet else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
