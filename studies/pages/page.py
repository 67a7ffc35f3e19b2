"""The template of every page: one HTML file that needs nothing but a browser, on a phone, in the dark and on paper.

Title, legend, scales and tables are HTML, and plotly draws what is between them. A figure is drawn in the colours of a
light page; `DARK` says what each becomes where `prefers-color-scheme` is dark, and the page's script draws it again
when that changes, when a window becomes narrow or low, and before it is printed. What is to be otherwise in such a
window, a phone's, stands in the `meta` of a trace or a layout: `{"narrow": {...}}`.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal

from searchspaces import human

if TYPE_CHECKING:
    import plotly.graph_objects as go

PAPER, INK, FAINT, GRID = "#ffffff", "#1f2933", "#66727f", "#e4e7eb"
FONT: Final = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
BLUE, RED, GREEN, AMBER = "#1a3e8c", "#d64545", "#2f855a", "#b7791f"
PURPLE, CYAN, PINK, SLATE = "#6b46c1", "#0e7490", "#b83280", "#4a5568"
COLOURS: Final = (BLUE, RED, GREEN, AMBER, PURPLE, CYAN, PINK, SLATE)
"""Of things without an order, told apart by people who see colours differently too, beside their names."""

LOW, MIDDLE, HIGH = "#c3dafe", "#5a8dee", "#1b3f8d"
SHADES: Final = [(0.0, LOW), (0.5, MIDDLE), (1.0, HIGH)]
"""Of things with an order: from the background to what stands out against it."""

DARK: Final = {
    PAPER: "#14181d", INK: "#e6e9ed", FAINT: "#98a3af", GRID: "#2b323a",
    BLUE: "#8ab0ff", RED: "#ff8080", GREEN: "#6fd39b", AMBER: "#f0b95a",
    PURPLE: "#b79cff", CYAN: "#5ccbe0", PINK: "#f58fcb", SLATE: "#b4bfcc",
    LOW: "#2a4272", MIDDLE: "#5b8df0", HIGH: "#d3e2ff",
}  # fmt: skip
"""What each colour is on a dark page."""

_STRATEGIES: Final = {
    "guided": BLUE, "random": SLATE, "evolution": RED, "local-search": GREEN, "pareto": AMBER, "rl": PURPLE,
    "tpe": CYAN, "grid": PINK,
}  # fmt: skip
DASHES: Final = ("solid", "dash", "dot", "dashdot")


def strategy_colour(name: str) -> str:
    """The colour of a strategy, the same on every page; of one that is not ours, one that follows from its name."""
    return _STRATEGIES.get(name) or COLOURS[sum(name.encode()) % len(COLOURS)]


def pale(colour: str, opacity: float = 0.13) -> str:
    """A colour that lets others through.

    >>> pale("#d64545")
    'rgba(214, 69, 69, 0.13)'
    """
    return f"rgba({_parts(colour)}, {opacity:g})"


def _parts(colour: str) -> str:
    return ", ".join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))


def css(colour: str) -> str:
    """A colour of `DARK` in HTML, where it follows the colour scheme."""
    return f"var(--c{colour[1:]})"


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a legend.

    Attributes:
        name: plain text.
        colour: in `DARK`.
        mark: how it is drawn.
        group: the `legendgroup` of the traces that the entry shows and hides; None for what cannot be hidden.
    """

    name: str
    colour: str
    mark: Literal["line", "solid", "dash", "dot", "dashdot", "disc", "ring", "star", "area", "bar", "cross"] = "disc"
    group: str | None = None

    def html(self) -> str:
        """The entry: a button where it can be pressed."""
        inside = f'<svg width="26" height="14" aria-hidden="true">{self._drawn()}</svg>{html.escape(self.name)}'
        if self.group is None:
            return f"<span>{inside}</span>"
        return f'<button type="button" aria-pressed="true" data-group="{html.escape(self.group)}">{inside}</button>'

    def _drawn(self) -> str:
        colour = css(self.colour)
        match self.mark:
            case "disc" | "ring":
                fill = colour if self.mark == "disc" else "none"
                return f'<circle cx="13" cy="7" r="5" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'
            case "star":
                points = "13,0 15,5 20.5,5 16,8.5 18,14 13,10.5 8,14 10,8.5 5.5,5 11,5"
                return f'<polygon points="{points}" fill="{colour}"/>'
            case "area" | "bar":
                opacity = 0.25 if self.mark == "area" else 1
                return f'<rect x="3" y="2" width="20" height="10" fill="{colour}" opacity="{opacity}"/>'
            case "cross":
                return f'<path d="M9 3l8 8m0-8l-8 8" stroke="{colour}" stroke-width="1.8"/>'
            case _:
                dashes = {"dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3"}.get(self.mark, "none")
                return f'<path d="M1 7h24" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dashes}"/>'


