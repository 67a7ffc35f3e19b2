"""What proxies are worth as a page: how well each ranks networks, against what it costs, and the table."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from searchspaces.files import write_whole
from studies.pages.page import COLOURS, FAINT, GRID, heading, layout, page, table

FREE_S: Final = 1e-3
"""Where what costs nothing is drawn, on a logarithmic axis."""


def write_proxies(found: Mapping[str, Any], path: Path) -> None:
    """Draw the document of `nas proxy` into a file.

    Raises:
        UserError: the file cannot be written.
    """
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout(heading(f"Proxies in {found['space']}", _about(found))))
    for place, one in enumerate(found["proxies"]):
        low, high = one["interval"]
        name = html.escape(one["proxy"])
        figure.add_trace(
            go.Scatter(
                x=[max(one["seconds"], FREE_S)], y=[one["tau"]], name=name, mode="markers+text", text=[f"  {name}"],
                textposition="middle right", cliponaxis=False,
                marker={"size": 11, "color": COLOURS[place % len(COLOURS)]},
                error_y={"array": [high - one["tau"]], "arrayminus": [one["tau"] - low], "thickness": 1.5,
                         "color": COLOURS[place % len(COLOURS)]},
                hovertemplate=f"<b>{name}</b><br>τ %{{y:.2f}} ({low:.2f} to {high:.2f})<br>{one['seconds']:.3g} s a "
                f"network<extra></extra>",
            )
        )  # fmt: skip
    ceiling = found["reference"]["ceiling"]
    if ceiling is not None:
        words = f"ceiling {ceiling:.2f}: an exact proxy against this reference"
        figure.add_hline(y=ceiling, line={"dash": "dash", "color": FAINT}, annotation_text=words,
                         annotation_position="bottom right")  # fmt: skip
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title="seconds a network", type="log", dtick=1, gridcolor=GRID)
    figure.update_yaxes(title="Kendall's τ", gridcolor=GRID, zeroline=True, zerolinecolor=FAINT)
    notes = [
        f"Whiskers: bootstrap intervals of {found['level']:.0%} over networks. What costs nothing is drawn at "
        f"{FREE_S:g} s.",
        "Ceiling: the τ that the reference's own noise leaves to an exact proxy.",
    ]
    write_whole(path, page(figure, "proxies", f"Proxies in {found['space']}", notes, _table(found)))


def _about(found: Mapping[str, Any]) -> str:
    reference = found["reference"]
    return " · ".join(
        [
            f"{found['networks']} networks" + (f" within {found['budget']}" if found["budget"] else ""),
            f"reference: {reference['estimator']}, trained {reference['trainings']} times",
            f"costs at {found['task']}",
        ]
    )


def _table(found: Mapping[str, Any]) -> str:
    columns = ("proxy", "τ", "interval", "ρ", "regret, points", "best quarter", "seconds")
    rows = [
        (
            one["proxy"], f"{one['tau']:.2f}", "{:.2f} to {:.2f}".format(*one["interval"]), f"{one['spearman']:.2f}",
            f"{100 * one['regret']:.2f}", f"{one['top']:.0%}", f"{one['seconds']:.3g}",
        )
        for one in found["proxies"]
    ]  # fmt: skip
    return table("Agreement with the reference", columns, rows)
