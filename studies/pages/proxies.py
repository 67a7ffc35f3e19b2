"""What proxies are worth as a page: how well each ranks networks, a proxy a row; the same against what it costs; and
the table of both."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces import Budget
from searchspaces.files import write_whole
from searchspaces.plural import number_of
from studies.pages.page import BLUE, DECIMALS, FAINT, PURPLE, RED, Key, layout, page, plot, table
from studies.proxy_agreement import verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go


_CEILING = "the highest τ that an exact proxy can reach, given the reference's own noise"
_CEILINGS: Final[Mapping[Any, str]] = {
    False: _CEILING,
    True: f"{_CEILING}. It is an upper bound: the trainings share their validation images, whose sampling noise is "
    "not included",
    None: f"{_CEILING}. It is an upper bound if the trainings share their validation images, whose sampling noise is "
    "then not included",
}
"""What the ceiling is, by whether the reference's trainings share validation images; None where nobody knows."""


def write_proxies(found: Mapping[str, Any], path: Path) -> None:
    """Draw the document of `nas proxy` into a file.

    Raises:
        UserError: the file cannot be written.
    """
    title = f"How well proxies rank networks of {found['space']}"
    write_whole(path, page(title, _about(found), proxies_parts(found), proxies_notes(found)))


def proxies_parts(found: Mapping[str, Any], name: str = "proxies") -> list[str]:
    """The plots, the first of which has that name, and the table, as HTML."""
    parts = [plot(proxies_figure(found), name, _keys(found))]
    if any(map(_is_timed, found["proxies"])):
        parts.append(plot(seconds_figure(found), f"{name}-seconds", _keys(found), caption=_SECONDS))
    return [*parts, _table(found)]


def proxies_notes(found: Mapping[str, Any]) -> list[str]:
    """What whiskers, colours and the ceiling are."""
    notes = [
        f"Whiskers: bootstrap intervals of {found['level']:.0%} over networks. Better or worse than counting: the "
        f"interval of the difference from the τ of {found['counting']}, the better count, is above or below 0; the "
        "intervals hold for all proxies at once. Seconds: per network on one device, which is shared if several run "
        "on it; recorded proxies and counting have none."
    ]
    if found["reference"]["ceiling"] is not None:
        notes.append(
            f"Ceiling: {_CEILINGS[found['reference'].get('shares_validation')]}. Corrected: the τ with a noise-free "
            "reference, by Spearman's correction for attenuation."
        )
    if any(one.get("found") is not None for one in found["proxies"]):
        notes.append(
            "Finds: the expected accuracy, in the reference, of a proxy's first choice among as many networks as it "
            "can estimate in the time that the most expensive proxy takes for a quarter of them."
        )
    return notes


_GROUPS: Final = {"better": RED, "alike": BLUE, "worse": PURPLE, "counting": FAINT}
_SECONDS: Final = "Agreement against time"


def _keys(found: Mapping[str, Any]) -> list[Key]:
    ceiling, there = found["reference"]["ceiling"], {_group(one) for one in found["proxies"]}
    names = {
        "better": "better than counting", "alike": "not distinguishable from counting", "worse": "worse than counting",
        "counting": "counting",
    }  # fmt: skip
    return [
        *(Key(names[group], colour, "disc", group) for group, colour in _GROUPS.items() if group in there),
        *([] if ceiling is None else [Key(f"ceiling {ceiling:.2f}", FAINT, "dash")]),
    ]


def proxies_figure(found: Mapping[str, Any]) -> go.Figure:
    """Agreement with the reference, the best proxy at the top, for a notebook."""
    import plotly.graph_objects as go

    ranked = _ranked(found)[::-1]  # from the bottom up
    names = [html.escape(one["proxy"]) for one in ranked]
    places = list(range(len(ranked)))
    broken = {"tickvals": places, "ticktext": [name.replace("+", "<br>+") for name in names]}
    figure = go.Figure(layout=layout(narrow={"yaxis": broken}))
    for group, colour in _GROUPS.items():
        grouped = [(place, one) for place, one in zip(places, ranked, strict=True) if _group(one) == group]
        rows = [(place, one) for place, one in grouped if one["tau"] is not None]
        if not grouped:
            continue
        figure.add_trace(
            go.Scatter(
                x=[one["tau"] for _, one in rows], y=[place for place, _ in rows], mode="markers", name=group,
                legendgroup=group, marker={"size": 11, "color": colour},
                error_x=_whiskers([one for _, one in rows], colour),
                text=[_hover(one) for _, one in rows], hovertemplate="%{text}<extra></extra>",
            )
        )  # fmt: skip
    ceiling = found["reference"]["ceiling"]
    if ceiling is not None:
        figure.add_vline(x=ceiling, line={"dash": "dash", "color": FAINT})
    figure.update_xaxes(
        title={"text": "Kendall's τ with the reference"}, zeroline=True, zerolinecolor=FAINT, **DECIMALS
    )
    figure.update_yaxes(tickvals=places, ticktext=names, range=[-0.6, len(ranked) - 0.4], fixedrange=True)
    return figure


