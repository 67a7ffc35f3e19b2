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

from searchspaces.cost import three_digits
from studies.pages.page import (
    AMBER,
    BLUE,
    DECIMALS,
    FAINT,
    GREEN,
    GRID,
    INK,
    PAPER,
    PURPLE,
    RED,
    SHADES,
    Key,
    layout,
    log_ticks,
    page,
    plot,
    scale,
    side_by_side,
    table,
)  # fmt: skip

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SINGLE: Final = {"depth": "depth alone", "width": "width alone", "resolution": "resolution alone"}
_TRUE, _CHOSEN = BLUE, RED
_ALONE: Final = (GREEN, AMBER, PURPLE)


def family_html(document: Mapping[str, Any]) -> str:
    """The whole page, of what `family.json` holds."""
    notes = [
        "One MAC is one multiply and one add; papers call the same number FLOPs or mult-adds; torch prints twice as "
        "much. Depths are rounded up, widths to multiples of 8, and image sizes to even numbers, so true MACs differ "
        "from the formula."
    ]
    trained, unit = document.get("trained"), document.get("estimates")
    if trained:
        of_proxy = "Accuracies come from the proxy training, not from full training."
        notes.append(of_proxy if unit is None else f"Each estimate is a {unit}.")
    chosen = document["coefficients"]
    factors = ", ".join(f"{name} {chosen[name]:g}" for name in ("depth", "width", "resolution") if name in chosen)
    about = [f"{factors or 'factors'} ({chosen['how']})", f"each step should multiply MACs by {document['target']:g}"]
    about += [f"{len(trained)} candidates trained"] if trained else []
    sizes = plot(
        sizes_figure(document), "sizes", caption="Parameters and MACs",
        keys=[Key("the family, by φ", _TRUE, "line", "family")]
        + [Key(_SINGLE[one], colour, "dot", one) for colour, one in zip(_ALONE, document["alone"], strict=False)],
    )  # fmt: skip
    if trained:
        accuracies = [one["accuracy"] for one in trained]
        first = plot(
            candidates_figure(trained, unit), "candidates", [Key("chosen", _CHOSEN, "star")],
            caption="Candidates, by share of growth per dimension",
            scale=scale(_name(unit), _written(min(accuracies), unit), _written(max(accuracies), unit)),
        )  # fmt: skip
    else:
        first = plot(
            ratios_figure(document), "ratios", [Key("true MACs", _TRUE, "bar"), Key("by the formula", _CHOSEN, "line")],
            caption="MACs of each member relative to the previous one",
        )  # fmt: skip
    title = f"{document['base']['name']} and its family"
    return page(title, about, [side_by_side(first, sizes), _tables(document)], notes)


def candidates_figure(trained: list[dict[str, Any]], unit: str | None = None) -> go.Figure:
    """Each candidate by the shares of its growth, for a notebook; the chosen one is the first.

    Args:
        trained: candidates of `family.json`.
        unit: of the estimates, if they are no accuracies.
    """
    import plotly.graph_objects as go

    figure = go.Figure(
        layout=layout(
            margin={"l": 80, "r": 80, "t": 40, "b": 40},
            narrow={"margin": {"l": 30, "r": 44, "t": 30, "b": 30}},
        )
    )
    trained = trained[::-1]  # the best are drawn last, over others in the same place
    shares = [[math.log(one["depth"]), 2 * math.log(one["width"]), 2 * math.log(one["resolution"])] for one in trained]
    depth, width, resolution = ([share[index] / sum(share) for share in shares] for index in range(3))
    figure.add_trace(
        go.Scatterternary(
            a=depth, b=width, c=resolution, mode="markers", text=[_hover(one, unit) for one in trained],
            hovertemplate="%{text}<extra></extra>", cliponaxis=False,
            marker={
                "size": [12] * (len(trained) - 1) + [20], "symbol": ["circle"] * (len(trained) - 1) + ["star"],
                "color": [one["accuracy"] for one in trained], "colorscale": SHADES, "opacity": 1,
                "line": {"width": [0.5] * (len(trained) - 1) + [2], "color": [INK] * (len(trained) - 1) + [_CHOSEN]},
            },
        )
    )  # fmt: skip
    axis = {"gridcolor": GRID, "linecolor": FAINT, "showticklabels": False, "ticks": "", "min": 0}
    figure.update_ternaries(
        aaxis={**axis, "title": {"text": "depth"}}, baxis={**axis, "title": {"text": "width"}},
        caxis={**axis, "title": {"text": "resolution"}}, bgcolor=PAPER,
    )  # fmt: skip
    return figure


