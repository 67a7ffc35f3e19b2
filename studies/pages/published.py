"""Classic networks by their published accuracy on ImageNet and what they cost: a page or a picture.

A grey line goes from the lowest to the highest top-1 accuracy of the published weights of one network on images of the
size that its costs are counted on. How far it goes is what the training recipe is worth. The front is through the
highest; its networks have their names beside them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces import UserError, human
from searchspaces.files import write_whole
from studies.pages.image import check_ending, picture
from studies.pages.page import FAINT, PERCENT, RED, SLATE, Key, layout, log_ticks, page, plot

if TYPE_CHECKING:
    import plotly.graph_objects as go

TITLE: Final = "Published accuracy of classic networks on ImageNet"
_NOTES: Final = (
    "Top-1 accuracy on the 50,000 validation images of ImageNet, single crop, as published by torchvision "
    "(BSD-3-Clause), timm (Apache-2.0) and imgclsmob (MIT) with their weights, all trained on ImageNet-1k only. None "
    "was trained here, and these accuracies are not comparable with those on other images.",
    "Recipes differ, from about a hundred to 3,600 epochs: compare networks trained with the same recipe (nas "
    "classics --json has them).",
    "One MAC is one multiply and one add; papers call the same number FLOPs or mult-adds; torch prints twice as much.",
)


def write_published(document: Mapping[str, Any], path: Path) -> None:
    """Plot networks as `nas classics` lists them; those without a published accuracy are left out.

    Args:
        document: as `nas.networks.classics_document` gives it.
        path: a page (.html) or a picture (.png, .svg, .pdf).

    Raises:
        UserError: none of the networks has a published accuracy, the path has another ending, or it cannot be written.
    """
    check_ending(path)
    several = [one for one in document["classics"] if one["top1"]]
    if not several:
        raise UserError("none of these networks has a published accuracy on ImageNet at the size of these images")
    about = f"{len(several)} networks, each from its lowest to its highest published top-1"
    figure = published_figure(several)
    if path.suffix.lower() != ".html":
        return write_whole(path, picture(figure, path.suffix.lower()[1:], TITLE, about))
    keys = [
        Key("a network, at its lowest and highest published accuracy", FAINT, "line", "published"),
        Key("front of the highest", RED, "line", "front"),
    ]
    write_whole(path, page(TITLE, [about], [plot(figure, "published", keys)], _NOTES))


def published_figure(several: Sequence[Mapping[str, Any]]) -> go.Figure:
    """The figure, for a notebook."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout(narrow={"annotations": []}))  # no room for names
    figure.add_trace(
        go.Scatter(
            x=[at for one in several for at in (one["macs"], one["macs"], None)],
            y=[at for one in several for at in (*one["top1"], None)],
            mode="lines", hoverinfo="skip", line={"color": FAINT, "width": 1.5}, opacity=0.6, legendgroup="published",
            name="lowest to highest published", showlegend=False,
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[one["macs"] for one in several], y=[one["top1"][1] for one in several], mode="markers",
            name="as published, not trained here", text=[_hover(one) for one in several],
            hovertemplate="%{text}<extra></extra>",
            marker={"size": 7, "color": FAINT}, legendgroup="published",
        )
    )  # fmt: skip
    best = _front(several)
    figure.add_trace(
        go.Scatter(
            x=[one["macs"] for one in best], y=[one["top1"][1] for one in best], mode="lines", hoverinfo="skip",
            line={"color": RED, "width": 1.5, "shape": "hv"}, name="front of the highest", legendgroup="front",
        )
    )  # fmt: skip
    low, high = (math.log10(end(one["macs"] for one in several)) for end in (min, max))
    shown = low - 1.0
    for one in best:
        at = math.log10(one["macs"])
        if at - shown >= 0.025 * (high - low):  # names at 45 degrees, each a line apart from the one before
            shown = at
            figure.add_annotation(
                x=at, y=one["top1"][1], text=html.escape(one["name"]), textangle=-45, showarrow=False,
                xanchor="left", yanchor="bottom", font={"size": 11, "color": SLATE},
            )  # fmt: skip
    top = max(one["top1"][1] for one in several)
    bottom = min(one["top1"][0] for one in several)
    view = [low - 0.04 * (high - low) - 0.02, high + 0.14 * (high - low) + 0.02]
    figure.update_xaxes(
        type="log", range=view, **log_ticks([10**end for end in view]), title={"text": "MACs (multiply-adds)"}
    )
    room = max(top - bottom, 0.01)
    figure.update_yaxes(
        range=[bottom - 0.05 * room, top + 0.25 * room], **PERCENT,
        title={"text": "published top-1 accuracy"},
    )  # fmt: skip
    return figure


def _front(several: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The networks that are more accurate than all cheaper ones, by their highest accuracy."""
    found: list[Mapping[str, Any]] = []
    for one in sorted(several, key=lambda one: (one["macs"], -one["top1"][1])):
        if not found or one["top1"][1] > found[-1]["top1"][1]:
            found.append(one)
    return found


def _hover(one: Mapping[str, Any]) -> str:
    """Name, costs and each accuracy of the size that costs are counted on."""
    size = int(one["task"].partition("x")[0])
    lines = [f"<b>{html.escape(one['name'])}</b>  {human(one['macs'])} MACs, {human(one['params'])} parameters"]
    there = sorted((each for each in one["accuracies"] if each["image_size"] == size), key=lambda each: -each["top1"])
    lines += [f"{each['top1']:.1%}  {each['source']} {html.escape(each['weights'])}" for each in there]
    return "<br>".join(lines)
