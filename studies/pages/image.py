"""A plot as a picture: PNG, SVG or PDF, drawn by kaleido where it is installed, else by a headless browser."""

from __future__ import annotations

import base64
import html
import re
import shutil
import subprocess
import tempfile
import urllib.parse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from searchspaces import UserError

if TYPE_CHECKING:
    import plotly.graph_objects as go

PICTURES: Final = (".png", ".svg", ".pdf")
"""The endings of files that are pictures."""
WIDTH, HEIGHT = 1200, 720
"""In pixels of a page; a PNG has twice as many."""
_BROWSERS: Final = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)  # fmt: skip
_LIMIT_S: Final = 120

_DOCUMENT: Final = """<!doctype html><meta charset="utf-8">
<style>@page {{ size: {width}px {height}px; margin: 0; }} body {{ margin: 0; }}</style>
<div id="plot"></div><script>{library}</script>
<script>Plotly.newPlot("plot", {figure}, {{staticPlot: true}}).then(() => {then});</script>
"""
_TO_IMAGE: Final = (
    'Plotly.toImage("plot", {{format: "{kind}", width: {width}, height: {height}, scale: 2}})'
    ".then((url) => {{ document.body.textContent = url; }})"
)


def check_ending(path: Path) -> None:
    """Refuse a file that could be neither a page nor a picture.

    Raises:
        UserError: its ending says that it is something else.
    """
    if path.suffix.lower() not in (".html", *PICTURES):
        raise UserError(f"cannot plot into {str(path)!r}: it must end in .html, .png, .svg or .pdf")


def picture(figure: go.Figure, kind: str, title: str, about: str) -> bytes:
    """A figure of a page as the bytes of a picture, with its title and its legend inside.

    Args:
        figure: as the page draws it; it is changed.
        kind: `png`, `svg` or `pdf`.
        title, about: plain texts.

    Raises:
        UserError: there is nothing on this machine to draw it with, or it fails.
    """
    figure.update_layout(
        title={"text": f"<b>{html.escape(title)}</b>", "subtitle": {"text": html.escape(about)}, "x": 0,
               "xref": "paper", "xanchor": "left", "y": 0.97, "yanchor": "top", "font": {"size": 22}},
        showlegend=True, legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom"},
        margin={"l": 84, "r": 28, "t": 116, "b": 56}, width=WIDTH, height=HEIGHT,
    )  # fmt: skip
    if find_spec("kaleido"):
        try:
            drawn: bytes = figure.to_image(format=kind, width=WIDTH, height=HEIGHT, scale=2)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"kaleido cannot draw the plot: {str(error).strip().splitlines()[0]}") from error
        return drawn
    return _by_browser(figure, kind)


def _by_browser(figure: go.Figure, kind: str) -> bytes:
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise UserError(
            f"a plot as {kind} needs kaleido (pip install kaleido), Chromium or Google Chrome; none is on this machine"
        )
    from plotly.offline import get_plotlyjs

    then = "document.title" if kind == "pdf" else _TO_IMAGE.format(kind=kind, width=WIDTH, height=HEIGHT)
    document = _DOCUMENT.format(
        width=WIDTH, height=HEIGHT, library=get_plotlyjs(), figure=figure.to_json().replace("<", "\\u003c"), then=then
    )
    with tempfile.TemporaryDirectory(prefix="nas-plot-") as folder:
        page, made = Path(folder) / "plot.html", Path(folder) / "plot.pdf"
        page.write_text(document)
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", f"--user-data-dir={folder}/profile", "--virtual-time-budget=20000",
            *(["--no-pdf-header-footer", f"--print-to-pdf={made}"] if kind == "pdf" else ["--dump-dom"]),
            page.as_uri(),
        ]  # fmt: skip
        try:
            ran = subprocess.run(command, capture_output=True, timeout=_LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            raise UserError(f"{browser} took longer than {_LIMIT_S} s to draw the plot") from None
        if kind == "pdf" and made.exists():
            return made.read_bytes()
    url = re.search(rb"data:image/(?:png;base64|svg\+xml),([^<\s]+)", ran.stdout)
    if url is None:
        raise UserError(f"{browser} did not draw the plot (exit code {ran.returncode})")
    text = html.unescape(url[1].decode())
    return base64.b64decode(text) if kind == "png" else urllib.parse.unquote(text).encode()
