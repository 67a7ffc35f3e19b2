"""The confusion matrix of a classifier as a page: a row for each true class, a column for each predicted one."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces.files import write_whole
from studies.pages.page import HIGH, LOW, PAPER, layout, page, plot, scale

if TYPE_CHECKING:
    import plotly.graph_objects as go

NUMBERED: Final = 20
"""Classes up to which each cell has its number of images in it."""

LONG: Final = 16
"""Characters of a class's name that are shown, where that tells it from the others."""


def write_confusion(found: Mapping[str, Any], path: Path) -> None:
    """Draw the confusion matrix of an evaluation, as `nas.metrics.metrics` gives it.

    Raises:
        UserError: the file cannot be written.
    """
    accuracy = f"top-1 accuracy {found['accuracy']:.1%} ± {found['standard_error']:.1%}"
    about = [f"{found['images']:,} images", accuracy]
    notes = ["Select or hover over a cell for its number of images."]
    write_whole(path, page("Confusion matrix", about, [confusion_part(found)], notes))


def confusion_part(found: Mapping[str, Any], name: str = "confusion") -> str:
    """The matrix with its scale, as HTML, in an element of a name."""
    return plot(confusion_figure(found), name, scale=scale("share of the true class", "0%", "100%"), height="square")


def confusion_figure(found: Mapping[str, Any]) -> go.Figure:
    """The matrix, for a notebook."""
    import plotly.graph_objects as go

    names = [each["class"] for each in found["classes"]]
    counted = found["confusion_matrix"]
    shares = [[count / sum(row) if sum(row) else 0.0 for count in row] for row in counted]
    labels = [_label(name, names) for name in names]
    numbered = len(names) <= NUMBERED
    cells = go.Heatmap(
        z=shares, x=labels, y=labels, zmin=0, zmax=1, colorscale=[[0, PAPER], [0.05, LOW], [1, HIGH]],
        customdata=counted, text=counted if numbered else None, texttemplate="%{text}" if numbered else None,
        hovertemplate="%{y} classified as %{x}<br>%{customdata} images, %{z:.1%} of the class<extra></extra>",
        showscale=False, xgap=1, ygap=1,
    )  # fmt: skip
    figure = go.Figure(cells, layout())
    axis = {"showgrid": False, "type": "category", "automargin": True}
    figure.update_xaxes(title={"text": "predicted class"}, **axis)
    figure.update_yaxes(title={"text": "true class"}, autorange="reversed", **axis)
    return figure


def _label(name: str, names: list[str]) -> str:
    """A class's name as plotly's text, which knows some HTML; long ones are cut where they stay different."""
    short = name if len(name) <= LONG else name[: LONG - 1] + "…"
    if short != name and sum(each.startswith(name[: LONG - 1]) for each in names) > 1:
        short = name
    return html.escape(short, quote=False)
