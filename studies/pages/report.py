"""The parts of a report on a search that the other pages do not have, as HTML: each takes a study and gives a section.

`nas.reporting` says which of them stand in a report, and in what order.
"""

from __future__ import annotations

import html
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from estimators.estimator import PREPARED_S, binomial_error
from searchspaces.cost import three_digits
from searchspaces.plural import number_of
from searchspaces.space import letters
from studies import results
from studies.belief import beliefs, believed
from studies.energy import joules
from studies.importances import FEWEST, decision_importances
from studies.pages.page import (
    BLUE,
    FAINT,
    PERCENT,
    RED,
    Key,
    layout,
    pale,
    plot,
    section,
    strategy_colour,
    table,
    whole_ticks,
    words,
)
from studies.pages.pareto import front_title, hovers, pareto_parts, show_command, time_text, told, with_error
from studies.trial import device_seconds

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from studies.study import Study
    from studies.trial import Trial

SHOWN: Final = 15
"""Decisions whose importance is drawn, at most."""
NAMED_MOST: Final = 10
"""Pruned trials that are named, at most."""
LOW: Final = 6
"""Decisions whose names have room in a low plot."""


def front_section(study: Study, x: str) -> str:
    """The front with the classic networks, and a table of the networks on it."""
    errors = study.standard_errors
    rows = [
        [
            str(trial.number),
            with_error(trial, errors),
            three_digits(trial.cost.macs),
            three_digits(trial.cost.params),
            trial.architecture.words(),
        ]
        for trial in study.pareto(x)
    ]
    estimated = "estimate" if "estimates" in study.manifest.estimator["resolved"] else "accuracy"
    columns = ("trial", estimated, "MACs", "parameters", "choices")
    return section(front_title(study), *pareto_parts(study, x), table("Networks on the front", columns, rows))


def progress_section(study: Study) -> str:
    """The best so far after each trial, with a band of one standard error."""
    key = [Key("best so far", strategy_colour(study.manifest.strategy["name"]), "line", "best so far")]
    if study.judged_by:
        key.append(Key("one standard error", strategy_colour(study.manifest.strategy["name"]), "area", "band"))
    key.append(Key("trial", FAINT, "disc", "trial"))
    return section(
        "Best so far", plot(progress_figure(study), "progress", key, height="low", command=show_command(study))
    )


def progress_figure(study: Study) -> go.Figure:
    """The figure, for a notebook."""
    import plotly.graph_objects as go

    trials = believed(study.trials)
    ended = sorted((trial for trial in trials if trial.rank is not None), key=lambda trial: trial.rank or 0)
    complete = [(place, trial) for place, trial in enumerate(ended, 1) if trial.state == "complete"]
    xs, reached, errors = _reached(study)
    colour, images, hovered = strategy_colour(study.manifest.strategy["name"]), study.judged_by, hovers(study)
    figure = go.Figure(layout=layout())
    if images:
        for sign, fill in ((1, None), (-1, "tonexty")):
            figure.add_trace(
                go.Scatter(
                    x=xs, y=[min(each + sign * error, 1.0) for each, error in zip(reached, errors, strict=True)],
                    mode="lines", line={"shape": "hv", "width": 0, "color": colour}, fill=fill, fillcolor=pale(colour),
                    hoverinfo="skip", legendgroup="band",
                )
            )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=xs, y=reached, mode="lines" if len(xs) > 1 else "markers", hoverinfo="skip", legendgroup="best so far",
            line={"shape": "hv", "color": colour, "width": 2.5},
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[place for place, _ in complete], y=[trial.accuracy for _, trial in complete], mode="markers",
            marker={"size": 7, "color": FAINT}, legendgroup="trial",
            text=[hovered[trial.number] for _, trial in complete],
            customdata=[trial.number for _, trial in complete], hovertemplate="%{text}<extra></extra>",
        )
    )  # fmt: skip
    shown = max(len(ended), 1)
    figure.update_xaxes(title={"text": "finished trials"}, range=[0.5, shown + 0.5], **whole_ticks(shown))
    figure.update_yaxes(title={"text": _estimate(study)}, **_ticks(study))
    return figure


