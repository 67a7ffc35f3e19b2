"""The page of the Pareto front: one HTML file, interactive, that needs nothing but a browser.

Above, every complete network by its accuracy and a cost, with the front drawn as the step line that it is; a confirmed
one by the mean over its trainings, with each of these as a small mark. Below, on the same axis, what has a cost but no
accuracy to compare: the classic networks that belong to the space (nobody trained them here), and trials that were
pruned or failed.
"""

from __future__ import annotations

import html
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from estimators.scoring import SCORED, score_text
from searchspaces import UserError, human, nearest
from searchspaces.classics.accuracies import published_on
from searchspaces.cost import COSTS_IN_WORDS
from searchspaces.files import write_whole
from searchspaces.plural import listed
from studies import results
from studies.fidelity import read_as
from studies.pages.image import check_ending, picture
from studies.pages.page import (
    AMBER,
    DECIMALS,
    FAINT,
    GREEN,
    INK,
    PAPER,
    PERCENT,
    RED,
    SHADES,
    Key,
    layout,
    linear_ticks,
    page,
    pale,
    plot,
    scale,
)
from studies.pareto import front as pareto_front
from studies.proxy_agreement import agreement

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from searchspaces import Bound, Task
    from studies.study import Study
    from studies.trial import Trial

AXES: Final = {
    "macs": "MACs (multiply-adds)",
    "params": "parameters",
    "activations": "activations (outputs of convolutions)",
    "peak_activation_bytes": "peak activation memory (bytes, one image, float32)",
    "latency_ms": "latency (ms, predicted by the latency table)",
}
"""Titles of the horizontal axis, by cost."""
_OBJECTIVES: Final = {"peak_activation_bytes": "peak activation memory", "latency_ms": "latency"}
"""Names of costs that are not those of `COSTS_IN_WORDS`, in a list of objectives."""
_UNITS: Final = {"latency_ms": " ms"}
MACS_NOTE: Final = (
    "One MAC is one multiply and one add; papers call the same number FLOPs or mult-adds; torch prints twice as much."
)


def pareto_html(study: Study, x: str = "macs", trial: int | None = None) -> str:
    """The whole page.

    Args:
        study: its trials, budget and space.
        x: the cost on the horizontal axis, a name in `AXES`.
        trial: the number of one that is ringed and named.

    Raises:
        UserError: there is no such cost or trial, or the trial has not ended.
    """
    about, parts = pareto_about(study, trial), pareto_parts(study, x, trial)
    return page(_page_title(study), about, parts, pareto_notes(study, x))


def write_pareto(study: Study, path: Path, x: str = "macs", trial: int | None = None) -> None:
    """Write the page, or a picture of the plot if the path ends so; arguments as of `pareto_html`.

    Raises:
        UserError: there is no such cost or trial, the path has another ending, or the file cannot be made.
    """
    check_ending(path)
    if path.suffix.lower() == ".html":
        return write_whole(path, pareto_html(study, x, trial))
    about = " · ".join(pareto_about(study, trial))
    write_whole(path, picture(pareto_figure(study, x, trial), path.suffix.lower()[1:], _page_title(study), about))


def marked(study: Study, number: int) -> Trial:
    """The trial of a number as it is drawn: a network that was confirmed, and its confirmations, by the mean.

    Raises:
        UserError: there is no such trial, or it has not ended.
    """
    if not 0 <= number < len(study.trials):
        raise UserError(f"{study.folder} has no trial {number}; it has {len(study.trials)}, numbered from 0")
    found = study.trials[number]
    if found.state == "running":
        raise UserError(f"trial {number} of {study.folder} has not finished and is not in the plot")
    if found.confirms is not None:
        found = study.trials[found.confirms]
    return next((each for each in results.complete(study.trials) if each.number == found.number), found)


def pareto_title(study: Study) -> str:
    """Space and budget: `mbconv within 400M MACs`."""
    return f"{study.manifest.space['name']}" + (f" within {study.budget.words()}" if study.budget else "")