def seconds_figure(found: Mapping[str, Any]) -> go.Figure:
    """Agreement with the reference against the seconds of a network, for a notebook.

    Counting takes no time, so the better count is a line. Proxies that cost the same, as a training and what it says by
    its loss, stand side by side.
    """
    import plotly.graph_objects as go

    timed = [one for one in _ranked(found) if _is_timed(one)]
    places, sides = _beside([one["seconds"] for one in timed])
    figure = go.Figure(layout=layout())
    for group, colour in _GROUPS.items():
        grouped = [each for each in zip(places, sides, timed, strict=True) if _group(each[2]) == group]
        if not grouped:
            continue
        rows = [one for _, _, one in grouped]
        figure.add_trace(
            go.Scatter(
                x=[place for place, _, _ in grouped], y=[one["tau"] for one in rows], mode="markers+text", name=group,
                legendgroup=group, marker={"size": 11, "color": colour}, error_y=_whiskers(rows, colour),
                text=[html.escape(one["proxy"]).replace("+", "<br>+") for one in rows],
                textposition=[side for _, side, _ in grouped], textfont={"size": 12, "color": colour},
                hovertext=[_hover(one) for one in rows], hovertemplate="%{hovertext}<extra></extra>",
                cliponaxis=False,
            )
        )  # fmt: skip
    counting = next((one for one in found["proxies"] if one["proxy"] == found["counting"]), None)
    if counting is not None and counting["tau"] is not None:
        figure.add_hline(
            y=counting["tau"], line={"color": FAINT}, annotation_text=f"counting {html.escape(counting['proxy'])}",
            annotation_position="top right", annotation_font_color=FAINT,
        )  # fmt: skip
    ceiling = found["reference"]["ceiling"]
    if ceiling is not None:
        figure.add_hline(
            y=ceiling, line={"dash": "dash", "color": FAINT}, annotation_text=f"ceiling {ceiling:.2f}",
            annotation_position="top right", annotation_font_color=FAINT,
        )  # fmt: skip
    low, high = math.log10(min(places)), math.log10(max(places))
    room = max(high - low, 0.5)
    figure.update_xaxes(
        type="log", title={"text": "seconds per network"}, range=[low - 0.2 * room, high + 0.3 * room],
        **_second_ticks(low, high),
    )  # fmt: skip
    figure.update_yaxes(
        title={"text": "Kendall's τ with the reference"}, zeroline=True, zerolinecolor=FAINT, **DECIMALS
    )
    return figure


def _second_ticks(low: float, high: float) -> dict[str, Any]:
    """Round numbers of seconds about a range of powers of ten.

    >>> _second_ticks(-1.0, 0.6)["ticktext"]
    ['0.1', '0.2', '0.5', '1', '2', '5', '10', '20', '50']
    """
    decades = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < _FEW_DECADES else (1,)
    found = [step * 10.0**decade for decade in decades for step in steps]
    return {"tickvals": found, "ticktext": [f"{each:g}" for each in found]} | {"tickmode": "array"}


_FEW_DECADES: Final = 2.5
_ALIKE: Final = 0.02
"""Of the width of the axis: durations that are closer are drawn side by side, so far from one another."""


