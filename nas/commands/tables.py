"""What all screens are made of: tables, facts in two columns, costs with their units.

Screens fit into 80 columns, and are plain text where there is no terminal.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.cells import cell_len
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from nas.commands.console import as_printed, visible
from nas.wording import human

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.style import StyleType

BLUE: Final = "bold cyan"
FAINT: Final = "dim"
GOOD: Final = "bold green"
WARNING: Final = "bold yellow"
BAR_WIDTH: Final = 40
COST_NAMES: Final = {
    "macs": "MACs",
    "params": "parameters",
    "activations": "activations",
    "peak_activation_bytes": "peak activation memory",
    "latency_ms": "latency",
}


class _Table(Table):
    """A table whose columns are as wide as what is printed in them."""

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        made = (None if each is None else as_printed(each) for each in cells)
        super().add_row(*made, style=style, end_section=end_section)


def table(*columns: str, title: str | None = None) -> Table:
    """A table without lines between its rows. A column's name ends in `>` for numbers, on the right."""
    made = _Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    made.header_style = BLUE
    for name in columns:
        made.add_column(name.rstrip(">"), justify="right" if name.endswith(">") else "left", overflow="fold")
    return made


def facts(*pairs: tuple[str, RenderableType]) -> Table:
    """Names and values in two columns."""
    made = _Table.grid(padding=(0, 2))
    made.add_column(style=BLUE, no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, value)
    return made


class Typed(Text):
    """A command to be typed, in the right column of `show_facts`."""


def show_facts(console: Console, *pairs: tuple[str, RenderableType]) -> None:
    """Show `facts`; commands in one line each, however long, so that they can be copied."""
    width = max(cell_len(name) for name, _ in pairs)
    for typed, several in itertools.groupby(pairs, lambda pair: isinstance(pair[1], Typed)):
        if not typed:
            made = facts(*several)
            made.columns[0].min_width = width
            console.print(made)
            continue
        for name, command in several:
            assert isinstance(command, Text)
            before = name + " " * (width - cell_len(name) + 2)
            console.print(Text.assemble((before, BLUE), command), soft_wrap=True)


class Listed:
    """Names in a cell, with commas; a line ends between two of them, never within one.

    Args:
        names: in order.
        style: of the text.
    """

    def __init__(self, names: Sequence[str], style: str = "") -> None:
        self._names = [visible(name) for name in (*(f"{name}," for name in names[:-1]), *names[-1:])]
        self._style = style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(max(map(cell_len, self._names), default=0), cell_len(" ".join(self._names)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        line = ""
        for name in self._names:
            if line and cell_len(f"{line} {name}") > options.max_width:
                yield Text(line, style=self._style)
                line = ""
            line = f"{line} {name}".lstrip()
        yield Text(line, style=self._style, overflow="fold")


def shortened(text: str, room: int) -> Text:
    """A text in one faint line, cut between two words where there is no room for it.

    >>> shortened("blocks around ResNet", 16).plain
    'blocks around…'
    """
    if cell_len(text) > room:
        whole, _, _ = text[: max(room, 1)].rpartition(" ")
        text = f"{whole.rstrip(',;:') or text[: max(room - 1, 0)]}…"
    return Text(text, style=FAINT)


def mirroring_text(data: Mapping[str, Any], mirror: bool | None, option: str) -> str:
    """Whether images are mirrored, why, and how to change it.

    Args:
        data: the description of the images.
        mirror: as it was set; None leaves it to the class names.
        option: sets it.
    """
    on = data["mirror"] if mirror is None else mirror
    why = data["mirror_reason"] if on == data["mirror"] else "as set"
    told = "images are randomly mirrored left to right" if on else "off"
    return f"{told}: {why} ({option}={'false' if on else 'true'} changes it)"


def cost_text(name: str, value: float | None) -> str:
    """One cost with its unit, in three digits.

    >>> cost_text("macs", 385_814_752), cost_text("peak_activation_bytes", 9633792), cost_text("latency_ms", 8.412)
    ('386M', '9.63MB', '8.41ms')
    """
    if value is None:
        return "unknown"
    if name == "latency_ms":
        return f"{milliseconds(value)}ms"
    return f"{human(value)}B" if name.endswith("_bytes") else human(value)


def exact_cost(name: str, value: float | None) -> str:
    """One cost in all its digits.

    >>> exact_cost("macs", 385_814_752)
    '385,814,752  (386M)'
    >>> exact_cost("peak_activation_bytes", 9_633_792)
    '9,633,792 bytes  (9.63MB)'
    """
    if value is None:
        return "unknown: it cannot be traced"
    if name == "latency_ms":
        return f"{value:g} ms  (predicted from the latency table)"
    unit = " bytes" * name.endswith("_bytes")
    return f"{value:,}{unit}" + (f"  ({cost_text(name, value)})" if value >= 1000 else "")


def milliseconds(value: float) -> str:
    """A latency in three digits.

    >>> milliseconds(0.41234), milliseconds(8.412), milliseconds(1234.5)
    ('0.412', '8.41', '1234')
    """
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def option_text(value: Any) -> str:
    """The value of a decision or a setting.

    >>> option_text(0.25), option_text([1, 2]), option_text(True)
    ('0.25', '1 and 2', 'true')
    """
    if isinstance(value, list):
        return " and ".join(map(option_text, value))
    if isinstance(value, bool):
        return str(value).lower()  # as JSON and --set have it
    return f"{value:g}" if isinstance(value, float) else str(value)