def _page_title(study: Study) -> str:
    return f"{pareto_title(study)}: {front_title(study)}" if study.front_of else pareto_title(study)


def pareto_about(study: Study, trial: int | None = None) -> list[str]:
    """The trial that is ringed, the best network, progress, strategy, estimator and task."""
    manifest, resolved = study.manifest, study.manifest.estimator["resolved"]
    complete = sum(trial.state == "complete" for trial in study.trials)
    ringed = None if trial is None else marked(study, trial)
    found = [] if ringed is None else [f"circled {told(ringed, study)}"]
    found += [f"best {told(study.best, study)}"] if complete else []
    estimator, data = str(resolved.get("name", manifest.estimator["name"])), resolved.get("data")
    if isinstance(data, dict) and data.get("name"):
        estimator += f" on {str(data['name']).rsplit('/', 1)[-1]}"
    found += [f"{complete} of {len(study.trials)} trials complete", str(manifest.strategy["name"]), estimator]
    return [*found, f"costs at {manifest.task}"]


def pareto_parts(study: Study, x: str = "macs", trial: int | None = None) -> list[str]:
    """The plots with their legends, as HTML; arguments as of `pareto_html`."""
    ring = [] if trial is None else [Key(f"trial {marked(study, trial).number}", INK, "ring", "trial")]
    parts = [
        plot(
            pareto_figure(study, x, trial), "pareto", [*keys(study, x), *ring],
            scale=scale("trials", "early", "late"), command=show_command(study),
        )
    ]  # fmt: skip
    if study.manifest.strategy["resolved"].get("objectives"):
        about = " and ".join(COSTS_IN_WORDS.get(name, name.replace("_", " ")) for name in study.objectives)
        about = listed([_in_words(name) for name in study.front_of]) if study.front_of else about
        parts.append(plot(hypervolume_figure(study), "hypervolume", caption=f"Hypervolume of {about}", height="low"))
    return parts


def pareto_notes(study: Study, x: str = "macs") -> list[str]:
    """What the numbers are those of."""
    unit = study.manifest.estimator["resolved"].get("estimates")
    said = " ".join(f"{each[0].upper()}{each[1:]}." for each in read_as(study))
    notes = [said, MACS_NOTE] if said else [MACS_NOTE]
    what = f"Each estimate is a {_in_0_to_1(unit)}" if unit else "Accuracy comes from the proxy training"
    notes.append(f"{what}, not from full training. How well it ranks networks: {told_of_proxy(study)}.")
    if study.front_of:
        notes.append(
            f"Circled networks are on the {front_title(study)}: no other is at least as good in all of these and "
            f"better in one. The line is the front of accuracy and {_in_words(x)} alone."
        )
    if study.standard_errors:
        once = "corrected accuracy" if study.adjusted else "validation images alone"
        notes.append(
            f"Bars on the {'line' if study.front_of else 'front'} are one standard error: over its trainings for a "
            f"confirmed network, else that of the {once}."
        )
    best = results.accuracy_of(study.best) if study.confirmed else 1.0
    if any(results.accuracy_of(each) > best for each in results.complete(study.trials)):
        notes.append(
            "The best is chosen by mean accuracy among the networks trained several times. Those above it were "
            "trained only once, and among many, some score high by luck."
        )
    if study.space.references:
        notes.append("Classic networks are marked at their cost only, since none was trained here.")
        low, high = _view(study, x)
        far = [(name, cost) for name, cost in _references(study, x).items() if not low <= cost <= high]
        if far:
            told = ", ".join(f"{name} ({human(cost)}{_UNITS.get(x, '')})" for name, cost in far)
            notes[-1] += f" Out of view: {told}."
    if study.manifest.strategy["resolved"].get("objectives"):
        notes.append(
            "Hypervolume: the share of the objective space within the budget that the trials so far dominate (Zitzler "
            "& Thiele 1999). Use it to compare runs with the same objectives and budget."
        )
    return notes


def told_of_proxy(study: Study) -> str:
    """What was measured of the study's proxy, in words without a full stop."""
    ranked = agreement(study)
    return "not measured here; nas proxy measures it" if ranked is None else f"{ranked.told()} (nas proxy)"


