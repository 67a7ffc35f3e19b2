"""`nas spaces`, `space`, `classics` and `cost`: what can be built and what it costs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich.measure import Measurement
from rich.text import Text

from nas.commands import options
from nas.commands.console import console, print_json, visible
from nas.commands.study_screens import fitting
from nas.commands.tables import (
    COST_NAMES,
    FAINT,
    Listed,
    cost_text,
    exact_cost,
    facts,
    option_text,
    shortened,
    table,
)
from nas.wording import MACS_NOTE, budget_text, count, human, images_text, number_of, percent, strides_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType
    from rich.table import Table

    from nas.documents import Document


NARROW: Final = 80
"""Columns that a table by stages may take; the same table is shown on every terminal."""


def spaces(json: options.Json = False) -> None:
    """List the built-in search spaces.

    [bold]Example:[/]  nas spaces
    """
    from nas.documents import spaces_document

    document = spaces_document()
    if json:
        return print_json(document)
    show_spaces(document, console())


def space(
    name: options.SpaceName,
    budget: options.BudgetOfSpace = None,
    task: options.TaskOfSpace = None,
    image_size: options.ImageSizeOfNetwork = None,
    strides: options.Strides = None,
    latency: options.LatencyOfNetwork = None,
    json: options.Json = False,
) -> None:
    """Show what a space holds, what its networks cost, and how many fit a budget.

    [bold]Example:[/]  nas space mbconv --budget 360M..400M --task 32x32x3:10
    """
    from nas.documents import space_document
    from searchspaces import Budget, Task, load_space
    from searchspaces.latency import LatencyTable
    from searchspaces.strides import stated
    from searchspaces.task import check_sizes

    images, times = Task.parse(task) if task else None, LatencyTable.read(latency) if latency else None
    check_sizes(images, image_size)
    deployment = (images or (Task() if times is None or image_size else times.task)).at(image_size)
    if times is not None:
        deployment = times.on(deployment)
    document = space_document(load_space(stated(name, strides)), deployment, Budget.parse(budget) if budget else None)
    if json:
        return print_json(document)
    show_space(document, console())


def classics(
    part: options.NamePart = "",
    budget: options.BudgetOfClassics = None,
    task: options.TaskOfClassics = None,
    sort: options.ClassicsSorted = "family",
    plot: options.ClassicsPlot = None,
    json: options.Json = False,
) -> None:
    """List networks from the literature with their costs and published ImageNet accuracies.

    [bold]Example:[/]  nas classics resnet
    [bold]Example:[/]  nas classics --budget 300M..400M --sort top1 --plot classics.html
    """
    from nas.networks import classics_document
    from searchspaces import Budget, Task

    images, bound = Task.parse(task) if task else None, Budget.parse(budget) if budget else None
    document = classics_document(part, bound, images, sort)
    if plot is not None:
        from studies.pages.published import write_published

        write_published(document, plot)
    if json:
        return print_json(document)
    show_classics(document, console())
    if plot is not None:
        print(visible(str(plot)))


def settings(name: options.SettingsOf = None, json: options.Json = False) -> None:
    """List the settings of strategies, estimators and training recipes that --set accepts.

    [bold]Example:[/]  nas settings short-training
    """
    from nas.settings_list import settings_document

    document = settings_document(name)
    if json:
        return print_json(document)
    show_settings(document, console())


def cost(
    network: options.Network,
    trial: options.OfTrial = None,
    task: options.TaskOfNetwork = None,
    image_size: options.ImageSizeOfNetwork = None,
    space: options.SpaceOfNetwork = None,
    latency: options.LatencyOfNetwork = None,
    by: options.CostsBy = "stage",
    json: options.Json = False,
) -> None:
    """Count the costs of a network, by stage or by layer type.

    Your own torch module (my_net.py:net, a module or a function that returns
    one) is counted by tracing one forward pass, attention and recurrent layers
    included; operators that are not counted are listed.

    [bold]Example:[/]  nas cost efficientnet_b0 --image-size 240
    [bold]Example:[/]  nas cost mobilenetv1_100 --by type
    """
    from nas.networks import cost_document
    from nas.references import with_trial
    from searchspaces import Task, UserError, load_space, nearest
    from searchspaces.latency import LatencyTable

    if by not in options.COST_ROWS:
        raise UserError(f"--by: unknown rows {by!r}{nearest(by, options.COST_ROWS)}")
    times = LatencyTable.read(latency) if latency else None
    images, home = Task.parse(task) if task else None, load_space(space) if space else None
    document = cost_document(with_trial(network, trial), images, home, times, image_size)
    if json:
        return print_json(document)
    (show_cost if by == "stage" else show_types)(document, console())


def show_spaces(document: Document, console: Console) -> None:
    """`nas spaces`, a line for each."""
    made = table("space", "networks>", "MACs at 224 px>", "description")
    room = console.width - 51  # a line for each, on narrow terminals too
    for one in document["spaces"]:
        costs = " to ".join(map(human, one["macs"]))
        made.add_row(Text(one["name"], style="bold"), count(one["size"]), costs, shortened(one["doc"], room))
    console.print(made)
    console.print(Text("Details of a space and its classic networks: nas space NAME --budget 400M", style=FAINT))


def show_space(document: Document, console: Console) -> None:
    """`nas space`."""
    console.print(Text(document["space"], style="bold"), Text(document["doc"], style=FAINT))
    console.print()
    by_stage = _decisions(document["decisions"])
    wide = Measurement.get(console, console.options.update(max_width=1000), by_stage).maximum > NARROW
    console.print(_alike(document["decisions"]) if wide else by_stage)
    costs = table("cost", "smallest>", "largest>")
    for name, title in COST_NAMES.items():
        if name in document["smallest"]:
            costs.add_row(title, *(cost_text(name, document[end][name]) for end in ("smallest", "largest")))
    console.print(costs)
    console.print(facts(*_space_facts(document)))
    if document["references"]:
        members = table("member", "MACs>", "params>", *(["fits"] if document["budget"] else []))
        for one in document["references"]:
            row = [one["name"], human(one["macs"]), human(one["params"])]
            members.add_row(*row, *([_yes(one["fits"])] if document["budget"] else []))
        console.print(members)


def _space_facts(document: Document) -> list[tuple[str, RenderableType]]:
    """Size, task, budget and what fits."""
    pairs: list[tuple[str, RenderableType]] = [("holds", f"{count(document['size'])} architectures")]
    drawn = f"; smallest and largest of {document['draws']} draws" if document["draws"] else ""
    pairs.append(("costs on", f"{document['task']}  (height x width x channels : classes){drawn}"))
    if document["strides"] is not None:
        pairs.append(("strides", strides_text(document["strides"], document["strides_left_out"])))
    if document["fits"] is not None:
        pairs.append(("budget", budget_text(document["budget"])))
        pairs.append(("fits", fitting(document["fits"])))
    return pairs


def _decisions(decisions: list[Document]) -> Table:
    """One row for each stage (or block), one column for each thing decided there."""
    rows: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for one in decisions:
        stage, _, key = one["name"].rpartition(".")
        rows.setdefault(stage, {})[key] = " ".join(option_text(option) for option in one["options"])
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
        rows.setdefault((key, " ".join(map(option_text, one["options"]))), []).append(stage or "everywhere")
    made = table("decision", "options", "where")
    keys = [key for key, _ in rows]
    for (key, values), stages in sorted(rows.items(), key=lambda row: keys.index(row[0][0])):
        where = ", ".join(stages) if len(stages) <= 4 else f"{stages[0]} ... {stages[-1]}: {len(stages)} places"
        made.add_row(Text(key, style="bold"), values, where)
    return made


def _yes(value: bool) -> Text:
    return Text("yes", style="green") if value else Text("no", style=FAINT)


def show_settings(document: Document, console: Console) -> None:
    """`nas settings`: a table for each that has settings, and the names of those that have none."""
    several = dict.fromkeys((one["target"], one["of"]) for one in document["settings"])
    for target, of in several:
        prefix = "" if target == "recipe" else f"{target}."
        made = table("setting", "default", "description")
        made.title = "recipe of nas train" if target == "recipe" else f"{target} {of}"
        for one in document["settings"]:
            if one["of"] == of:
                default = "-" if one["default"] is None else option_text(one["default"])
                made.add_row(Text(prefix + one["name"], style="bold"), default, Text(one["doc"], style=FAINT))
        console.print(made)
    for one in document["without_settings"]:
        console.print(Text(f"{one['target']} {one['of']} has no settings"))
    if not several:
        return
    console.print(Text("As in nas search --set estimator.epochs=8, or nas train --set lr=0.05", style=FAINT))


def show_classics(document: Document, console: Console) -> None:
    """`nas classics`, a line for each."""
    made = table("network", "MACs>", "params>", "px>", "top-1 %>", "paper")
    longest, family = max(len(one["name"]) for one in document["classics"]), None
    for one in document["classics"]:
        if document["order"] == "family" and one["family"] != family:
            if family is not None:
                made.add_row()
            made.add_row(Text(one["family"], style=FAINT))
            family = one["family"]
        cells = human(one["macs"]), human(one["params"]), one["task"].partition("x")[0], _range(one["top1"])
        source = shortened(_source(one["paper"]), console.width - longest - 42)
        made.add_row(Text(one["name"], style="bold"), *cells, source)
    console.print(made)
    console.print(
        Text(f"{number_of(len(document['classics']), 'network')}. Details of a network: nas show NAME", style=FAINT)
    )
    if any(one["top1"] for one in document["classics"]):
        console.print(Text(_RANGES, style=FAINT))


_RANGES: Final = "top-1: lowest and highest published on ImageNet; --json has the recipes"


def _range(top1: list[float] | None) -> str:
    """The lowest and the highest accuracy in percent.

    >>> _range([0.7613, 0.80858]), _range([0.771, 0.771]), _range(None)
    ('76.1-80.9', '77.1', '')
    """
    return "-".join(dict.fromkeys(f"{100 * each:.1f}" for each in top1 or []))


def _source(paper: str) -> str:
    """The first author, the year and arXiv's number, or where else it appeared.

    >>> _source("He 2016, arXiv:1512.03385, table 1"), _source("Zagoruyko & Komodakis 2016, arXiv:1605.07146")
    ('He 2016, 1512.03385', 'Zagoruyko 2016, 1605.07146')
    """
    authors, _, rest = paper.partition(", ")
    number = rest.partition(", ")[0].removeprefix("arXiv:")
    return f"{re.sub(' & .*(?= [0-9]{4})', '', authors)}, {number}".rstrip(", ")


def show_cost(document: Document, console: Console) -> None:
    """`nas cost`."""
    if document["stages"]:
        made = table("stage", "blocks>", "layers", "output>", "MACs>", "%>", "params>", "%>")
        for one in document["stages"]:
            layers = str(one["blocks"]), Listed(one["layers"])
            made.add_row(Text(one["name"], style="bold"), *layers, shape_text(one["output"]), *costs_and_shares(one))
        console.print(made)
    show_totals(document, console)
    console.print(Text(f"\n{MACS_NOTE}", style=FAINT))


def show_types(document: Document, console: Console) -> None:
    """`nas cost --by type`."""
    if document["types"]:
        made = table("type of layer", "layers>", "MACs>", "%>", "params>", "%>", "weights %>")
        for one in document["types"]:
            shares = [f"{100 * one[f'share_of_{name}']:.2f}" for name in ("macs", "params", "weights")]
            costs = human(one["macs"]), shares[0], human(one["params"]), *shares[1:]
            made.add_row(Text(one["type"], style="bold"), str(one["layers"]), *costs)
        console.print(made)
        console.print(Text("weights: parameters of convolutions and linear layers, without biases", style=FAINT))
        console.print()
    show_totals(document, console)
    console.print(Text(f"\n{MACS_NOTE}", style=FAINT))


def shape_text(output: list[int]) -> str:
    """The shape of a map, height x width x channels as in a task, or of a vector.

    >>> shape_text([32, 112, 56]), shape_text([1000])
    ('112x56x32', '1000')
    """
    return "x".join(map(str, [*output[1:], output[0]]))


def costs_and_shares(one: Document) -> list[str]:
    """MACs and parameters of a part, and its shares of the network's in percent."""
    shares = [f"{100 * one[f'share_of_{name}']:.1f}" for name in ("macs", "params")]
    return [human(one["macs"]), shares[0], human(one["params"]), shares[1]]


