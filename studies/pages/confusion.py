"""The confusion matrix of a classifier as a page: a row for each true class, a column for each predicted one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from searchspaces.files import write_whole
from studies.pages.page import INK, heading, layout, page

NUMBERED: Final = 20
"""Classes up to which each cell has its number of images in it."""

LONG: Final = 16
"""Characters of a class's name that are shown, where that tells it from the others."""


def write_confusion(found: Mapping[str, Any], path: Path) -> None:
    """Draw the confusion matrix of an evaluation, as `nas.metrics.metrics` gives it.

    Raises:
        UserError: the file cannot be written.
    """
    import plotly.graph_objects as go

    names = [each["class"] for each in found["classes"]]
    counted = found["confusion_matrix"]
    shares = [[100 * count / sum(row) if sum(row) else 0.0 for count in row] for row in counted]
    labels = [_label(name, names) for name in names]
    cells = go.Heatmap(
        z=shares, x=labels, y=labels, zmin=0, zmax=100, colorscale="Blues", customdata=counted,
        text=counted if len(names) <= NUMBERED else None, texttemplate="%{text}" if len(names) <= NUMBERED else None,
        hovertemplate="%{y} classified as %{x}<br>%{customdata} images, %{z:.1f} % of the class<extra></extra>",
        showscale=False,  # a narrow window has no room for it
    )  # fmt: skip
    subtitle = f"{found['images']:,} images, top-1 accuracy {100 * found['accuracy']:.1f} %"
    figure = go.Figure(cells, layout(heading("Confusion matrix", subtitle)))
    axis = {"showgrid": False, "tickfont": {"color": INK}, "type": "category", "automargin": True}
    figure.update_xaxes(title="predicted class", **axis)
    figure.update_yaxes(title="true class", autorange="reversed", **axis)
    write_whole(
        path,
        page(
            figure,
            "confusion",
            "Confusion matrix",
            ["Colour is the share of the true class. Hover over a cell for its number of images."],
        ),
    )


def _label(name: str, names: list[str]) -> str:
    """A class's name as plotly's text, which knows some HTML; long ones are cut where they stay different."""
    short = name if len(name) <= LONG else name[: LONG - 1] + "…"
    if short != name and sum(each.startswith(name[: LONG - 1]) for each in names) > 1:
        short = name
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