def _reached(study: Study) -> tuple[list[int], list[float], list[float]]:
    """Numbers of ended trials; the accuracy of the best network after as many, as `Study.best` chooses it; and its
    standard error, as `Study.standard_errors` has it, NaN where that is unknown."""
    trials, images = believed(study.trials), study.judged_by
    ended = sorted((trial for trial in trials if trial.rank is not None), key=lambda trial: trial.rank or 0)
    xs, reached, errors = [], [], []
    once = {number: belief.standard_error for number, belief in beliefs(study.trials).items()}
    best, error, confirmed = -math.inf, math.nan, False
    for place, trial in enumerate(ended, 1):
        if trial.state == "complete" and trial.accuracy is not None:
            if trial.confirms is not None:
                so_far = _confirmed_until(study.trials, trial.rank or 0)
                leader = results.best(so_far)
                assert leader is not None
                best, confirmed = results.accuracy_of(leader), True
                error = results.standard_errors(so_far, images).get(leader.number, math.nan)
            elif not confirmed and trial.accuracy > best:
                best = trial.accuracy
                error = once.get(trial.number, binomial_error(best, images) if images else math.nan)
        if best > -math.inf:
            xs.append(place)
            reached.append(best)
            errors.append(error)
    return xs, reached, errors


def _confirmed_until(trials: Sequence[Trial], rank: int) -> list[Trial]:
    """The trials as they were at that place among the ends, as far as confirmations go."""
    return [
        each if each.confirms is None or (each.rank is not None and each.rank <= rank)
        else replace(each, state="running") for each in trials
    ]  # fmt: skip


def winner_section(study: Study, drawing: str) -> str:
    """The best network: in a line, its choices, and drawn.

    Args:
        study: with a complete trial.
        drawing: an SVG element.
    """
    best = study.best
    cost = f"{best.cost.macs:,} MACs and {best.cost.params:,} parameters on images of {study.task}."
    choices = best.architecture.words().replace("|", "\n").replace("\n ", "\n")
    return section(
        "The best network",
        words(f"{told(best, study)}: {cost}"),
        f"<pre>{html.escape(choices)}</pre>",
        *([words(", ".join(meant) + ".")] if (meant := letters(choices)) else []),
        f'<div class="drawing" tabindex="0">{drawing}</div>',
    )


def decisions_section(study: Study, x: str) -> str:
    """What each decision matters, and what the networks on the front of accuracy and a cost chose."""
    found = decision_importances(study)
    parts = []
    if found:
        total = min(sum(found.values()), 1.0)
        more = f" The {SHOWN} most important of {len(found)} are shown." if len(found) > SHOWN else ""
        parts = [
            plot(importances_figure(found), "importances", height="low" if len(found) <= LOW else "tall"),
            words(
                "Importance: the share of the variance of accuracy, as a random forest predicts it, that a decision "
                f"explains on its own among the trials (functional ANOVA). Together these shares are {total:.0%}; the "
                f"remaining {1 - total:.0%} is explained only by combinations of decisions, and includes noise.{more}"
            ),
        ]
    else:
        count = len(results.complete(study.trials))
        parts = [
            words(
                f"The importance of decisions is estimated once {FEWEST} networks are complete; so far there "
                f"{'is 1' if count == 1 else f'are {count}'}."
            )
        ]
    return section("Decisions", *parts, _choices(study, x))


def importances_figure(found: dict[str, float]) -> go.Figure:
    """Importances as bars, for a notebook."""
    import plotly.graph_objects as go

    shown = list(found.items())[:SHOWN][::-1]
    names = [html.escape(name) for name, _ in shown]
    figure = go.Figure(
        go.Bar(x=[share for _, share in shown], y=names, orientation="h", marker={"color": BLUE},
               hovertemplate="%{y}: %{x:.1%}<extra></extra>"), layout(),
    )  # fmt: skip
    figure.update_xaxes(rangemode="tozero", title={"text": "importance"}, **PERCENT)
    figure.update_yaxes(type="category", showgrid=False, dtick=1, tickfont={"size": 12})  # else some have no name
    return figure


