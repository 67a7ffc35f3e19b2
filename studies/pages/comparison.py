"""The page of a comparison: best-so-far curves with their bands, what each seed reached, and the tables.

One HTML file that needs nothing but a browser.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from searchspaces import Budget
from studies.pages.page import (
    DASHES,
    DECIMALS,
    PAPER,
    PERCENT,
    Key,
    layout,
    page,
    pale,
    plot,
    strategy_colour,
    table,
    whole_ticks,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from studies.comparison import Comparison, Contestant

EQUAL: Final = 0.25
"""Share of a curve that must be equal to another's for both to be drawn so that neither hides the other."""
BANDS: Final = 0.26
"""Opacity of all bands together, which lie over one another where the contestants begin alike."""


def curves_html(comparison: Comparison) -> str:
    """The whole page."""
    return page(_title(comparison), _about(comparison), comparison_parts(comparison), comparison_notes(comparison))


def _title(comparison: Comparison) -> str:
    conditions = comparison.conditions
    budget = conditions["budget"]
    return str(conditions["space"]) + (f" within {Budget.parse(budget).words()}" if budget else "")


def _about(comparison: Comparison) -> list[str]:
    seeds = sorted({len(each.seeds) for each in comparison.contestants})
    over = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return [
        f"after {comparison.trials} trials",
        f"{over} seed{'s' * (over != '1')} each",
        str(comparison.conditions["estimator"]),
        f"costs at {comparison.conditions['task']}",
    ]


def comparison_parts(comparison: Comparison) -> list[str]:
    """The plots with their legend, and the tables, as HTML."""
    found, styles = comparison, _styles(comparison)
    keys = [
        Key(one.name, colour, dash if dash != "solid" else "line", f"of {one.name}")  # type: ignore[arg-type]
        for one, (colour, dash, _) in zip(found.contestants, styles, strict=True)
    ]
    curves = plot(curves_figure(found), "curves", keys, caption="Best so far, mean over seeds")
    ends = plot(seeds_figure(found), "seeds", caption=f"Each seed after {found.trials} trials, mean and interval")
    return [f'<div class="row wide">{curves}{ends}</div>', _tables(found)]


def comparison_notes(comparison: Comparison) -> list[str]:
    """How intervals are made, and what the numbers mean."""
    level = f"{comparison.confidence:.0%}"
    notes = [
        f"Bands and whiskers: {level} bootstrap intervals of the mean over seeds, {comparison.resamples:,} resamples, "
        "expanded for few seeds; with fewer than five they are still too narrow.",
        "Ahead: the share of seeds on which the first is ahead of the second, ties counted half. Better: the share "
        "of resamples in which its mean is, i.e. the probability that it is better on average.",
    ]
    if comparison.measure == "accuracy":
        notes.append(
            "The best observed accuracy flatters noisy observations: among many similar networks, the luckiest is "
            "picked."
        )
    else:
        notes.append(
            "Regret: how far the true accuracy of the network with the best observed accuracy is below the best "
            "possible."
        )
    return notes


def _styles(comparison: Comparison) -> list[tuple[str, str, float]]:
    """Colour, dash and width of each contestant's curve.

    The colour is the strategy's. Of several with one colour, each has a dash of its own; and a curve that lies on
    earlier ones is dashed and narrower than they are, so that all are seen.
    """
    curves = [dict(zip(each.curve.trials, each.curve.mean.tolist(), strict=True)) for each in comparison.contestants]

    def alike(one: int, other: int) -> bool:
        shared = curves[one].keys() & curves[other].keys()
        return bool(sum(curves[one][n] == curves[other][n] for n in shared) > EQUAL * max(len(shared), 1))

    found: list[tuple[str, str, float]] = []
    for place, one in enumerate(comparison.contestants):
        colour = strategy_colour(one.name.split(" ")[0].split(",")[0])
        below = sum(alike(place, before) for before in range(place))
        above = sum(alike(place, after) for after in range(place + 1, len(curves)))
        same = sum(before[0] == colour for before in found)
        found.append((colour, DASHES[max(same, min(below, 2)) % len(DASHES)], 2.5 + 2 * min(above, 3)))
    return found