def ratios_figure(document: Mapping[str, Any]) -> go.Figure:
    """How much more each member computes than the one before, for a notebook."""
    import plotly.graph_objects as go

    members = document["members"]
    phis = [f"{one['phi']:g}" for one in members[1:]]
    true = [one["ratio"] for one in members[1:]]
    formula = [one["formula"] / before["formula"] for before, one in itertools.pairwise(members)]
    figure = go.Figure(layout=layout())
    figure.add_trace(
        go.Bar(x=phis, y=true, name="true MACs", marker={"color": _TRUE},
               hovertemplate="φ = %{x}: %{y:.2f} times the previous one<extra></extra>")
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(x=phis, y=formula, name="by the formula", mode="markers",
                   marker={"symbol": "line-ew", "size": 26, "line": {"width": 3, "color": _CHOSEN}},
                   hovertemplate="φ = %{x}: %{y:.2f} by the formula<extra></extra>")
    )  # fmt: skip
    figure.update_xaxes(title={"text": "φ"}, type="category")
    figure.update_yaxes(title={"text": "ratio of MACs"}, rangemode="tozero", **DECIMALS)
    return figure


def sizes_figure(document: Mapping[str, Any]) -> go.Figure:
    """Parameters against MACs, for a notebook: the family, and the base scaled in one dimension alone."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout())
    for colour, (dimension, several) in zip(_ALONE, document["alone"].items(), strict=False):
        text = [f"φ = {one['phi']:g}: {_SINGLE[dimension]}, ×{one['factor']:.3g}<br>{_costs(one)}" for one in several]
        figure.add_trace(
            go.Scatter(
                x=[one["macs"] for one in several], y=[one["params"] for one in several], mode="lines+markers",
                name=_SINGLE[dimension], text=text, hovertemplate="%{text}<extra></extra>", legendgroup=dimension,
                line={"color": colour, "width": 1.5, "dash": "dot"}, marker={"size": 6},
            )
        )  # fmt: skip
    members = document["members"]
    figure.add_trace(
        go.Scatter(
            x=[one["macs"] for one in members], y=[one["params"] for one in members], mode="lines+markers+text",
            name="the family", text=[f"{one['phi']:g}" for one in members], textposition="bottom right",
            hovertext=[f"φ = {one['phi']:g}<br>{_hover(one, document.get('estimates'))}" for one in members],
            hovertemplate="%{hovertext}<extra></extra>", textfont={"color": _TRUE, "size": 13},
            line={"color": _TRUE, "width": 2.5}, marker={"size": 9}, legendgroup="family",
        )
    )  # fmt: skip
    drawn = [*members, *itertools.chain.from_iterable(document["alone"].values())]
    macs, params = ([float(one[name]) for one in drawn] for name in ("macs", "params"))
    figure.update_xaxes(type="log", tickangle=0, **log_ticks(macs), title={"text": "MACs (multiply-adds)"})
    figure.update_yaxes(type="log", **log_ticks(params), title={"text": "parameters"})
    return figure


def _costs(one: Mapping[str, Any]) -> str:
    return f"{three_digits(one['macs'])} MACs, {three_digits(one['params'])} parameters"


def _hover(one: Mapping[str, Any], unit: str | None) -> str:
    lines = [f"depth ×{one['depth']:.4g}, width ×{one['width']:.4g}, image ×{one['resolution']:.4g}"]
    lines.append(f"{_costs(one)}, {one['image_size']} pixels")
    if one.get("accuracy") is not None:
        lines.append(f"<b>{_within(one, unit)}</b>")
    return "<br>".join(lines)


def _within(one: Mapping[str, Any], unit: str | None) -> str:
    error = one.get("standard_error")
    return _written(one["accuracy"], unit) + ("" if error is None else f" ± {_written(error, unit)}")


def _written(estimate: float, unit: str | None) -> str:
    return f"{estimate:.1%}" if unit is None else f"{estimate:.4f}"


def _name(unit: str | None) -> str:
    return "accuracy" if unit is None else unit.partition(",")[0]


def _tables(document: Mapping[str, Any]) -> str:
    """The family, and the best candidates."""
    unit = document.get("estimates")
    rows = [
        [f"{one['phi']:g}", f"{one['depth']:.4g}", f"{one['width']:.4g}", f"{one['resolution']:.4g}",
         str(one["image_size"]), three_digits(one["macs"]), "" if one["ratio"] is None else f"{one['ratio']:.2f}",
         three_digits(one["params"])] for one in document["members"]
    ]  # fmt: skip
    columns = ("φ", "depth ×", "width ×", "image ×", "px", "MACs", "growth", "parameters")
    found = table("The family", columns, rows)
    if "trained" in document:
        best = [
            [f"{one['depth']:g}, {one['width']:g}, {one['resolution']:g}", _within(one, unit),
             f"{one['ratio']:.3f}",
             f"{one['formula']:.2f}"] for one in document["trained"][:8]
        ]  # fmt: skip
        found += table("The best candidates", ("factors", _name(unit), "true growth", "by the formula"), best)
    return found