def page(title: str, about: Iterable[str], body: Iterable[str], notes: Iterable[str] = ()) -> str:
    """The whole page.

    Args:
        title: plain text, also of the window.
        about: what is said below it: plain texts.
        body: parts as HTML: `plot`, `table`, `side_by_side`, `section`.
        notes: at the foot, plain texts.
    """
    from plotly.offline import get_plotlyjs

    assets = files("studies.pages")
    light, dark = (
        "".join(f"--c{key[1:]}: {value}; " for key, value in table)
        for table in (zip(DARK, DARK, strict=True), DARK.items())
    )
    style = (assets / "page.css").read_text().replace("/*LIGHT*/", light).replace("/*DARK*/", dark)
    both = {**DARK, **{_parts(key): _parts(value) for key, value in DARK.items()}}
    script = (assets / "page.js").read_text().replace("/*DARK*/ {}", json.dumps(both))
    foot = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>",
            f"<header><h1>{html.escape(title)}</h1>",
            f"<p>{html.escape(' · '.join(about))}</p></header>\n<main>",
            *body,
            f"</main>\n<footer>{foot}</footer>",
            f"<script>{get_plotlyjs()}</script>\n<script>\n{script}</script>\n</body>\n</html>\n",
        ]
    )


def plot(
    figure: go.Figure,
    name: str,
    keys: Sequence[Key] = (),
    *,
    caption: str = "",
    scale: str = "",
    command: str | None = None,
    height: str = "tall",
) -> str:
    """A figure with its legend above it.

    Args:
        figure: in the colours of a light page.
        name: of its element.
        keys: its legend.
        caption: its title, plain text; none where the page's says it.
        scale: HTML of `scale`.
        command: that shows a point, to which `customdata` of the point is appended; it can be copied after a click.
        height: `tall`, `low` or `square`.
    """
    legend = "".join(key.html() for key in keys) + scale
    picked = (
        ""
        if command is None
        else f'<p class="picked" data-command="{html.escape(command)} ">'
        "<span>Select a point for the command that shows it.</span> <code hidden></code> "
        '<button type="button" hidden>Copy</button></p>'
    )
    data = figure.to_json().replace("<", "\\u003c")
    return (
        '<figure class="plot">'
        + (f"<figcaption>{html.escape(caption)}</figcaption>" if caption else "")
        + (f'<div class="legend">{legend}</div>' if legend else "")
        + f'<div class="canvas {height}" id="{html.escape(name)}"></div>{picked}'
        + f'<script type="application/json" data-plot="{html.escape(name)}">{data}</script></figure>'
    )


def scale(name: str, low: str, high: str) -> str:
    """What the colours of `SHADES` mean: plain texts."""
    return f'<span class="scale">{html.escape(name)} {html.escape(low)} <i></i> {html.escape(high)}</span>'


def side_by_side(*parts: str) -> str:
    """Parts in a row; one below the other in a narrow window."""
    return f'<div class="row">{"".join(parts)}</div>'


def section(title: str, *parts: str) -> str:
    """A part of a page under a heading."""
    return f"<section><h2>{html.escape(title)}</h2>{''.join(parts)}</section>"


def words(*sentences: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html.escape(' '.join(sentences))}</p>"