def _choices(study: Study, x: str) -> str:
    """The options that networks on the front chose, a stage a row, a kind of decision a column."""
    front = study.pareto(x)
    several = [one.name for one in study.space.decisions if len(one.options) > 1]
    split = [(name, *name.rpartition(".")[::2]) for name in several]
    stages = list(dict.fromkeys(stage for _, stage, _ in split))
    kinds = list(dict.fromkeys(kind for _, _, kind in split))
    rows = []
    for stage in stages:
        row = [stage or "network"]
        for kind in kinds:
            name = next((name for name, of, last in split if (of, last) == (stage, kind)), None)
            counted = Counter(
                str(trial.architecture.choices[name]) for trial in front if name in trial.architecture.choices
            )
            row.append(", ".join(f"{option} ×{times}" for option, times in counted.most_common()) or "–")
        rows.append(row)
    return table("Choices made by networks on the front, with how many made each", ("stage", *kinds), rows)


def curves_section(study: Study, x: str) -> str:
    """The learning curve of each trial."""
    if not any(len(trial.reports) > 1 for trial in study.trials):
        return section("Learning curves", words("The estimator reports no learning curves."))
    keys = [Key("on the front", RED, "line", "front"), Key("other trials", FAINT, "line", "other")]
    drawn = plot(learning_figure(study, x), "learning", keys, command=show_command(study))
    return section("Learning curves", drawn, *_extrapolation(study))


def _extrapolation(study: Study) -> Iterator[str]:
    """How far extrapolated final accuracies hold, and which pruned trials may have ended above the best."""
    if (checked := study.extrapolation) is None:
        return
    ranks = "estimates" in study.manifest.estimator["resolved"]
    rows = [
        [
            f"{each.step} of {checked.steps}",
            f"{each.error:.4f}" if ranks else f"{100 * each.error:.2f} points",
            f"{round(100 * each.coverage)}%",
        ]
        for each in checked.at
    ]
    caption = (
        f"Extrapolated final estimates of {checked.curves} complete trials, each predicted from the others: 80% ± "
        f"{round(100 * checked.standard_error)}% of the 80% intervals should cover the observed value"
    )
    yield table(caption, ("epochs known", "mean absolute error", "in the 80% interval"), rows)
    if named := study.may_exceed:
        estimates = [f"{each.final.mean:.4f}" if ranks else f"{100 * each.final.mean:.1f}%" for each in named]
        yield table(
            "Pruned trials that might have beaten the best, by extrapolation",
            ("trial", "expected at the end", "chance"),
            [
                [str(each.number), estimate, f"{round(100 * each.chance)}%"]
                for each, estimate in zip(named[:NAMED_MOST], estimates, strict=False)
            ],
        )


def learning_figure(study: Study, x: str) -> go.Figure:
    """Accuracy after each report of each trial, for a notebook; two traces, as a browser takes long over thousands.

    Args:
        study: any.
        x: the cost that the front is in, whose trials are red.
    """
    import plotly.graph_objects as go

    front, hovered = {trial.number for trial in study.pareto(x)}, hovers(study)
    digits = ".4f" if "estimates" in study.manifest.estimator["resolved"] else ".2%"
    figure = go.Figure(layout=layout())
    for group, opacity, line in (
        ("other", 0.6, {"color": FAINT, "width": 1}),
        ("front", 1, {"color": RED, "width": 2.2}),
    ):
        points: list[tuple[int, float | None, str, int]] = []
        for trial in study.trials:
            if not trial.reports or (trial.number in front) != (group == "front"):
                continue
            gap = (trial.reports[0][0], None, "", trial.number)
            drawn = [
                (step, each, f"{each:{digits}} {_where(step)}<br>{hovered[trial.number]}", trial.number)
                for step, each in trial.reports
            ]
            rungs = len(trial.rungs) if trial.curve else 0  # a rung is no point of the curve: the line begins after it
            points += [*drawn[:rungs], gap, *drawn[rungs:], gap]
        if points:
            steps, ys, texts, numbers = zip(*points, strict=True)
            figure.add_trace(
                go.Scatter(
                    x=steps, y=ys, text=texts, customdata=numbers, mode="lines+markers", legendgroup=group,
                    opacity=opacity, marker={"size": 4}, line=line, hovertemplate="%{text}<extra></extra>",
                )
            )  # fmt: skip
    climbed = any(trial.rungs for trial in study.trials)
    title = "report (epoch; up to 0: rung)" if climbed else "report (epoch)"
    most = max((len(each.reports) for each in study.trials), default=1)
    figure.update_xaxes(title={"text": title}, **whole_ticks(most))
    figure.update_yaxes(title={"text": _estimate(study)}, **_ticks(study))
    return figure