def curves_figure(comparison: Comparison) -> go.Figure:
    """The best so far of each contestant, for a notebook; `curves_html` makes a page of it."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout())
    for contestant, style in zip(comparison.contestants, _styles(comparison), strict=True):
        _draw_curve(figure, contestant, style, comparison)
    ticks = whole_ticks(comparison.trials)
    figure.update_xaxes(title={"text": "finished trials"}, range=[0, comparison.trials * 1.01], **ticks)
    _dress(figure, comparison)
    return figure


def seeds_figure(comparison: Comparison) -> go.Figure:
    """What each seed of each contestant had reached, and their mean."""
    import plotly.graph_objects as go

    figure, contestants = go.Figure(layout=layout()), comparison.contestants
    for place, (contestant, (colour, _, _)) in enumerate(zip(contestants, _styles(comparison), strict=True)):
        _draw_seeds(figure, contestant, place, colour, comparison)
    figure.update_xaxes(
        tickvals=list(range(len(contestants))), ticktext=[html.escape(each.name) for each in contestants],
        range=[-0.6, len(contestants) - 0.4], showgrid=False, tickfont={"size": 12},
        showticklabels=max(len(each.name) for each in contestants) <= 12 and len(contestants) <= 4,
    )  # fmt: skip
    _dress(figure, comparison)
    return figure


def _draw_curve(
    figure: go.Figure, contestant: Contestant, style: tuple[str, str, float], comparison: Comparison
) -> None:
    """A contestant's mean and its band."""
    import plotly.graph_objects as go

    colour, dash, width = style
    name, scale, unit = html.escape(contestant.name), _scale(comparison), _unit(comparison)
    curve = contestant.curve
    group: dict[str, Any] = {"legendgroup": f"of {contestant.name}", "name": name}
    if len(contestant.seeds) > 1:
        faint = pale(colour, BANDS / max(2, len(comparison.contestants)))
        for bound, fill in ((curve.high, None), (curve.low, "tonexty")):
            figure.add_trace(
                go.Scatter(
                    x=curve.trials, y=(scale * bound).tolist(), mode="lines", hoverinfo="skip",
                    line={"shape": "hv", "width": 0, "color": colour}, fill=fill, fillcolor=faint, **group,
                )
            )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=curve.trials, y=(scale * curve.mean).tolist(), mode="lines" if len(curve.trials) > 1 else "markers",
            line={"shape": "hv", "color": colour, "width": width, "dash": dash}, marker={"color": colour, "size": 9},
            hovertemplate=f"<b>{name}</b><br>%{{y:{unit}}} after %{{x}} trials<extra></extra>", **group,
        )
    )  # fmt: skip


def _draw_seeds(figure: go.Figure, contestant: Contestant, place: int, colour: str, comparison: Comparison) -> None:
    """A contestant's seeds, and their mean."""
    import plotly.graph_objects as go

    name, scale, unit = html.escape(contestant.name), _scale(comparison), _unit(comparison)
    group: dict[str, Any] = {"legendgroup": f"of {contestant.name}", "name": name}
    seeds = len(contestant.seeds)
    aside = 0.3 * np.linspace(-1, 1, seeds) if seeds > 1 else np.zeros(1)
    figure.add_trace(
        go.Scatter(
            x=(place + aside).tolist(), y=(scale * contestant.values).tolist(), mode="markers",
            text=[f"seed {seed}" for seed in contestant.seeds],
            marker={"size": 6 if seeds <= 40 else 4, "color": colour, "opacity": 0.5},
            hovertemplate=f"<b>{name}</b><br>%{{text}}: %{{y:{unit}}}<extra></extra>", **group,
        )
    )  # fmt: skip
    if contestant.interval is None:
        return
    low, high = contestant.interval
    figure.add_trace(
        go.Scatter(
            x=[place], y=[scale * contestant.mean], mode="markers",
            marker={"size": 10, "color": colour, "symbol": "diamond", "line": {"width": 1.5, "color": PAPER}},
            error_y={"array": [scale * (high - contestant.mean)], "arrayminus": [scale * (contestant.mean - low)],
                     "color": colour, "thickness": 2, "width": 6},
            hovertemplate=f"<b>{name}</b><br>mean %{{y:{unit}}}<extra></extra>", **group,
        )
    )  # fmt: skip


def _dress(figure: go.Figure, comparison: Comparison) -> None:
    """The vertical axis, the same beside one another."""
    regret = comparison.measure == "regret"
    said = "regret (percentage points)" if regret else "best validation accuracy"
    ticks = DECIMALS if regret else PERCENT
    figure.update_yaxes(title={"text": said}, range=_range(comparison), **ticks)


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
    span = max(high - low, 0.01)
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

    def interval(ends: tuple[float, float] | None) -> str:
        return "–" if ends is None else f"{number(ends[0])} to {number(ends[1])}"

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
        "Difference (first − second), percentage points, paired by seed",
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
