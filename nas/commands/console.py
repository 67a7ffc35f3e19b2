"""Where a command prints: the console, one JSON object, one line on standard error, a progress bar."""

from __future__ import annotations

import itertools
import json as as_text
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import typer
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType
    from rich.progress import Progress

T = TypeVar("T")

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it."""


class Screen(Console):
    """A console on which names are text: without markup, and with the control characters in them made visible."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(as_printed(renderable), options):
            yield Segment(text if control else visible(text), style, control)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        """Without the blanks that fill lines up, where no terminal shows them."""
        text = super()._render_buffer(buffer)
        return text if self.is_terminal else re.sub(r" +$", "", text, flags=re.MULTILINE)


def visible(text: str) -> str:
    """A text in which control characters, of which terminals make colours and commands, are pictures of themselves.

    >>> visible("cat" + chr(27) + "[2J"), visible("two" + chr(10) + "lines")
    ('cat␛[2J', 'two\\nlines')
    """
    return text.translate(_PICTURES)


def as_printed(renderable: RenderableType) -> RenderableType:
    """A text as wide as it is printed: rich counts no columns for control characters, whose pictures have one.

    >>> Text("a" + chr(27)).cell_len, as_printed(Text("a" + chr(27))).cell_len
    (1, 2)
    """
    if isinstance(renderable, str):
        return visible(renderable)
    if isinstance(renderable, Text):
        made = renderable.copy()
        made.plain = visible(renderable.plain)
        return made
    return renderable


_PICTURES: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) != "\n"},
    **dict.fromkeys(range(0x7F, 0xA0), 0x2421),
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),  # they turn the order of letters
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),  # halves of letters, which UTF-8 cannot write
}


def console(json: bool = False) -> Console:
    """Standard output; standard error where standard output is for one JSON object."""
    made = Screen(stderr=json, highlight=False, markup=False, emoji=False)
    if made.is_terminal:
        return made
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and int(columns) else 120
    return Screen(stderr=json, highlight=False, markup=False, emoji=False, width=width)


def print_json(value: Any) -> None:
    """Print a document as JSON, which has no NaN and no infinity: both are null."""
    from nas.documents import finite

    print(as_text.dumps(finite(value), indent=2, default=str, allow_nan=False))


def say(message: str) -> None:
    """Print one line on standard error."""
    from searchspaces.errors import brief

    print("nas: " + visible(brief(" ".join(message.split()))), file=sys.stderr)


def say_at_once(message: str) -> None:
    """Print one line on standard error, from the handler of a signal too, which may come while another is printed."""
    os.write(2, f"nas: {message}\n".encode())


def stopping(meanwhile: str) -> str:
    """The answer to the first Ctrl-C.

    >>> stopping("writing the results")
    'stopping… writing the results; press Ctrl-C again to quit immediately'
    """
    return f"stopping… {meanwhile}; press Ctrl-C again to quit immediately"


def interrupted(how_to_resume: str = "") -> typer.Exit:
    """Say that Ctrl-C ended the command and how to resume it; what is given back is to be raised."""
    say(f"interrupted; {how_to_resume}" if how_to_resume else "interrupted")
    return typer.Exit(INTERRUPTED)


@contextmanager
def waiting(json: bool = False, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """One line on a terminal that says what is being done, from the first moment on; nothing elsewhere.

    Args:
        json, quiet: show nothing.

    Yields:
        What removes the line, before something else is shown; the end of the block does so too.
    """
    screen = console()
    if json or quiet or not screen.is_terminal:
        yield lambda: None
        return
    from rich.live import Live
    from rich.spinner import Spinner

    line = Spinner("dots", Text("loading"))
    live = Live(line, console=screen, refresh_per_second=10, transient=True)

    def show(words: str) -> None:
        text = Text(words)
        text.truncate(screen.width - 2, overflow="ellipsis")  # beside the spinner
        line.update(text=text)

    try:
        live.start(refresh=True)
        from searchspaces.progress import watched

        with watched(show):
            yield live.stop
    finally:
        live.stop()


def waited(things: Iterable[T], json: bool = False, quiet: bool = False) -> Iterator[T]:
    """The things as they come, and while each is waited for the line of `waiting`."""
    several = iter(things)
    while True:
        with waiting(json, quiet):
            found = list(itertools.islice(several, 1))
        if not found:
            return
        yield found[0]


class Bar:
    """A progress bar where the console is a terminal; what takes its place elsewhere is up to the subclass.

    Args:
        console: where it is shown.
        quiet: show nothing.
        begin: called before the bar is first shown; removes what was shown until then.
    """

    def __init__(self, console: Console, quiet: bool = False, begin: Callable[[], None] = lambda: None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console, self._quiet, self._begin = console, quiet, begin
        columns = (TextColumn("{task.description}"), BarColumn(40), MofNCompleteColumn(), TimeRemainingColumn())
        self._live: Progress | None = None
        if console.is_terminal and not quiet:
            self._live = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> Self:
        return self

    def shown(self) -> Progress | None:
        """The bar, which is shown from the first call on; None where there is none."""
        if self._live is not None and not self._live.live.is_started:
            self._begin()
            self._live.start()
        return self._live

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