def front_title(study: Study) -> str:
    """`Pareto front`, with its objectives where they are more than two."""
    of = f" of {listed([_in_words(name) for name in study.front_of])}" if study.front_of else ""
    return f"Pareto front{of}"


def _in_words(objective: str) -> str:
    """An objective in a list of them.

    >>> _in_words("macs"), _in_words("latency_ms"), _in_words("accuracy")
    ('MACs', 'latency', 'accuracy')
    """
    return _OBJECTIVES.get(objective) or COSTS_IN_WORDS.get(objective, objective)


def keys(study: Study, x: str = "macs") -> list[Key]:
    """The legend of what the figure has."""
    states = {trial.state for trial in study.trials}
    found = []
    if "complete" in states:
        if study.front_of:
            found.append(Key(front_title(study), RED, "ring", "front"))
            found.append(Key(f"front of accuracy and {_in_words(x)} alone", RED, "line", "plotted"))
        else:
            found.append(Key("Pareto front", RED, "line", "front"))
        found.append(Key("best", RED, "star", "best"))
        found += [Key("within one standard error of the best", AMBER, "ring", "near")] if study.near_best else []
        found += [Key("one training of a confirmed network", FAINT, "cross", "trainings")] if study.confirmed else []
    return found


def show_command(study: Study) -> str | None:
    """The command that shows a trial, without its number; None for a study in memory."""
    if study.folder is None:
        return None
    again = [*study.manifest.own_code("space"), *study.manifest.ledger_again]
    return shlex.join(["nas", "show", str(study.folder), *again, "--trial"])


