"""The plot of a family: what its members cost beside the base scaled in one dimension alone, and how candidates did.

On the left, where candidates were trained, a triangle: each by the shares of depth, width and resolution in its growth,
coloured by its accuracy; at the corners is what grows in one of them alone. Where none was trained, by how much each
member computes more than the one before, truly and by the formula. On the right, parameters against MACs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from searchspaces import human
from studies.pages.page import COLOURS, FAINT, GRID, INK, heading, layout, page, table

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SINGLE: Final = {"depth": "depth alone", "width": "width alone", "resolution": "resolution alone"}
_SHADES: Final = [[0.0, "#dbe7fb"], [0.5, "#5a8dee"], [1.0, "#14306e"]]
_TRUE, _CHOSEN = COLOURS[0], COLOURS[1]


def family_html(document: Mapping[str, Any]) -> str:
    """The whole page, of what `family.json` holds."""
    notes = [
        "One MAC is one multiply and one add; papers call the same number FLOPs or mult-adds, torch prints twice it. "
        "Depths are rounded up, widths to multiples of 8, image sizes to even numbers: so true MACs differ."
    ]
    if "trained" in document:
        notes.append("Accuracies are those of the proxy training: good for ranking, not for quoting.")
    name = f"{document['base']['name']} and its family"
    return page(family_figure(document), "family", name, notes, _tables(document))


def family_figure(document: Mapping[str, Any]) -> go.Figure:
    """The figure, for a notebook; `family_html` makes a page of it."""
    from plotly.subplots import make_subplots

    trained = document.get("trained")
    figure = make_subplots(
        cols=2, specs=[[{"type": "ternary" if trained else "xy"}, {"type": "xy"}]], horizontal_spacing=0.12,
        column_widths=[0.42, 0.58],
    )  # fmt: skip
    if trained:
        _draw_candidates(figure, trained)
    else:
        _draw_ratios(figure, document)
    _draw_sizes(figure, document)
    chosen = document["coefficients"]
    factors = ", ".join(f"{name} {chosen[name]:g}" for name in ("depth", "width", "resolution") if name in chosen)
    about = f"{factors or 'factors'} ({chosen['how']}) · {document['target']:g} times the MACs a step are meant"
    if trained:
        about += f" · {len(trained)} candidates trained"
    figure.update_layout(layout(heading(f"{document['base']['name']} and its family", about)))
    figure.update_layout(margin={"t": 116})
    return figure


def _draw_candidates(figure: go.Figure, trained: list[dict[str, Any]]) -> None:
    """Each candidate by the shares of its growth; the chosen one is the first."""
    import plotly.graph_objects as go

    trained = trained[::-1]  # the best are drawn last, over others in the same place
    shares = [[math.log(one["depth"]), 2 * math.log(one["width"]), 2 * math.log(one["resolution"])] for one in trained]
    depth, width, resolution = ([share[index] / sum(share) for share in shares] for index in range(3))
    accuracies = [one["accuracy"] for one in trained]
    figure.add_trace(
        go.Scatterternary(
            a=depth, b=width, c=resolution, mode="markers", text=[_hover(one) for one in trained], showlegend=False,
            hovertemplate="%{text}<extra></extra>", cliponaxis=False,
            marker={
                "size": [12] * (len(trained) - 1) + [20], "symbol": ["circle"] * (len(trained) - 1) + ["star"],
                "color": accuracies, "colorscale": _SHADES, "opacity": 1,
                "line": {"width": [0.5] * (len(trained) - 1) + [2], "color": [INK] * (len(trained) - 1) + [_CHOSEN]},
                "colorbar": {"title": {"text": "accuracy", "side": "top"}, "tickformat": ".1~%", "thickness": 10,
                             "orientation": "h", "len": 0.3, "x": 0.21, "xanchor": "center", "y": -0.04, "nticks": 5},
            },
        ), row=1, col=1,
    )  # fmt: skip
    axis = {"gridcolor": GRID, "linecolor": FAINT, "showticklabels": False, "ticks": "", "min": 0}
    figure.update_ternaries(
        aaxis={**axis, "title": {"text": "depth<br> "}}, baxis={**axis, "title": {"text": " <br>width"}},
        caxis={**axis, "title": {"text": " <br>resolution"}}, bgcolor="#fff",
        domain={"x": [0.02, 0.40], "y": [0.20, 0.95]},
    )  # fmt: skip


def _draw_ratios(figure: go.Figure, document: Mapping[str, Any]) -> None:
    """How much more each member computes than the one before."""
    import plotly.graph_objects as go

    members = document["members"]
    phis = [one["phi"] for one in members[1:]]
    true = [one["ratio"] for one in members[1:]]
    formula = [one["formula"] / before["formula"] for before, one in itertools.pairwise(members)]
    figure.add_trace(
        go.Bar(x=phis, y=true, name="true MACs", marker={"color": _TRUE}, showlegend=False,
               hovertemplate="φ = %{x}: %{y:.2f} times the one before<extra></extra>"), row=1, col=1,
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(x=phis, y=formula, name="by the formula", mode="markers", showlegend=False,
                   marker={"symbol": "line-ew", "size": 26, "line": {"width": 3, "color": _CHOSEN}},
                   hovertemplate="φ = %{x}: %{y:.2f} by the formula<extra></extra>"), row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(title={"text": "φ (bars: true MACs; lines: the formula)"}, dtick=1, row=1, col=1)
    figure.update_yaxes(title={"text": "times the MACs of the one before"}, gridcolor=GRID, rangemode="tozero",
                        row=1, col=1)  # fmt: skip


def _draw_sizes(figure: go.Figure, document: Mapping[str, Any]) -> None:
    """Parameters against MACs: the family, and the base scaled in one dimension alone."""
    import plotly.graph_objects as go

    for colour, (dimension, several) in zip(COLOURS[2:], document["alone"].items(), strict=False):
        text = [f"φ = {one['phi']:g}: {_SINGLE[dimension]}, x {one['factor']:.3g}<br>{_costs(one)}" for one in several]
        figure.add_trace(
            go.Scatter(
                x=[one["macs"] for one in several], y=[one["params"] for one in several], mode="lines+markers",
                name=_SINGLE[dimension], text=text, hovertemplate="%{text}<extra></extra>",
                line={"color": colour, "width": 1.5, "dash": "dot"}, marker={"size": 6},
            ), row=1, col=2,
        )  # fmt: skip
    members = document["members"]
    figure.add_trace(
        go.Scatter(
            x=[one["macs"] for one in members], y=[one["params"] for one in members], mode="lines+markers+text",
            name="the family", text=[f"{one['phi']:g}" for one in members], textposition="top left",
            customdata=[f"φ = {one['phi']:g}<br>{_hover(one)}" for one in members],
            hovertemplate="%{customdata}<extra></extra>", textfont={"color": _TRUE, "size": 13},
            line={"color": _TRUE, "width": 2.5}, marker={"size": 9},
        ), row=1, col=2,
    )  # fmt: skip
    log = {"type": "log", "tickformat": "~s", "gridcolor": GRID, "dtick": "D2"}
    figure.update_xaxes(**log, title={"text": "MACs (multiply-adds)"}, row=1, col=2)
    figure.update_yaxes(**log, title={"text": "parameters"}, row=1, col=2)


def _costs(one: Mapping[str, Any]) -> str:
    return f"{human(one['macs'])} MACs, {human(one['params'])} parameters"


def _hover(one: Mapping[str, Any]) -> str:
    lines = [f"depth x {one['depth']:.4g}, width x {one['width']:.4g}, image x {one['resolution']:.4g}"]
    lines.append(f"{_costs(one)}, {one['image_size']} pixels")
    if one.get("accuracy") is not None:
        error = one.get("standard_error")
        lines.append(f"<b>{one['accuracy']:.2%}</b>" + (f" ± {error:.2%}" if error is not None else ""))
    return "<br>".join(lines)


def _tables(document: Mapping[str, Any]) -> str:
    """The family, and the best candidates."""
    rows = [
        [f"{one['phi']:g}", f"{one['depth']:.4g}", f"{one['width']:.4g}", f"{one['resolution']:.4g}",
         str(one["image_size"]), f"{one['macs']:,}", "" if one["ratio"] is None else f"{one['ratio']:.2f}",
         f"{one['params']:,}"] for one in document["members"]
    ]  # fmt: skip
    columns = ("φ", "depth x", "width x", "image x", "pixels", "MACs", "to the one before", "parameters")
    found = table("The family", columns, rows)
    if "trained" in document:
        best = [
            [f"{one['depth']:g}, {one['width']:g}, {one['resolution']:g}", f"{one['accuracy']:.2%}",
             "" if one["standard_error"] is None else f"± {one['standard_error']:.2%}", f"{one['ratio']:.3f}",
             f"{one['formula']:.2f}"] for one in document["trained"][:8]
        ]  # fmt: skip
        found += table("The best candidates", ("factors", "accuracy", "std. error", "true MACs", "formula"), best)
    return found
