"""How documents look on a terminal: from 80 columns up, and in plain text when there is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from nas.wording import MACS_NOTE, count, human, share

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

    >>> cost_text("macs", 385_814_752), cost_text("peak_activation_bytes", 9633792)
    ('386M', '9.63MB')
    """
    if value is None:
        return "not known"
    return f"{human(value)}B" if name.endswith("_bytes") else human(value)


def show_space(document: Document, console: Console) -> None:
    """`nas space`."""
    console.print(Text(document["space"], style="bold"), Text(document["doc"], style=FAINT))
    console.print()
    console.print(_decisions(document["decisions"]))
    costs = table("cost", "smallest>", "largest>")
    for name, title in COST_NAMES.items():
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
    pairs.append(("costs on", f"{document['task']}  (height x width x channels : classes)"))
    fits = document["fits"]
    if fits is not None:
        pairs.append(("budget", document["budget"]))
        pairs.append(("fits", f"{share(*fits['share'])} of them: {count(fits['low'], fits['high'])} architectures"))
    return pairs


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


def _option(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _yes(value: bool) -> Text:
    return Text("yes", style="green") if value else Text("no", style=FAINT)


def show_spaces(document: Document, console: Console) -> None:
    """`nas spaces`."""
    made = table("space", "architectures>", "classics in it", "what it is")
    for one in document["spaces"]:
        made.add_row(Text(one["name"], style="bold"), count(one["size"]), "\n".join(one["references"]), one["doc"])
    console.print(made)
    console.print(Text("More about one: nas space NAME --budget 400M", style=FAINT))


def show_cost(document: Document, console: Console) -> None:
    """`nas cost`."""
    if document["stages"]:
        made = table("stage", "blocks>", "layers", "output>", "MACs>", "%>", "params>", "%>")
        for one in document["stages"]:
            made.add_row(
                Text(one["name"], style="bold"),
                str(one["blocks"]),
                ", ".join(one["layers"]),
                "x".join(map(str, one["output"])),
                human(one["macs"]),
                f"{100 * one['share_of_macs']:.1f}",
                human(one["params"]),
                f"{100 * one['share_of_params']:.1f}",
            )
        console.print(made)
    traced = document["counted"] == "by tracing"
    how = Text("counted by tracing (fvcore); operators it does not know count nothing", style="yellow")
    console.print(
        facts(
            ("network", Text.assemble((document["name"], "bold"), (f"  {document['paper'] or ''}", FAINT))),
            ("on", f"{document['task']}  (height x width x channels : classes)"),
            *((title, _exact(name, document[name])) for name, title in COST_NAMES.items()),
            ("how", how if traced else Text("exact, from the layers themselves")),
        )
    )
    console.print()
    console.print(Text(MACS_NOTE, style=FAINT))


def _exact(name: str, value: int | None) -> str:
    if value is None:
        return "not told by a trace"
    return f"{value:,}" + (f"  ({cost_text(name, value)})" if value >= 1000 else "")
