"""Predictions with their class activation maps as a page: each image as the network saw it, and its map over it."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from searchspaces.files import write_whole
from studies.pages.page import page

_NOTES: Final = (
    "On the left is what the network saw: the image rotated upright, cropped to its centre square and resized. On "
    "the right, the brightest areas contribute most to the score of the predicted class; evidence against it is not "
    "shown. The brightest colour is the maximum of each image, so brightness is not comparable between images.",
    "A map shows where the evidence for a prediction lies, not whether the prediction is right.",
)


def write_explanation(document: Mapping[str, Any], pictures: Sequence[bytes], path: Path) -> None:
    """Write the page.

    Args:
        document: predictions as `nas.evaluating.predict` gives them, with the method and the size of the map under
            `explanation`.
        pictures: a PNG for each image, twice as wide as high.
        path: the page.

    Raises:
        UserError: it cannot be written.
    """
    explanation = document["explanation"]
    size = "x".join(map(str, explanation["map"]))
    count = len(pictures)
    about = [str(explanation["method"]), f"map of {size} pixels", f"{count:,} image{'s' if count != 1 else ''}"]
    shown = "".join(map(_pair, document["images"], pictures))
    title = f"What {Path(document['folder']).name} looks at"
    write_whole(path, page(title, about, [f'<ul class="thumbnails pairs">{shown}</ul>'], _NOTES))


def _pair(one: Mapping[str, Any], png: bytes) -> str:
    first = one["classes"][0]
    said = f"{first['class']} {first['probability']:.1%}"
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    name = html.escape(one["file"])
    return f'<li><img src="{url}" alt="{name}, {html.escape(said)}"><b>{html.escape(said)}</b> {name}</li>'