def pareto_figure(study: Study, x: str = "macs", trial: int | None = None) -> go.Figure:
    """The figure, for a notebook; `pareto_html` makes a page of it."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    if x not in study.task.costs:
        raise UserError(f"unknown cost {x!r}{nearest(x, study.task.costs)}")
    complete = results.complete(study.trials)
    bound = next((each for each in study.budget.bounds if each.cost == x), None) if study.budget else None
    left, right = _view(study, x)
    references = _placed({name: at for name, at in _references(study, x).items() if left <= at <= right}, right - left)
    others = [(state, [each for each in study.trials if each.state == state]) for state in ("failed", "pruned")]
    others = [(state, several) for state, several in others if several]  # from the bottom up
    top = len(others) + 0.6 * max((line for _, _, line in references), default=0)  # of the strip, in rows
    rows = top + bool(references)
    strip = min(0.055 * rows, 0.4)
    heights = [1 - strip, strip] if rows else [1.0]
    hovered = hovers(study)
    figure = make_subplots(
        rows=len(heights), shared_xaxes=True, row_heights=heights, vertical_spacing=0.02,
        figure=go.Figure(layout=layout(narrow=dict.fromkeys(("xaxis", "xaxis2"), _ticks(x, (left, right), 4)))),
    )  # fmt: skip
    if complete:
        _draw_trials(figure, study, hovered, x, right if bound is None else float(bound.upper))
    for row, (_, several) in enumerate(others):
        _draw_ticks(figure, several, hovered, x, row)
    _draw_references(figure, references, len(others), study.task)
    _draw_budget(figure, bound, right)
    ringed = None if trial is None else marked(study, trial)
    if ringed is not None:
        _ring(figure, ringed, x, [state for state, _ in others])
    _dress(figure, study, complete, ringed, x)
    clipped = {"clipmin": left, "clipmax": right}  # else a double click shows all of the shaded area
    figure.update_xaxes(range=[left, right], autorangeoptions=clipped, **_ticks(x, (left, right), 7))
    figure.update_xaxes(title={"text": AXES[x]}, row=len(heights), col=1)
    if rows:
        names = [state for state, _ in others] + ["classics"] * bool(references)
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
            line={"shape": "hv", "color": RED}, marker={"size": 5},
            hovertemplate="trial %{x}: %{y:.4f}<extra></extra>",
        ), layout(),
    )  # fmt: skip
    figure.update_xaxes(title={"text": "trial"})
    figure.update_yaxes(title={"text": "hypervolume"}, **DECIMALS)
    return figure


def _cost(cost: Any, x: str) -> float:
    return float(getattr(cost, x))


def _references(study: Study, x: str) -> dict[str, float]:
    return {name: _cost(found.cost(study.task), x) for name, found in study.space.references.items()}


def _view(study: Study, x: str) -> tuple[float, float]:
    """What is in view: all trials, the references near them, and some of what is over the budget."""
    bound = next((each for each in study.budget.bounds if each.cost == x), None) if study.budget else None
    shown = [_cost(trial.cost, x) for trial in study.trials]
    ends = [] if bound is None else [float(bound.upper), *([float(bound.lower)] if bound.lower else [])]
    references = list(_references(study, x).values())
    middle = shown + ends or references or [1.0]
    low, high = min(middle), max(middle)
    width = max(high - low, 0.1 * high)
    near = [each for each in references if low - width / 4 <= each <= high + width / 4]
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
        figure.add_vrect(x0=min(edge, far), x1=max(edge, far), fillcolor=pale(RED, 0.08), line_width=0, **everywhere)
        figure.add_vline(x=edge, line={"color": RED, "width": 1.5, "dash": "dash"}, **everywhere)
        figure.add_annotation(
            x=edge, y=1, xref="x", yref="y domain", textangle=90 * side,
            text=f"{word} the budget of {human(edge)}{_UNITS.get(bound.cost, '')}",
            showarrow=False, xanchor="left" if side == 1 else "right", yanchor="top", xshift=4 * side, yshift=-8,
            font={"color": RED, "size": 13}, row=1, col=1,
        )  # fmt: skip


def _draw_trials(figure: go.Figure, study: Study, hovered: Mapping[int, str], x: str, end: float) -> None:
    """Complete trials, the front through them as far as the budget goes, and the best one."""
    import plotly.graph_objects as go

    complete, on_front = results.complete(study.trials), study.pareto(x)
    errors, best = study.standard_errors, study.best
    stairs, group = on_front, "front"
    if study.front_of:
        points = [(_cost(trial.cost, x), results.accuracy_of(trial)) for trial in complete]
        stairs, group = [complete[index] for index in pareto_front(points)], "plotted"
        figure.add_trace(
            go.Scatter(
                x=[_cost(trial.cost, x) for trial in on_front], y=[trial.accuracy for trial in on_front],
                mode="markers", name=front_title(study), legendgroup="front", hoverinfo="skip",
                marker={"symbol": "circle-open", "size": 13, "color": RED, "line": {"width": 2}},
            ), row=1, col=1,
        )  # fmt: skip
    xs = [_cost(trial.cost, x) for trial in stairs]
    ys = [trial.accuracy for trial in stairs]
    figure.add_trace(
        go.Scatter(
            x=[*xs, max(end, xs[-1])], y=[*ys, ys[-1]], mode="lines", name="Pareto front", hoverinfo="skip",
            line={"shape": "hv", "color": RED, "width": 2}, legendgroup=group,
        ), row=1, col=1,
    )  # fmt: skip
    _draw_trainings(figure, study, x)
    front = set[int]() if study.front_of else {trial.number for trial in on_front}  # else a trace has their rings
    numbers = [trial.number for trial in complete]
    barred = {trial.number for trial in stairs} | {best.number}
    figure.add_trace(
        go.Scatter(
            x=[_cost(trial.cost, x) for trial in complete], y=[trial.accuracy for trial in complete],
            mode="markers", name="trials, early to late", text=[hovered[trial.number] for trial in complete],
            customdata=numbers, hovertemplate="%{text}<extra></extra>",
            error_y={"array": [errors.get(each) if each in barred else None for each in numbers], "color": RED,
                     "thickness": 1.2, "width": 4},
            marker={
                "size": [11 if number in front else 8 for number in numbers],
                "color": numbers, "colorscale": SHADES, "opacity": 0.95,
                "line": {"width": [2 if n in front else 0.5 for n in numbers],
                         "color": [RED if n in front else PAPER for n in numbers]},
            },
        ), row=1, col=1,
    )  # fmt: skip
    alike = study.near_best
    if alike:
        figure.add_trace(
            go.Scatter(
                x=[_cost(trial.cost, x) for trial in alike], y=[trial.accuracy for trial in alike], mode="markers",
                name="within one standard error of the best", legendgroup="near", hoverinfo="skip",
                marker={"symbol": "circle-open", "size": 18, "color": AMBER, "line": {"width": 1.5}},
            ), row=1, col=1,
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[_cost(best.cost, x)], y=[best.accuracy], mode="markers", name="best", text=[hovered[best.number]],
            customdata=[best.number], hovertemplate="%{text}<extra></extra>", legendgroup="best",
            marker={"symbol": "star", "size": 19, "color": RED, "line": {"width": 1.5, "color": PAPER}},
        ), row=1, col=1,
    )  # fmt: skip
    figure.add_annotation(
        x=_cost(best.cost, x), y=best.accuracy, showarrow=False, yshift=22, row=1, col=1,
        text=f"<b>{written(best, 1)}</b>", font={"color": RED, "size": 14}, bgcolor=pale(PAPER, 0.8),
    )  # fmt: skip


def _ring(figure: go.Figure, trial: Trial, x: str, strip: Sequence[str]) -> None:
    """A ring around a trial, with its number below it; `strip` are the states in the lower plot, from the bottom up."""
    import plotly.graph_objects as go

    above = trial.state == "complete"
    at, y = _cost(trial.cost, x), trial.accuracy if above else strip.index(trial.state)
    place = {"row": 1 if above else 2, "col": 1}
    figure.add_trace(
        go.Scatter(
            x=[at], y=[y], mode="markers", name=f"trial {trial.number}", legendgroup="trial", hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 26 if above else 16, "color": INK, "line": {"width": 2}},
        ), **place,
    )  # fmt: skip
    figure.add_annotation(
        x=at, y=y, showarrow=False, yshift=-24 if above else 0, xshift=0 if above else 12, **place,
        xanchor="center" if above else "left", text=f"<b>trial {trial.number}</b>",
        font={"color": INK, "size": 13}, bgcolor=pale(PAPER, 0.8),
    )  # fmt: skip


def _draw_trainings(figure: go.Figure, study: Study, x: str) -> None:
    """The single trainings of confirmed networks, whose means are drawn as the trials."""
    import plotly.graph_objects as go

    single = [(_cost(each.trial.cost, x), one) for each in study.confirmed for one in each.accuracies]
    if not single:
        return
    digits = ".4f" if "estimates" in study.manifest.estimator["resolved"] else ".2%"
    figure.add_trace(
        go.Scatter(
            x=[at for at, _ in single], y=[accuracy for _, accuracy in single], mode="markers",
            name="single trainings",
            legendgroup="trainings", hovertemplate=f"one training: %{{y:{digits}}}<extra></extra>",
            marker={"symbol": "x-thin", "size": 6, "line": {"width": 1.2, "color": FAINT}},
        ), row=1, col=1,
    )  # fmt: skip


def _draw_ticks(figure: go.Figure, trials: Sequence[Trial], hovered: Mapping[int, str], x: str, row: int) -> None:
    """Trials of one state, without an accuracy to compare, by their cost."""
    import plotly.graph_objects as go

    name = trials[0].state
    failed = name == "failed"
    figure.add_trace(
        go.Scatter(
            x=[_cost(trial.cost, x) for trial in trials], y=[row] * len(trials), mode="markers", name=name,
            showlegend=False,
            text=[hovered[trial.number] for trial in trials], customdata=[trial.number for trial in trials],
            hovertemplate="%{text}<extra></extra>",
            marker={"symbol": "x-thin" if failed else "line-ns", "size": 9,
                    "line": {"width": 1.5, "color": AMBER if failed else FAINT}},
        ), row=2, col=1,
    )  # fmt: skip


def _placed(costs: Mapping[str, float], width: float) -> list[tuple[str, float, int]]:
    """Name and cost of each classic network in view, and a line on which its name touches no other.

    Args:
        costs: by name.
        width: of the axis; a letter takes 0.7 % of it, or less on a wide screen.
    """
    ends: list[float] = []  # where the last name on each line ends
    placed = []
    for name, cost in sorted(costs.items(), key=lambda item: item[1]):
        line = next((line for line, end in enumerate(ends) if end < cost), len(ends))
        ends[line:] = [cost + 0.007 * width * (len(name) + 3), *ends[line + 1 :]]
        placed.append((name, cost, line))
    return placed


def _draw_references(figure: go.Figure, references: Sequence[tuple[str, float, int]], row: int, task: Task) -> None:
    """Classic networks: a mark at the cost and the name beside it, on the left of one that is far to the right.

    Published accuracies, which are on ImageNet, are only told when hovering, and not drawn on the axis of this study's.
    """
    import plotly.graph_objects as go

    if not references:
        return
    names, costs, lines = zip(*references, strict=True)
    figure.add_trace(
        go.Scatter(
            x=costs, y=[row + 0.6 * line for line in lines], mode="markers+text", name="classics",
            text=names, showlegend=False,
            textposition="middle right", textfont={"size": 12, "color": INK},
            hovertext=[_published(name, task) for name in names],
            hovertemplate="%{text}: %{x:,} (not trained here)%{hovertext}<extra></extra>",
            meta={"narrow": {"mode": "markers"}},
            marker={"symbol": "diamond-tall", "size": 10, "color": GREEN},
        ), row=2, col=1,
    )  # fmt: skip
    for cost in costs:
        line = {"color": GREEN, "width": 1, "dash": "dot"}
        figure.add_vline(x=cost, line=line, opacity=0.4, layer="below", row=1, col=1, exclude_empty_subplots=False)


def _published(name: str, task: Task) -> str:
    """What is published of a classic on ImageNet at the size of the task, as plotly's text."""
    there = published_on(name, task)
    ends = " to ".join(dict.fromkeys(f"{one.top1:.1%}" for one in (there[0], there[-1]))) if there else ""
    return f"<br>published top-1 on ImageNet: {ends}" if ends else ""


