"""The parts of a report on a training in full, as HTML: its curves, its confusion matrix, and its worst mistakes."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studies.pages.confusion import confusion_part
from studies.pages.page import (
    BLUE,
    DECIMALS,
    PERCENT,
    RED,
    Key,
    layout,
    plot,
    section,
    side_by_side,
    table,
    whole_ticks,
    words,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go


def training_section(
    name: str,
    facts: Mapping[str, Any],
    said: Sequence[str],
    evaluation: Mapping[str, Any] | None,
    mistakes: Sequence[Mapping[str, Any]],
) -> str:
    """A network trained in full.

    Args:
        name: of its folder, which is another for each training on a page.
        facts: of `training.json`.
        said: sentences on its accuracy.
        evaluation: as `nas.metrics.metrics` gives it; None where the images cannot be read.
        mistakes: the wrong answers, the most confident first: `png` (bytes), `true`, `predicted`, `confidence`.
    """
    curve, own = facts["curve"], f"of_{name}"
    parts = [
        words(*said),
        side_by_side(
            plot(loss_figure(curve), f"loss_{own}", [Key("training loss", BLUE, "line")], height="low"),
            plot(accuracy_figure(curve, facts["best_epoch"]), f"epochs_{own}", [
                Key("validation accuracy", BLUE, "line"), Key("the epoch whose weights were kept", RED, "ring")
            ], height="low"),
        ),
    ]  # fmt: skip
    if evaluation is not None:
        parts += ["<h3>Confusion matrix</h3>", confusion_part(evaluation, f"confusion_{own}"), _classes(evaluation)]
    if mistakes:
        shown = "".join(_thumbnail(each) for each in mistakes)
        parts += ["<h3>Most confident mistakes</h3>", f'<ul class="thumbnails">{shown}</ul>']
    return section(f"Trained in full: {name}", *parts)


def loss_figure(curve: Sequence[Mapping[str, Any]]) -> go.Figure:
    """The loss of each epoch."""
    return _curve(
        [one["epoch"] for one in curve], [one["train_loss"] for one in curve], "training loss", DECIMALS, ".3f"
    )


def accuracy_figure(curve: Sequence[Mapping[str, Any]], best: int) -> go.Figure:
    """The validation accuracy of each epoch, and the epoch whose weights are kept."""
    figure = _curve(
        [one["epoch"] for one in curve], [one["val_accuracy"] for one in curve], "validation accuracy", PERCENT, ".1%"
    )
    kept = [one for one in curve if one["epoch"] == best]
    figure.add_scatter(
        x=[one["epoch"] for one in kept], y=[one["val_accuracy"] for one in kept], mode="markers", hoverinfo="skip",
        marker={"symbol": "circle-open", "size": 14, "color": RED, "line": {"width": 2}},
    )  # fmt: skip
    return figure


def _curve(xs: list[int], ys: list[float], name: str, ticks: dict[str, Any], digits: str) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Scatter(x=xs, y=ys, mode="lines+markers", line={"color": BLUE, "width": 2}, marker={"size": 5},
                   hovertemplate=f"epoch %{{x}}: %{{y:{digits}}}<extra></extra>"), layout(),
    )  # fmt: skip
    figure.update_xaxes(title={"text": "epoch"}, **whole_ticks(len(xs)))
    figure.update_yaxes(title={"text": name}, **ticks)
    return figure


def _classes(evaluation: Mapping[str, Any]) -> str:
    """Recall and precision of the classes, the worst first."""
    several = sorted(evaluation["classes"], key=lambda one: (one["accuracy"] is None, one["accuracy"]))
    rows = [
        [one["class"], f"{one['images']:,}"]
        + ["" if one[key] is None else f"{one[key]:.1%}" for key in ("accuracy", "precision")]
        for one in several[:20]
    ]
    empty = sum(one["accuracy"] is None for one in several)
    known = len(several) - empty
    which = f"The 20 classes of {known} with the lowest recall" if known > 20 else "Classes"
    which += f"; {empty} class{'es have' if empty > 1 else ' has'} no images" if empty else ""
    return table(which, ("class", "images", "recall", "precision"), rows)


def _thumbnail(one: Mapping[str, Any]) -> str:
    url = f"data:image/png;base64,{base64.b64encode(one['png']).decode()}"
    said = f"{one['true']} classified as {one['predicted']} ({one['confidence']:.0%} confidence)"
    return f'<li><img src="{url}" alt="{html.escape(said)}">{html.escape(said)}</li>'
