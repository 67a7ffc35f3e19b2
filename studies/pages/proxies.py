"""What proxies are worth as a page: how well each ranks networks, a proxy a row, and the table with what it costs."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces import Budget
from searchspaces.files import write_whole
from searchspaces.plural import number_of
from studies.pages.page import BLUE, DECIMALS, FAINT, RED, Key, layout, page, plot, table

if TYPE_CHECKING:
    import plotly.graph_objects as go


_CEILING = "the τ that the reference's own noise leaves to an exact proxy"
_CEILINGS: Final[Mapping[Any, str]] = {
    False: _CEILING,
    True: f"{_CEILING}, at most: its trainings share their validation images, and luck with these is not in it",
    None: f"{_CEILING}; at most, where its trainings share their validation images, as luck with these is not in it",
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
    """The plot, which has that name, and the table, as HTML."""
    return [plot(proxies_figure(found), name, _keys(found)), _table(found)]


def proxies_notes(found: Mapping[str, Any]) -> list[str]:
    """What whiskers, colours and the ceiling are."""
    notes = [
        f"Whiskers: bootstrap intervals of {found['level']:.0%} over networks. Better than counting: the interval of "
        f"the difference from the τ of {found['counting']}, the better count, is above 0."
    ]
    if found["reference"]["ceiling"] is not None:
        notes.append(f"Ceiling: {_CEILINGS[found['reference'].get('shares_validation')]}.")
    return notes


def _keys(found: Mapping[str, Any]) -> list[Key]:
    ceiling = found["reference"]["ceiling"]
    return [
        Key("better than counting", RED, "disc", "better"),
        Key("not told apart from counting, or worse", BLUE, "disc", "other"),
        Key("counting", FAINT, "disc", "counting"),
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
    for group, colour in (("better", RED), ("other", BLUE), ("counting", FAINT)):
        grouped = [(place, one) for place, one in zip(places, ranked, strict=True) if _group(one) == group]
        rows = [(place, one) for place, one in grouped if one["tau"] is not None]
        figure.add_trace(
            go.Scatter(
                x=[one["tau"] for _, one in rows], y=[place for place, _ in rows], mode="markers", name=group,
                legendgroup=group, marker={"size": 11, "color": colour},
                error_x={"array": [one["interval"][1] - one["tau"] for _, one in rows],
                         "arrayminus": [one["tau"] - one["interval"][0] for _, one in rows],
                         "thickness": 1.5, "color": colour},
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


def _ranked(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The proxies, the one with the highest τ first; last those without any, which tell no two networks apart."""
    return sorted(found["proxies"], key=lambda one: (one["tau"] is None, -(one["tau"] or 0.0)))


def _group(one: Mapping[str, Any]) -> str:
    beyond = one.get("beyond_counting")
    return "counting" if beyond is None else "better" if (beyond[0] or 0) > 0 else "other"


def _hover(one: Mapping[str, Any]) -> str:
    within = f"τ {two_digits(one['tau'])} ({ends(one['interval'])})"
    return f"<b>{html.escape(one['proxy'])}</b><br>{within}<br>{one['seconds']:.3g} s a network"


def _about(found: Mapping[str, Any]) -> list[str]:
    reference, budget = found["reference"], found["budget"]
    return [
        f"{found['networks']} networks" + (f" within {Budget.parse(budget).words()}" if budget else ""),
        f"reference: {reference['estimator']}, {number_of(reference['trainings'], 'training')} of each network",
        f"costs at {found['task']}",
    ]


def _table(found: Mapping[str, Any]) -> str:
    columns = ("proxy", "τ", "interval", "beyond counting", "ρ", "regret, points", "best quarter", "s/network")
    rows = [
        (
            one["proxy"], two_digits(one["tau"]), ends(one["interval"]), ends(one.get("beyond_counting")),
            two_digits(one["spearman"]), f"{100 * one['regret']:.2f}", f"{one['top']:.0%}", f"{one['seconds']:.3g}",
        )
        for one in _ranked(found)
    ]  # fmt: skip
    return table("Agreement with the reference", columns, rows)


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
