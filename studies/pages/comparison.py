"""The page of a comparison: best-so-far curves with their bands, what each seed reached, and the tables.

One HTML file that needs nothing but a browser.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from studies.pages.page import COLOURS, GRID, heading, layout, page, table

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from studies.comparison import Comparison, Contestant

_DASHES = ("solid", "dash", "dot", "dashdot")


def curves_html(comparison: Comparison) -> str:
    """The whole page."""
    found = comparison
    level = f"{found.confidence:.0%}"
    notes = [
        f"Bands and whiskers: {level} bootstrap intervals of the mean over seeds, {found.resamples:,} resamples, "
        "expanded for few seeds; with fewer than five they are still too narrow.",
        "Ahead: the share of seeds on which the first is ahead of the second, ties counted half. Better: the share of "
        "resamples in which its mean is, that is the probability that it is better on average.",
    ]
    if found.measure == "accuracy":
        notes.append(
            "The best observed accuracy flatters whoever observes much noise: of many alike the luckiest is taken."
        )
    else:
        notes.append(
            "Regret: how far the true accuracy of the network with the best observed one is below the best there is."
        )
    title = f"{found.conditions['space']}: {', '.join(each.name for each in found.contestants)}"
    return page(curves_figure(found), "curves", title, notes, _tables(found))


def curves_figure(comparison: Comparison) -> go.Figure:
    """The figure, for a notebook; `curves_html` makes a page of it."""
    from plotly.subplots import make_subplots

    right = min(0.12 + 0.04 * len(comparison.contestants), 0.45)
    figure = make_subplots(cols=2, shared_yaxes=True, column_widths=[1 - right, right], horizontal_spacing=0.02)
    for place, contestant in enumerate(comparison.contestants):
        _draw(figure, contestant, place, comparison)
    _dress(figure, comparison)
    return figure


def _draw(figure: go.Figure, contestant: Contestant, place: int, comparison: Comparison) -> None:
    """A contestant's curve on the left, its seeds and their mean on the right."""
    import plotly.graph_objects as go

    colour, dash = COLOURS[place % len(COLOURS)], _DASHES[place // len(COLOURS) % len(_DASHES)]
    name, scale, unit = html.escape(contestant.name), _scale(comparison), _unit(comparison)
    curve = contestant.curve
    group: dict[str, Any] = {"legendgroup": str(place), "name": name}
    if len(contestant.seeds) > 1:
        for bound, fill in ((curve.high, None), (curve.low, "tonexty")):
            figure.add_trace(
                go.Scatter(
                    x=curve.trials, y=(scale * bound).tolist(), mode="lines", hoverinfo="skip", showlegend=False,
                    line={"shape": "hv", "width": 0, "color": colour}, fill=fill, fillcolor=_pale(colour), **group,
                ), row=1, col=1,
            )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=curve.trials, y=(scale * curve.mean).tolist(), mode="lines" if len(curve.trials) > 1 else "markers",
            line={"shape": "hv", "color": colour, "width": 2.5, "dash": dash},
            hovertemplate=f"<b>{name}</b><br>%{{y:{unit}}} after %{{x}} trials<extra></extra>", **group,
        ), row=1, col=1,
    )  # fmt: skip
    seeds = len(contestant.seeds)
    aside = 0.3 * np.linspace(-1, 1, seeds) if seeds > 1 else np.zeros(1)
    figure.add_trace(
        go.Scatter(
            x=(place + aside).tolist(), y=(scale * contestant.values).tolist(), mode="markers", showlegend=False,
            customdata=contestant.seeds, marker={"size": 6 if seeds <= 40 else 4, "color": colour, "opacity": 0.4},
            hovertemplate=f"<b>{name}</b><br>seed %{{customdata}}: %{{y:{unit}}}<extra></extra>", **group,
        ), row=1, col=2,
    )  # fmt: skip
    if contestant.interval is None:
        return
    low, high = contestant.interval
    figure.add_trace(
        go.Scatter(
            x=[place], y=[scale * contestant.mean], mode="markers", showlegend=False,
            marker={"size": 10, "color": colour, "symbol": "diamond", "line": {"width": 1.5, "color": "#fff"}},
            error_y={"array": [scale * (high - contestant.mean)], "arrayminus": [scale * (contestant.mean - low)],
                     "color": colour, "thickness": 2, "width": 6},
            hovertemplate=f"<b>{name}</b><br>mean %{{y:{unit}}}<extra></extra>", **group,
        ), row=1, col=2,
    )  # fmt: skip