def table(caption: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """An HTML table of plain texts that scrolls where it is too wide; columns of numbers are on the right."""
    names, cells = list(columns), [list(row) for row in rows]
    beside = ["" if all(map(_NUMBERS.fullmatch, column)) else ' class="text"' for column in zip(*cells, strict=True)]
    beside = beside or [""] * len(names)
    head = "".join(f"<th{how}>{html.escape(each)}</th>" for how, each in zip(beside, names, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{how}>{html.escape(each)}</td>" for how, each in zip(beside, row, strict=True)) + "</tr>"
        for row in cells
    )
    titled = f"<caption><span>{html.escape(caption)}</span></caption>" if caption else ""
    rows_html = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll" tabindex="0"><table>{titled}{rows_html}</table></div>'


_NUMBERS: Final = re.compile(r"(?:(?:± |[+−<>-])?[\d.,]++ ?(?:%|ms|[KMGTsmhd])?(?: to | )?)*|–|-")
"""What a cell of a column of numbers has: a number with its unit, an interval, a duration, or nothing. Digits are not
given back: there are twice as many ways to read a name of one more of them."""


PERCENT: Final[dict[str, Any]] = {
    "tickformatstops": [
        {"dtickrange": [None, 0.0009], "value": ".2%"},
        {"dtickrange": [0.0009, 0.009], "value": ".1%"},
        {"dtickrange": [0.009, None], "value": ".0%"},
    ]
}
"""Of an axis of shares: all of its ticks have as many digits."""

DECIMALS: Final[dict[str, Any]] = {
    "tickformatstops": [
        {"dtickrange": [None, 0.009], "value": ".3f"},
        {"dtickrange": [0.009, 0.09], "value": ".2f"},
        {"dtickrange": [0.09, 0.9], "value": ".1f"},
        {"dtickrange": [0.9, None], "value": ".0f"},
    ]
}
"""Of an axis of plain numbers, in the same way."""


def whole_ticks(count: int) -> dict[str, Any]:
    """Of an axis that counts from 1: no ticks between two numbers of few."""
    return {"tick0": 1, "dtick": 1} if count <= _WHOLE else {}


_WHOLE: Final = 10


def log_ticks(values: Iterable[float]) -> dict[str, Any]:
    """Of a logarithmic axis of costs: a few round numbers among the values, written as everywhere.

    >>> log_ticks([115_113, 331_000])["ticktext"]
    ['150K', '200K', '300K']
    """
    several = [value for value in values if value > 0]
    low, high = min(several) * 0.98, max(several) * 1.02
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        finer = [step * 10**decade for decade in decades for step in steps if low <= step * 10**decade <= high]
        if len(found) > 1 and len(finer) > _TICKS:
            break
        found = finer
        if len(found) > 2:
            break
    return {"tickmode": "array", "tickvals": found, "ticktext": _alike(found)}


def linear_ticks(low: float, high: float, most: int) -> dict[str, Any]:
    """Of a linear axis of costs from `low` to `high`: at most so many round numbers, in the unit of the largest.

    They have the digits that tell them apart.

    >>> linear_ticks(399e6, 401.2e6, most=7)["ticktext"], linear_ticks(0, 172_000, most=4)["ticktext"]
    (['399.0M', '399.5M', '400.0M', '400.5M', '401.0M'], ['0', '50K', '100K', '150K'])
    """
    exponent = math.floor(math.log10((high - low) / most))
    steps = ((factor * 10.0**power, power) for power in (exponent, exponent + 1) for factor in (1, 2, 5))
    step, power = next(each for each in steps if math.floor(high / each[0]) - math.ceil(low / each[0]) < most)
    found = [step * place for place in range(math.ceil(low / step), math.floor(high / step) + 1)]
    prefix, unit = next((each for each in _PREFIXES if found[-1] >= 10 ** each[0]), (0, ""))
    digits = max(prefix - power, 0)
    texts = [f"{value / 10**prefix:.{digits}f}{unit}" if value else "0" for value in found]
    return {"tickmode": "array", "tickvals": found, "ticktext": texts}


def _alike(values: Iterable[float]) -> list[str]:
    """Numbers as people write them, those of one unit with as many digits after the point."""
    parts = [(number, unit) for value in values for number, unit in _UNIT.findall(human(value))]
    digits = {unit: max(len(number.partition(".")[2]) for number, of in parts if of == unit) for _, unit in parts}
    return [f"{float(number):.{digits[unit]}f}{unit}" for number, unit in parts]


_PREFIXES: Final = ((12, "T"), (9, "G"), (6, "M"), (3, "K"))
"""Powers of ten with their letters."""
_UNIT: Final = re.compile(r"^([\d.]+)(.*)$")
_TICKS: Final = 6


def layout(narrow: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Of every figure: fonts, margins, hovers and axes; `narrow` is added on a phone, `more` replaces any."""
    title = {"standoff": 8, "font": {"size": 14}}
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID, "automargin": True, "title": title}
    return {
        "template": {"layout": {"xaxis": axis, "yaxis": axis}},
        "font": {"family": FONT, "size": 14, "color": INK}, "showlegend": False, "hovermode": "closest",
        "margin": {"l": 64, "r": 12, "t": 34, "b": 48}, "paper_bgcolor": PAPER, "plot_bgcolor": PAPER,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": FAINT, "activecolor": INK},
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": FAINT, "font": {"family": FONT, "size": 13, "color": INK},
                       "align": "left"},
        "meta": {"narrow": {"font": {"size": 12}, "margin": {"l": 44, "r": 4, "t": 10, "b": 40}, **(narrow or {})}},
        **more,
    }  # fmt: skip