def _ticks(x: str, view: tuple[float, float], most: int) -> dict[str, Any]:
    """Of the horizontal axis; a prefix before a unit would be a second one."""
    return {"nticks": most, **DECIMALS} if x in _UNITS else linear_ticks(*view, most)


def _dress(figure: go.Figure, study: Study, complete: Sequence[Trial], ringed: Trial | None, x: str) -> None:
    """The vertical axis, and what is in view of it; a trial that is ringed always is."""
    unit = study.manifest.estimator["resolved"].get("estimates")
    name = _in_0_to_1(unit) if unit else "validation accuracy"
    ticks = {"tickformat": ".3f"} if unit else PERCENT
    figure.update_yaxes(title={"text": name}, **ticks, row=1, col=1)
    if not complete:
        figure.add_annotation(
            text="no trial is complete yet", x=0.5, y=0.5, xref="x domain", yref="y domain", showarrow=False,
            font={"size": 16, "color": FAINT},
        )  # fmt: skip
        return
    accuracies = sorted(trial.accuracy or 0.0 for trial in complete)
    low, high = accuracies[len(accuracies) // 10], accuracies[-1]  # a few that learned nothing must not squash the rest
    errors = study.standard_errors
    high += max(errors.get(each.number, 0.0) for each in study.pareto(x))
    span = max(high - low, 1e-6 if unit else 0.01)
    bottom = min(max(accuracies[0], low - 0.5 * span) - 0.06 * span, high - span)
    if ringed is not None and ringed.state == "complete":
        bottom = min(bottom, (ringed.accuracy or 0.0) - 0.14 * span)
    figure.update_yaxes(range=[bottom, min(high + 0.14 * span, 1 + 0.06 * span)], row=1, col=1)
    hidden = sum(accuracy < bottom for accuracy in accuracies)
    if hidden:
        floor = f"{bottom:.3f}" if unit else f"{bottom:.0%}"
        figure.add_annotation(
            text=f"{hidden} trial{'s' * (hidden > 1)} below {floor}: double-click to see all", x=0.01, y=0.01,
            xref="x domain", yref="y domain", xanchor="left", yanchor="bottom", showarrow=False,
            font={"size": 12, "color": FAINT}, row=1, col=1,
        )  # fmt: skip


def _in_0_to_1(unit: str) -> str:
    """What estimates with a unit are, where they stand on an axis."""
    return f"{unit}, mapped to 0 to 1" if unit == SCORED else unit


def written(trial: Trial, digits: int = 1) -> str:
    """The accuracy of a complete trial in percent; what it is and its number, where it only ranks."""
    accuracy = trial.accuracy or 0.0
    if "likelihood" in trial.details:
        return f"training likelihood {accuracy:.4f}"
    if "shared_weights" in trial.details:
        return f"supernet accuracy {accuracy:.4f}"
    return f"score {score_text(accuracy)}" if "score" in trial.details else f"{accuracy:.{digits}%}"


def told(trial: Trial, study: Study) -> str:
    """A trial in a line: `97.4% ± 0.9% at 389M MACs (trial 7)`; its state, if it is not complete."""
    if trial.state != "complete":
        return f"{trial.state} at {human(trial.cost.macs)} MACs (trial {trial.number})"
    return f"{with_error(trial, study.standard_errors)} at {human(trial.cost.macs)} MACs (trial {trial.number})"


def with_error(trial: Trial, errors: Mapping[int, float], digits: int = 1) -> str:
    """The accuracy of a complete trial with its standard error, where that is known: `97.4% ± 0.9%`.

    Args:
        trial: of a study.
        errors: by the trial's number, as of `Study.standard_errors`.
        digits: of a percentage, after the point.
    """
    error, accuracy = errors.get(trial.number), written(trial, digits)
    if error is None:
        return accuracy
    return f"{accuracy} ± {error:.4f}" if "likelihood" in trial.details else f"{accuracy} ± {error:.{digits}%}"


def time_text(seconds: float) -> str:
    """A time in one unit.

    >>> time_text(8.2), time_text(720), time_text(11520)
    ('8.2 s', '12 min', '3.2 h')
    """
    unit, name = (1, "s") if seconds < 120 else (60, "min") if seconds < 7200 else (3600, "h")
    return f"{seconds / unit:.{1 if seconds / unit < 10 else 0}f} {name}"


def hovers(study: Study) -> dict[int, str]:
    """What is said of each trial, by number, as plotly's text: a stage a line, and the command that shows it."""
    errors, command = study.standard_errors, show_command(study)
    trainings = {each.trial.number: len(each.accuracies) for each in study.confirmed}
    once = study.adjusted.keys() - trainings.keys()
    found = {}
    for trial in [*study.trials, *results.complete(study.trials)]:  # the latter with means, where they are confirmed
        number = trial.number
        head = f"<b>trial {number}</b>"
        if trial.state == "complete":
            head += f"  <b>{with_error(trial, errors, 2)}</b>"
            head += f", mean of {trainings[number]} trainings" if number in trainings else ""
            head += f", observed {written(study.trials[number], 2)}" if number in once else ""
        elif trial.reason:
            head += f"  {html.escape(trial.reason[:100])}"
        cost = f"{human(trial.cost.macs)} MACs, {human(trial.cost.params)} parameters"
        if trial.cost.latency_ms is not None:
            cost += f", {human(trial.cost.latency_ms)} ms"
        if trial.seconds is not None:
            cost += f", estimated in {time_text(trial.seconds)}"
        if trial.parent is not None:
            cost += f"<br>starts from the weights of trial {trial.parent}"
        words = [html.escape(part.strip()) for part in trial.architecture.words().split("|")]
        last = [] if command is None else [f"<i>{html.escape(command)} {number}</i>"]
        found[number] = "<br>".join([head, cost, *words, *last])
    return found
