"""The Pareto plot: one HTML file, interactive, that needs nothing but a browser.

Above, every complete trial by its accuracy and a cost, with the front drawn as the step line that it is. Below, on the
same axis, what has a cost but no accuracy to compare: the classic networks that belong to the space (nobody trained
them here), and trials that were pruned or failed.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from estimators.scoring import score_text
from searchspaces import UserError, human, nearest
from studies.fidelity import read_as
from studies.pages.page import FAINT, GRID, INK, beside, heading, layout, page

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from searchspaces import Bound, Budget
    from studies.study import Study
    from studies.trial import Trial

AXES: Final = {
    "macs": "MACs (multiply-adds)",
    "params": "parameters",
    "activations": "activations (numbers put out by convolutions)",
    "peak_activation_bytes": "peak activation memory (bytes, one image, float32)",
    "latency_ms": "latency (ms, as a latency table predicts it)",
}
"""Titles of the horizontal axis, by cost."""
_UNITS: Final = {"latency_ms": " ms"}

_FRONT, _OVER, _CLASSIC = "#d64545", "rgba(214, 69, 69, 0.08)", "#2f855a"
_SHADES: Final = [[0.0, "#c3dafe"], [0.5, "#5a8dee"], [1.0, "#1a3e8c"]]  # early trials to late ones


def pareto_html(study: Study, x: str = "macs") -> str:
    """The whole page.

    Args:
        study: its trials, budget and space.
        x: the cost on the horizontal axis, a name in `AXES`.

    Raises:
        UserError: there is no such cost.
    """
    notes = [
        "One MAC is one multiply and one add; papers call the same number FLOPs or mult-adds, torch prints twice it."
    ]
    unit = study.manifest.estimator["resolved"].get("estimates")
    what = f"Each estimate is a {unit}, mapped into 0 to 1" if unit else "Accuracy is that of the proxy training"
    notes.append(f"{what}: good for ranking, not for quoting.")
    if study.space.references:
        notes[-1] += " Classic networks are marked by their cost alone, since none was trained here."
    if words := read_as(study):
        notes.insert(0, " ".join(f"{each[0].upper()}{each[1:]}." for each in words))
    below = ""
    if study.manifest.strategy["resolved"].get("objectives"):
        notes.append(
            "Hypervolume: of all that could be had within the budget, the share that the trials so far dominate "
            "(Zitzler & Thiele 1999). It tells runs with the same objectives and budget apart."
        )
        below = beside(hypervolume_figure(study), "hypervolume")
    return page(
        pareto_figure(study, x), "pareto", f"{study.manifest.study}: {unit or 'accuracy'} against {x}", notes, below
    )


def pareto_figure(study: Study, x: str = "macs") -> go.Figure:
    """The figure, for a notebook; `pareto_html` makes a page of it."""
    from plotly.subplots import make_subplots

    if x not in study.task.costs:
        raise UserError(f"unknown cost {x!r}{nearest(x, study.task.costs)}")
    complete = [trial for trial in study.trials if trial.state == "complete"]
    bound = next((each for each in study.budget.bounds if each.cost == x), None) if study.budget else None
    left, right = _range(study, x, bound)
    references = _placed(study, x, right - left)
    others = [(state, [each for each in study.trials if each.state == state]) for state in ("failed", "pruned")]
    others = [(state, several) for state, several in others if several]  # from the bottom up
    top = len(others) + 0.6 * max((line for _, _, line in references), default=0)  # of the strip, in rows
    rows = top + bool(references)
    strip = min(0.055 * rows, 0.4)
    heights = [1 - strip, strip] if rows else [1.0]
    figure = make_subplots(rows=len(heights), shared_xaxes=True, row_heights=heights, vertical_spacing=0.02)
    _draw_trials(figure, study, complete, x, right if bound is None else float(bound.upper))
    for row, (state, several) in enumerate(others):
        _draw_ticks(figure, several, x, state, row)
    _draw_references(figure, references, len(others))
    _draw_budget(figure, bound, right)
    _dress(figure, study, complete, (left, right))
    figure.update_xaxes(title={"text": AXES[x], "font": {"size": 14}}, row=len(heights), col=1)
    if x in _UNITS:
        figure.update_xaxes(tickformat="~g")  # a prefix before the unit would be a second one
    if rows:
        names = [state for state, _ in others] + ["references"] * bool(references)
        figure.update_yaxes(
            row=2, col=1, tickvals=list(range(len(names))), ticktext=names, range=[-0.6, rows - 0.5], ticks="",
            showgrid=False, showline=False, fixedrange=True, tickfont={"color": FAINT, "size": 12},
        )  # fmt: skip
    return figure


def hypervolume_figure(study: Study) -> go.Figure:
    """The share of what could be had that the trials dominate, trial by trial."""
    import plotly.graph_objects as go

    reached = study.hypervolumes()
    figure = go.Figure(
        go.Scatter(
            x=[trial.number for trial in study.trials], y=reached, mode="lines+markers", name="hypervolume",
            line={"shape": "hv", "color": _FRONT}, marker={"size": 5},
            hovertemplate="trial %{x}: %{y:.4f}<extra></extra>",
        )
    )  # fmt: skip
    words = {"macs": "MACs", "params": "parameters", "latency_ms": "latency"}
    about = " · ".join(words.get(name, name.replace("_", " ")) for name in study.objectives)
    figure.update_layout(layout(heading("Hypervolume", about)), showlegend=False)
    figure.update_xaxes(title={"text": "trial", "font": {"size": 14}}, gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    return figure


def _cost(cost: Any, x: str) -> float:
    return float(getattr(cost, x))


def _range(study: Study, x: str, bound: Bound | None) -> tuple[float, float]:
    """What is in view: all trials, the references near them, and some of what is over the budget."""
    shown = [_cost(trial.cost, x) for trial in study.trials]
    ends = [] if bound is None else [float(bound.upper), *([float(bound.lower)] if bound.lower else [])]
    middle = shown + ends or [_cost(found.cost(study.task), x) for found in study.space.references.values()] or [1.0]
    low, high = min(middle), max(middle)
    width = max(high - low, 0.1 * high)
    near = [_cost(found.cost(study.task), x) for found in study.space.references.values()]
    near = [each for each in near if low - width / 4 <= each <= high + width / 4]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.06 * ((high - low) or high or 1.0)
    return max(low - pad, 0.0), high + (2 * pad if bound and high <= bound.upper else pad)


def _draw_budget(figure: go.Figure, bound: Bound | None, right: float) -> None:
    """Shade what may not be trained, and say where that begins."""
    if bound is None:
        return
    sides = [(float(bound.upper), 100 * right, "over", 1), (float(bound.lower), 0.0, "under", -1)]
    for edge, far, word, side in sides[: 2 if bound.lower else 1]:
        everywhere = {"row": "all", "col": 1, "layer": "below", "exclude_empty_subplots": False}
        figure.add_vrect(x0=min(edge, far), x1=max(edge, far), fillcolor=_OVER, line_width=0, **everywhere)
        figure.add_vline(x=edge, line={"color": _FRONT, "width": 1.5, "dash": "dash"}, **everywhere)
        figure.add_annotation(
            x=edge, y=1, xref="x", yref="y domain", textangle=90 * side,
            text=f"{word} the budget of {human(edge)}{_UNITS.get(bound.cost, '')}",
            showarrow=False, xanchor="left" if side == 1 else "right", yanchor="top", xshift=4 * side, yshift=-8,
            font={"color": _FRONT, "size": 13}, row=1, col=1,
        )  # fmt: skip


def _draw_trials(figure: go.Figure, study: Study, complete: Sequence[Trial], x: str, end: float) -> None:
    """Complete trials, the front through them as far as the budget goes, and the best one."""
    import plotly.graph_objects as go

    if not complete:
        return
    on_front = study.pareto(x)
    xs = [_cost(trial.cost, x) for trial in on_front]
    ys = [trial.accuracy for trial in on_front]
    figure.add_trace(
        go.Scatter(
            x=[*xs, max(end, xs[-1])], y=[*ys, ys[-1]], mode="lines", name="Pareto front", hoverinfo="skip",
            line={"shape": "hv", "color": _FRONT, "width": 2},
        ), row=1, col=1,
    )  # fmt: skip
    front = {trial.number for trial in on_front}
    numbers = [trial.number for trial in complete]
    figure.add_trace(
        go.Scatter(
            x=[_cost(trial.cost, x) for trial in complete], y=[trial.accuracy for trial in complete],
            mode="markers", name="trials, early to late", text=[_hover(trial) for trial in complete],
            customdata=numbers, hovertemplate="%{text}<extra></extra>",
            marker={
                "size": [11 if number in front else 8 for number in numbers],
                "color": numbers, "colorscale": _SHADES, "opacity": 0.95,
                "line": {"width": [2 if n in front else 0.5 for n in numbers],
                         "color": [_FRONT if n in front else "#fff" for n in numbers]},
            },
        ), row=1, col=1,
    )  # fmt: skip
    best = study.best
    figure.add_trace(
        go.Scatter(
            x=[_cost(best.cost, x)], y=[best.accuracy], mode="markers", name="best", text=[_hover(best)],
            customdata=[best.number], hovertemplate="%{text}<extra></extra>",
            marker={"symbol": "star", "size": 19, "color": _FRONT, "line": {"width": 1.5, "color": "#fff"}},
        ), row=1, col=1,
    )  # fmt: skip
    figure.add_annotation(
        x=_cost(best.cost, x), y=best.accuracy, showarrow=False, yshift=20, row=1, col=1,
        text=f"<b>{_written(best, 1)}</b> at {human(_cost(best.cost, x))}{_UNITS.get(x, '')}, trial {best.number}",
        font={"color": _FRONT, "size": 13}, bgcolor="rgba(255,255,255,0.8)",
    )  # fmt: skip


def _draw_ticks(figure: go.Figure, trials: Sequence[Trial], x: str, name: str, row: int) -> None:
    """Trials without an accuracy to compare, by their cost."""
    import plotly.graph_objects as go

    failed = name == "failed"
    figure.add_trace(
        go.Scatter(
            x=[_cost(trial.cost, x) for trial in trials], y=[row] * len(trials), mode="markers", name=name,
            text=[_hover(trial) for trial in trials], customdata=[trial.number for trial in trials],
            hovertemplate="%{text}<extra></extra>", showlegend=False,
            marker={"symbol": "x-thin" if failed else "line-ns", "size": 9,
                    "line": {"width": 1.5, "color": "#b7791f" if failed else FAINT}},
        ), row=2, col=1,
    )  # fmt: skip


def _placed(study: Study, x: str, width: float) -> list[tuple[str, float, int]]:
    """Name and cost of each classic network of the space, and a line on which its name touches no other.

    Args:
        width: of the axis; a letter takes 0.7 % of it, or less on a wide screen.
    """
    ends: list[float] = []  # where the last name on each line ends
    placed = []
    costs = {name: _cost(each.cost(study.task), x) for name, each in study.space.references.items()}
    for name, cost in sorted(costs.items(), key=lambda item: item[1]):
        line = next((line for line, end in enumerate(ends) if end < cost), len(ends))
        ends[line:] = [cost + 0.007 * width * (len(name) + 3), *ends[line + 1 :]]
        placed.append((name, cost, line))
    return placed


def _draw_references(figure: go.Figure, references: Sequence[tuple[str, float, int]], row: int) -> None:
    """Classic networks: a mark at the cost and the name beside it."""
    import plotly.graph_objects as go

    if not references:
        return
    names, costs, lines = zip(*references, strict=True)
    figure.add_trace(
        go.Scatter(
            x=costs, y=[row + 0.6 * line for line in lines], mode="markers+text", name="references", text=names,
            textposition="middle right", textfont={"size": 12, "color": INK}, showlegend=False,
            hovertemplate="%{text}: %{x:,} (not trained here)<extra></extra>",
            marker={"symbol": "diamond-tall", "size": 10, "color": _CLASSIC},
        ), row=2, col=1,
    )  # fmt: skip
    for cost in costs:
        line = {"color": _CLASSIC, "width": 1, "dash": "dot"}
        figure.add_vline(x=cost, line=line, opacity=0.4, layer="below", row=1, col=1, exclude_empty_subplots=False)


def _dress(figure: go.Figure, study: Study, complete: Sequence[Trial], view: tuple[float, float]) -> None:
    """Titles, axes and legend."""
    manifest = study.manifest
    about = [
        f"{len(complete)} of {len(study.trials)} trials complete",
        manifest.strategy["name"],
        manifest.estimator["resolved"].get("name", manifest.estimator["name"]),
    ]
    data = manifest.estimator["resolved"].get("data")
    if isinstance(data, dict) and data.get("name"):
        about[-1] += f" on {str(data['name']).rsplit('/', 1)[-1]}"
    about.append(f"costs at {manifest.task}")
    title = f"{manifest.space['name']}" + (f" within {_bounds(study.budget)}" if study.budget else "")
    figure.update_layout(layout(heading(title, " · ".join(map(str, about)))))
    figure.update_xaxes(range=list(view), gridcolor=GRID, zeroline=False, tickformat="~s")
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    unit = manifest.estimator["resolved"].get("estimates")
    name = f"{unit} (mapped into 0 to 1)" if unit else "validation accuracy"
    ticks = ".3f" if unit else ".1~%"
    figure.update_yaxes(title={"text": name, "font": {"size": 14}}, tickformat=ticks, row=1, col=1)
    if not complete:
        figure.add_annotation(
            text="no trial is complete yet", x=0.5, y=0.5, xref="x domain", yref="y domain", showarrow=False,
            font={"size": 16, "color": FAINT},
        )  # fmt: skip
        return
    accuracies = sorted(trial.accuracy or 0.0 for trial in complete)
    low, high = accuracies[len(accuracies) // 10], accuracies[-1]  # a few that learned nothing must not squash the rest
    span = max(high - low, 1e-6 if unit else 0.01)
    bottom = max(accuracies[0], low - 0.5 * span) - 0.06 * span
    figure.update_yaxes(range=[bottom, min(high + 0.14 * span, 1 + 0.06 * span)], row=1, col=1)
    hidden = sum(accuracy < bottom for accuracy in accuracies)
    if hidden:
        floor = f"{bottom:.3f}" if unit else f"{bottom:.0%}"
        figure.add_annotation(
            text=f"{hidden} trial{'s' * (hidden > 1)} below {floor}: double-click to see all", x=0.01, y=0.01,
            xref="x domain", yref="y domain", xanchor="left", yanchor="bottom", showarrow=False,
            font={"size": 12, "color": FAINT}, row=1, col=1,
        )  # fmt: skip


def _bounds(budget: Budget) -> str:
    """As a person says it: `360M to 400M MACs and 5.3M parameters`."""
    words = {"macs": "MACs", "params": "parameters", "peak_activation_bytes": "bytes of activations"}
    words["latency_ms"] = "ms"
    said = []
    for bound in budget.bounds:
        ends = [human(float(each)) for each in (bound.lower, bound.upper) if each]
        said.append(f"{' to '.join(ends)} {words.get(bound.cost, bound.cost)}")
    return " and ".join(said)


def _written(trial: Trial, digits: int) -> str:
    """The accuracy of a complete trial in percent; its score, where the estimate is one."""
    accuracy = trial.accuracy or 0.0
    return f"score {score_text(accuracy)}" if "score" in trial.details else f"{accuracy:.{digits}%}"


def _hover(trial: Trial) -> str:
    """A trial in words, a stage a line."""
    head = f"<b>trial {trial.number}</b>"
    if trial.state == "complete":
        head += f"  <b>{_written(trial, 2)}</b>"
    elif trial.reason:
        head += f"  {html.escape(trial.reason[:100])}"
    cost = f"{human(trial.cost.macs)} MACs, {human(trial.cost.params)} parameters"
    if trial.cost.latency_ms is not None:
        cost += f", {human(trial.cost.latency_ms)} ms"
    if trial.parent is not None:
        cost += f"<br>starts from the weights of trial {trial.parent}"
    words = [html.escape(part.strip()) for part in trial.architecture.words().split("|")]
    return "<br>".join([head, cost, *words])