def _beside(seconds: Sequence[float]) -> tuple[list[float], list[str]]:
    """Where durations are drawn on a logarithmic axis, and on which side their names stand.

    Those that are nearly equal stand a little apart, with names on both sides.

    >>> places, sides = _beside([1.0, 10.0, 1.0])
    >>> [round(place, 2) for place in places], sides
    ([0.98, 10.0, 1.02], ['top left', 'middle right', 'middle right'])
    """
    span = max(0.5, math.log10(max(seconds) / min(seconds)))
    found, sides = [0.0] * len(seconds), [_SIDES[-1]] * len(seconds)
    order = sorted(range(len(seconds)), key=lambda place: seconds[place])
    group: list[int] = []
    for at, place in enumerate(order):
        group.append(place)
        if at + 1 < len(order) and math.log10(seconds[order[at + 1]] / seconds[place]) <= _ALIKE * span:
            continue
        for nth, member in enumerate(sorted(group)):
            found[member] = seconds[member] * 10 ** (_ALIKE * span * (nth - (len(group) - 1) / 2))
            if len(group) > 1:
                sides[member] = _SIDES[0 if nth == 0 else -1 if nth + 1 == len(group) else 1]
        group = []
    return found, sides


_SIDES: Final = ("top left", "bottom left", "middle right")


def _whiskers(rows: Sequence[Mapping[str, Any]], colour: str) -> dict[str, Any]:
    return {
        "array": [one["interval"][1] - one["tau"] for one in rows],
        "arrayminus": [one["tau"] - one["interval"][0] for one in rows],
        "thickness": 1.5,
        "color": colour,
    }


def _is_timed(one: Mapping[str, Any]) -> bool:
    """Whether a proxy has a τ and takes time: counting does not, and what a recorded one took is not known."""
    recorded = isinstance(one.get("estimator"), Mapping) and one["estimator"].get("name") == "table"
    return one["tau"] is not None and one["seconds"] > 0 and not recorded


def _ranked(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The proxies, the one with the highest τ first; last those without any, which tell no two networks apart."""
    return sorted(found["proxies"], key=lambda one: (one["tau"] is None, -(one["tau"] or 0.0)))


def _group(one: Mapping[str, Any]) -> str:
    return verdict(one) or "counting"


def _hover(one: Mapping[str, Any]) -> str:
    within = f"τ {two_digits(one['tau'])} ({ends(one['interval'])})"
    return f"<b>{html.escape(one['proxy'])}</b><br>{within}<br>{one['seconds']:.3g} s per network"


def _about(found: Mapping[str, Any]) -> list[str]:
    reference, budget = found["reference"], found["budget"]
    return [
        f"{found['networks']} networks" + (f" within {Budget.parse(budget).words()}" if budget else ""),
        f"reference: {reference['estimator']}, {number_of(reference['trainings'], 'training')} of each network",
        f"costs at {found['task']}",
    ]


def _table(found: Mapping[str, Any]) -> str:
    columns = (
        "proxy", "τ", "interval", "corrected", "beyond counting", "ρ", "interval of ρ", "regret, points",
        best_of(found), "finds", "s/network",
    )  # fmt: skip
    rows = [
        (
            one["proxy"], two_digits(one["tau"]), ends(one["interval"]), two_digits(one.get("corrected")),
            ends(one.get("beyond_counting")), two_digits(one["spearman"]), ends(one.get("spearman_interval")),
            f"{100 * one['regret']:.2f}", "–" if one["top"] is None else f"{one['top']:.0%}",
            "–" if one.get("found") is None else f"{one['found']:.2%}", f"{one['seconds']:.3g}",
        )
        for one in _ranked(found)
    ]  # fmt: skip
    return table("Agreement with the reference", columns, rows)


def best_of(found: Mapping[str, Any]) -> str:
    """What the overlap is of: the number of networks that are the best ones.

    >>> best_of({"top": 10}), best_of({})  # as an earlier version wrote it
    ('best 10', 'best quarter')
    """
    return f"best {found['top']}" if "top" in found else "best quarter"


def two_digits(correlation: float | None) -> str:
    """A correlation; a dash where it is undefined.

    >>> two_digits(0.523), two_digits(None)
    ('0.52', '–')
    """
    return "–" if correlation is None else f"{correlation:.2f}"


def ends(interval: Sequence[float | None] | None) -> str:
    """An interval of a correlation; a dash where there is none.

    >>> ends([0.31, 0.7]), ends([None, None])
    ('0.31 to 0.70', '–')
    """
    low, high = interval or (None, None)
    return "–" if low is None or high is None else f"{low:.2f} to {high:.2f}"