def show_totals(document: Document, console: Console, *more: tuple[str, RenderableType]) -> None:
    """What a network is, and its costs as a whole."""
    how = [("how", Text("exact, from the layers themselves"))]
    if strides := document.get("strides", {}).get("rule"):
        how.append(("strides", Text(strides_text(strides, document["strides"]["left_out"]))))
    if document["counted"] == "by tracing":
        how = [("how", Text("counted by tracing one forward pass")), *_second_count(document)]
    console.print(
        facts(
            ("network", Text.assemble((document["name"], "bold"), (f"  {document['paper'] or ''}", FAINT))),
            ("on", f"{images_text(document)}  (height x width x channels : classes)"),
            *((title, exact_cost(name, document[name])) for name, title in COST_NAMES.items() if name in document),
            *how,
            *_published(document),
            *more,
        )
    )


def _published(document: Document) -> Iterator[tuple[str, Text]]:
    """A classic's published accuracies on images of the size that its costs are counted on."""
    if not document.get("top1"):
        return
    size = int(document["task"].partition("x")[0])
    there = sorted(
        (one for one in document["accuracies"] if one["image_size"] == size), key=lambda one: float(one["top1"])
    )
    for index, one in enumerate(dict.fromkeys(_weights(each) for each in (there[0], there[-1]))):
        yield "" if index else "ImageNet top-1", Text(one)
    if len(there) > 2:
        yield (
            "",
            Text(f"{len(there)} published at {size} px, of which these are the lowest and the highest; --json has all"),
        )


