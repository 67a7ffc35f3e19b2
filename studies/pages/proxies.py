"""What proxies are worth as a page: how well each ranks networks, against what it costs, and the table."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces import Budget
from searchspaces.files import write_whole
from searchspaces.plural import number_of
from studies.pages.page import COLOURS, FAINT, Key, layout, page, plot, table

if TYPE_CHECKING:
    import plotly.graph_objects as go

FREE_S: Final = 1e-3
"""Where what costs nothing is drawn, on a logarithmic axis."""


def write_proxies(found: Mapping[str, Any], path: Path) -> None:
    """Draw the document of `nas proxy` into a file.

    Raises:
        UserError: the file cannot be written.
    """
    write_whole(path, page(f"Proxies in {found['space']}", _about(found), proxies_parts(found), proxies_notes(found)))


def proxies_parts(found: Mapping[str, Any], name: str = "proxies") -> list[str]:
    """The plot, which has that name, and the table, as HTML."""
    return [plot(proxies_figure(found), name, _keys(found)), _table(found)]


def proxies_notes(found: Mapping[str, Any]) -> list[str]:
    """What whiskers and the ceiling are."""
    return [
        f"Whiskers: bootstrap intervals of {found['level']:.0%} over networks. What costs nothing is drawn at "
        f"{FREE_S:g} s.",
        "Ceiling: the τ that the reference's own noise leaves to an exact proxy.",
    ]


def _keys(found: Mapping[str, Any]) -> list[Key]:
    keys = [
        Key(one["proxy"], COLOURS[place % len(COLOURS)], "disc", one["proxy"])
        for place, one in enumerate(found["proxies"])
    ]
    ceiling = found["reference"]["ceiling"]
    return keys if ceiling is None else [*keys, Key(f"ceiling {ceiling:.2f}", FAINT, "dash")]


def proxies_figure(found: Mapping[str, Any]) -> go.Figure:
    """Agreement with the reference against cost, for a notebook."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout())
    for place, one in enumerate(found["proxies"]):
        low, high = one["interval"]
        name, colour = html.escape(one["proxy"]), COLOURS[place % len(COLOURS)]
        figure.add_trace(
            go.Scatter(
                x=[max(one["seconds"], FREE_S)], y=[one["tau"]], name=name, mode="markers+text", text=[f"  {name}"],
                textposition="middle right", cliponaxis=False, legendgroup=one["proxy"],
                meta={"narrow": {"mode": "markers"}}, marker={"size": 11, "color": colour},
                error_y={"array": [high - one["tau"]], "arrayminus": [one["tau"] - low], "thickness": 1.5,
                         "color": colour},
                hovertemplate=f"<b>{name}</b><br>τ %{{y:.2f}} ({low:.2f} to {high:.2f})<br>{one['seconds']:.3g} s a "
                f"network<extra></extra>",
            )
        )  # fmt: skip
    ceiling = found["reference"]["ceiling"]
    if ceiling is not None:
        figure.add_hline(y=ceiling, line={"dash": "dash", "color": FAINT})
    most = max(one["seconds"] for one in found["proxies"])
    figure.update_xaxes(
        title={"text": "seconds for each network"}, type="log", dtick=1,
        range=[math.log10(FREE_S) - 0.3, math.log10(max(most, FREE_S)) + 1],
    )  # fmt: skip
    figure.update_yaxes(title={"text": "Kendall's τ"}, zeroline=True, zerolinecolor=FAINT)
    return figure


def _about(found: Mapping[str, Any]) -> list[str]:
    reference, budget = found["reference"], found["budget"]
    return [
        f"{found['networks']} networks" + (f" within {Budget.parse(budget).words()}" if budget else ""),
        f"reference: {reference['estimator']}, {number_of(reference['trainings'], 'training')} of each network",
        f"costs at {found['task']}",
    ]


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
