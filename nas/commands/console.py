"""Where a command prints: the console, one JSON object, one line on standard error, a progress bar."""

from __future__ import annotations

import json as as_text
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it."""


def console(json: bool = False) -> Console:
    """Standard output; standard error where standard output is for one JSON object."""
    made = Console(stderr=json, highlight=False)
    return made if made.is_terminal else Console(stderr=json, highlight=False, width=120)


def print_json(value: Any) -> None:
    """Print a document as JSON, which has no NaN and no infinity: both are null."""
    print(as_text.dumps(_finite(value), indent=2, default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(message: str) -> None:
    """Print one line on standard error."""
    print("nas: " + " ".join(message.split()), file=sys.stderr)


def interrupted(how_to_resume: str = "") -> typer.Exit:
    """Say that Ctrl-C ended the command and how to resume it; what is given back is to be raised."""
    say(f"interrupted; {how_to_resume}" if how_to_resume else "interrupted")
    return typer.Exit(INTERRUPTED)


class Bar:
    """A progress bar where the console is a terminal; what takes its place elsewhere is up to the subclass.

    Args:
        console: where it is shown.
        quiet: show nothing.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console, self._quiet = console, quiet
        columns = (TextColumn("{task.description}"), BarColumn(40), MofNCompleteColumn(), TimeRemainingColumn())
        self._live: Progress | None = None
        if console.is_terminal and not quiet:
            self._live = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
