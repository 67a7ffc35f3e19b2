"""How our pages look: ink and fonts, and a frame of HTML that needs nothing but a browser."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import plotly.graph_objects as go

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
FONT: Final = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
COLOURS: Final = ("#1a3e8c", "#d64545", "#2f855a", "#b7791f", "#6b46c1", "#0e7490", "#b83280", "#4a5568")
"""Of things without an order, told apart by people who see colours differently too, beside their names."""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html, body {{ margin: 0; height: 100%; background: #fff; color: {ink}; font-family: {font}; }}
body {{ display: flex; flex-direction: column; min-height: 560px; }}
main {{ {height}; min-height: 0; }}
main > div {{ height: 100%; }}
section {{ padding: 4px 28px 8px 84px; display: flex; flex-wrap: wrap; gap: 8px 56px; align-items: flex-start; }}
table {{ border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; font-weight: 600; padding: 6px 0; }}
th {{ text-align: right; font-weight: 500; color: {faint}; border-bottom: 1px solid {grid}; }}
td {{ text-align: right; border-bottom: 1px solid {grid}; white-space: nowrap; }}
th, td {{ padding: 4px 0 4px 20px; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
footer {{ padding: 2px 28px 14px 84px; font-size: 12px; line-height: 1.5; color: {faint}; }}
</style>
</head>
<body>
<main>{plot}</main>{below}
<footer>{notes}</footer>
<script>dispatchEvent(new Event("resize")); /* the figure was drawn before what is below it was there */</script>
</body>
</html>
"""


def page(figure: go.Figure, name: str, title: str, notes: Iterable[str], below: str = "") -> str:
    """The whole page.

    Args:
        figure: drawn as large as the window allows.
        name: of its element.
        title: of the window, as plain text.
        notes: lines at the foot, as HTML.
        below: HTML between the figure and the notes, such as `table` or `beside`.
    """
    plot = _element(figure, name, "100%", library=True)
    return _PAGE.format(
        title=html.escape(title),
        plot=plot,
        notes="<br>".join(notes),
        below=f"\n<section>{below}</section>" if below else "",
        height="flex: none; height: max(480px, 62vh)" if below else "flex: 1",
        ink=INK,
        faint=FAINT,
        grid=GRID,
        font=FONT,
    )


def beside(figure: go.Figure, name: str) -> str:
    """A second figure, smaller, for the place below the first one."""
    style = (
        "flex: none; width: calc(100% + 112px); margin: 0 -28px 0 -84px; overflow: hidden"  # as wide as the first one
    )
    return f'<div style="{style}">{_element(figure, name, "360px", library=False)}</div>'


def _element(figure: go.Figure, name: str, height: str, library: bool) -> str:
    return str(
        figure.to_html(
            full_html=False,
            include_plotlyjs=library,
            div_id=name,
            default_height=height,
            config={"displaylogo": False, "responsive": True, "doubleClick": "autosize"},
        )
    )


def table(caption: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """An HTML table of plain texts; the first column is on the left, the others on the right."""
    head = "".join(f"<th>{html.escape(each)}</th>" for each in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def heading(title: str, subtitle: str) -> dict[str, Any]:
    """A figure's title and what is said below it, as plain texts."""
    return {
        "text": f"<b>{html.escape(title)}</b>",
        "subtitle": {"text": html.escape(subtitle), "font": {"size": 14, "color": FAINT}},
        "x": 0, "xref": "paper", "xanchor": "left", "y": 0.97, "yanchor": "top", "font": {"size": 22},
    }  # fmt: skip


def layout(title: dict[str, Any]) -> dict[str, Any]:
    """Of every figure: template, fonts, margins, legend, hovers."""
    return {
        "template": "plotly_white", "title": title, "font": {"family": FONT, "size": 14, "color": INK},
        "hovermode": "closest", "margin": {"l": 84, "r": 28, "t": 92, "b": 56}, "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom"},
        "hoverlabel": {"bgcolor": "#fff", "bordercolor": GRID, "font": {"family": FONT, "size": 13, "color": INK},
                       "align": "left"},
    }  # fmt: skip