def _weights(one: Document) -> str:
    """One published accuracy, its weights and their recipe."""
    top5 = f" (top-5 {percent(one['top5'])})" if one["top5"] is not None else ""
    recipe = f": {one['recipe']}" if one["recipe"] else ""
    return f"{percent(one['top1'])}{top5}  {one['source']} {one['weights']}{recipe}"


def _second_count(document: Document) -> Iterator[tuple[str, Text]]:
    """What a traced count leaves out, and how fvcore's count compares."""
    if document["uncounted"]:
        yield "not counted", Text(f"{_times(document['uncounted'])}  (number of calls)")
    theirs = document["fvcore"]
    if theirs is None:
        yield "fvcore", Text("cannot trace it, so there is no second count", style="yellow")
    elif theirs["macs"] == document["macs"]:
        yield "fvcore", Text("counts the same MACs")
    else:
        unknown = f"; it does not support {_times(theirs['unknown'])}" if theirs["unknown"] else ""
        yield "fvcore", Text(f"counts {theirs['macs']:,} MACs{unknown}", style="yellow")


def _times(operators: dict[str, int]) -> str:
    """How often each ran.

    >>> _times({"mul": 2, "softmax": 1})
    'mul 2, softmax 1'
    """
    return ", ".join(f"{name} {times}" for name, times in operators.items())