def _dress(figure: go.Figure, comparison: Comparison) -> None:
    """Titles, axes and legend."""
    conditions, contestants = comparison.conditions, comparison.contestants
    title = str(conditions["space"]) + (f" within {conditions['budget']}" if conditions["budget"] else "")
    seeds = sorted({len(each.seeds) for each in contestants})
    over = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    about = [
        f"after {comparison.trials} trials",
        f"{over} seed{'s' * (over != '1')} each",
        str(conditions["estimator"]),
        f"costs at {conditions['task']}",
    ]
    figure.update_layout(layout(heading(title, " · ".join(about))), barmode="overlay")
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_xaxes(
        title={"text": "trials that ended", "font": {"size": 14}}, range=[0, comparison.trials * 1.01], row=1, col=1
    )
    figure.update_xaxes(
        tickvals=list(range(len(contestants))), ticktext=[html.escape(each.name) for each in contestants],
        range=[-0.6, len(contestants) - 0.4], showgrid=False,
        showticklabels=max(len(each.name) for each in contestants) <= 10, row=1, col=2,
        title={"text": f"each seed after {comparison.trials}", "font": {"size": 14}},
    )  # fmt: skip
    regret = comparison.measure == "regret"
    said = "mean regret (percentage points)" if regret else "best validation accuracy so far, mean"
    figure.update_yaxes(gridcolor=GRID, zeroline=False, range=_range(comparison), tickformat="" if regret else ".1~%")
    figure.update_yaxes(title={"text": said, "font": {"size": 14}}, row=1, col=1)


def _range(comparison: Comparison) -> list[float]:
    """What is in view: the ends in full; of the first tenth of the way, which would squash the rest, only what fits."""
    scale, regret = _scale(comparison), comparison.measure == "regret"
    early = []
    for each in comparison.contestants:
        begins = next((i for i, n in enumerate(each.curve.trials) if n >= comparison.trials / 10), 0)
        early += [scale * each.curve.mean[begins], scale * each.curve.mean[-1]]
    values = scale * np.concatenate([each.values for each in comparison.contestants])
    if regret:
        top = max(*early, float(np.quantile(values, 0.95)))
        return [-0.03 * max(top, 1e-6), 1.08 * max(top, 1e-6)]
    low, high = min(*early, float(np.quantile(values, 0.05))), float(values.max())
    span = max(high - low, 0.002)
    return [low - 0.06 * span, high + 0.08 * span]


def _tables(comparison: Comparison) -> str:
    scale, regret = _scale(comparison), comparison.measure == "regret"
    level = f"{comparison.confidence:.0%} interval"

    def number(value: float | None) -> str:
        if value is None:
            return "–"
        return f"{scale * value:.3f}" if regret else f"{scale * value:.2%}"

    def error(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.3f}{'' if regret else '%'}"

    def interval(bounds: tuple[float, float] | None) -> str:
        return "–" if bounds is None else f"{number(bounds[0])} to {number(bounds[1])}"

    def difference(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:+.3f}"

    means = table(
        f"{'Regret, percentage points' if regret else 'Best accuracy'} after {comparison.trials} trials",
        ["", "seeds", "mean", "standard error", level],
        (
            [one.name, str(len(one.seeds)), number(one.mean), error(one.standard_error), interval(one.interval)]
            for one in comparison.contestants
        ),
    )
    if not comparison.pairs:
        return means
    pairs = table(
        "First less second, percentage points, paired by seed",
        ["", "seeds", "difference", level, "ahead", "better"],
        (
            [
                f"{one.first}, {one.second}",
                str(one.seeds),
                difference(one.difference),
                "–" if one.interval is None else " to ".join(map(difference, one.interval)),
                "–" if one.wins is None else f"{one.wins:.0%}",
                "–" if one.better is None else probability(one.better),
            ]
            for one in comparison.pairs
        ),
    )
    return means + pairs


def probability(share: float) -> str:
    """A share of resamples, which cannot tell what is rarer than they are many.

    >>> probability(0.5655), probability(1.0), probability(0.0)
    ('56.5%', '>99.9%', '<0.1%')
    """
    return ">99.9%" if share > 0.999 else "<0.1%" if share < 0.001 else f"{share:.1%}"


def _scale(comparison: Comparison) -> float:
    return 100.0 if comparison.measure == "regret" else 1.0


def _unit(comparison: Comparison) -> str:
    return ".3f" if comparison.measure == "regret" else ".2%"


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.13)"