def _where(step: int) -> str:
    return f"after step {step}" if step > 0 else f"at rung {step}"


def failures_section(study: Study) -> str:
    """How trials ended, and why those that failed did."""
    at_work = study.is_running
    states = Counter(results.state_of(trial, at_work) for trial in study.trials)
    counted = ", ".join(results.counted(states[state], state) for state in results.STATES if states[state])
    failed = Counter((trial.reason or "no reason given")[:200] for trial in study.trials if trial.state == "failed")
    if not failed:
        return section("Failures", words(f"No trial failed: {counted}."))
    rows = [[reason, str(times)] for reason, times in failed.most_common()]
    return section("Failures", words(f"{counted}."), table("Why trials failed", ("reason", "trials"), rows))


def cost_section(study: Study, more: Sequence[tuple[str, str, float]] = ()) -> str:
    """The time of the search by device.

    Args:
        study: any.
        more: what else was computed, such as a training: its name, its device and its seconds.
    """
    seconds: dict[str, list[float]] = {}
    for trial in study.trials:
        if trial.seconds is not None:
            device = str(trial.details.get("device") or "not recorded")
            seconds.setdefault(device, []).append(device_seconds(trial))
    rows = [[number_of(len(each), "trial"), device, time_text(sum(each))] for device, each in sorted(seconds.items())]
    for trial in study.trials[:1]:
        if PREPARED_S in trial.details:
            device = str(trial.details.get("device") or "not recorded")
            rows.insert(0, ["what all trials share", device, time_text(float(trial.details[PREPARED_S]))])
    rows += [[name, device, time_text(took)] for name, device, took in more]
    starts = [trial.started for trial in study.trials if trial.started]
    ends = [trial.ended for trial in study.trials if trial.ended]
    whole = ""
    if starts and ends:
        took = time_text((max(ends) - min(starts)).total_seconds())
        whole = f"From start to finish, the search took {took} of wall-clock time, interruptions included."
    return section(
        "What it cost",
        table("Training time, summed over devices of the same kind", ("", "device", "time"), rows),
        words(whole, energy_text(study)),
    )


def energy_text(study: Study) -> str:
    """What the GPUs used during the trials, in a sentence."""
    used, trials = joules(trial.details for trial in study.trials)
    if not trials:
        return "Energy was not recorded: that requires an NVIDIA GPU and pip install 'nas-toolkit[energy]'."
    hours = used / 3600
    told = f"{hours:.3g} Wh" if hours < 999.5 else f"{hours / 1000:,.1f} kWh"
    of = "the trials" if trials == len(study.trials) else f"{trials} of {number_of(len(study.trials), 'trial')}"
    return (
        f"While {of} ran, their GPUs used {told} according to the driver's counter, including any other work on them."
    )


def manifest_section(study: Study) -> str:
    """All settings."""
    text = json.dumps(asdict(study.manifest), indent=2, ensure_ascii=False)
    return section(
        "Manifest", f"<details><summary>All settings and versions</summary><pre>{html.escape(text)}</pre></details>"
    )


def commands_section(commands: Sequence[str], notes: Sequence[str]) -> str:
    """How to do the same again."""
    return section(
        "Reproduce",
        f'<pre class="commands">{html.escape(chr(10).join(commands))}</pre>',
        *(words(note) for note in notes),
    )


def _estimate(study: Study) -> str:
    return str(study.manifest.estimator["resolved"].get("estimates") or "validation accuracy")


def _ticks(study: Study) -> dict[str, Any]:
    return {"tickformat": ".3f"} if "estimates" in study.manifest.estimator["resolved"] else PERCENT
