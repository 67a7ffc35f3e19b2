"""The command line: its commands by name, `main`, and the way from an error to one line and an exit code.

A person's mistake is one line on stderr and exit code 2; Ctrl-C exits 130 and says how to resume, SIGTERM and SIGHUP
the same with 143 and 129; anything else is our own mistake and keeps its traceback. What a command needs is imported
when it runs: `nas --help` loads neither NumPy nor torch, Ray or Optuna.
"""

from __future__ import annotations

import atexit
import errno
import functools
import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from nas.commands import (
    caching,
    comparing,
    evaluating,
    exporting,
    looking,
    measuring,
    proxies,
    scaling,
    search,
    spaces,
    training,
    tuning,
)
from nas.commands.console import INTERRUPTED, interrupted, say

MISTAKE: Final = 2

PANELS: Final[dict[str, dict[str, Callable[..., Any]]]] = {
    "From images to a network": {
        "search": search.search,
        "resume": search.resume,
        "train": training.train,
        "tune-recipe": tuning.tune_recipe,
        "scale": scaling.scale,
        "evaluate": evaluating.evaluate,
        "predict": evaluating.predict,
        "export": exporting.export,
    },
    "What was found": {
        "show": looking.show,
        "runs": looking.runs,
        "plot": looking.plot,
        "report": looking.report,
        "compare": comparing.compare,
        "dashboard": looking.dashboard,
    },
    "Spaces and networks": {
        "spaces": spaces.spaces,
        "space": spaces.space,
        "classics": spaces.classics,
        "cost": spaces.cost,
        "measure": measuring.measure,
    },
    "How far to trust it": {
        "proxy": proxies.proxy,
        "bench-strategies": comparing.bench_strategies,
    },
    "Settings and cache": {
        "settings": spaces.settings,
        "cache": caching.cache,
    },
}
"""The commands by the names that people type, in the panels and the order of the help."""
COMMANDS: Final = {name: command for panel in PANELS.values() for name, command in panel.items()}


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"nas {version('nas-toolkit')}")
        raise typer.Exit


def nas(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find convolutional networks that are as accurate as possible within a compute budget, on your own images.

    [bold]Start here:[/]  nas search --space mbconv --budget 400M --data digits

    400M means MACs: one MAC is one multiply and one add. Papers call the same
    number 400M FLOPs or mult-adds; torch's own counter would print 800M.
    """


def _with_plain_flags(params: list[Any]) -> list[Any]:
    """The parameters of a command, with nothing where typer would write `<bool>` beside a flag, `--help` included."""
    for each in params:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return params


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _with_plain_flags(super().get_params(ctx))


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _with_plain_flags(super().get_params(ctx))


def make_app(commands: Mapping[str, Callable[..., Any]]) -> typer.Typer:
    """The command line with these commands, by name."""
    made = typer.Typer(
        name="nas",
        cls=_Group,
        add_completion=True,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(nas)
    panels = {name: panel for panel, inside in PANELS.items() for name in inside}
    for name, command in commands.items():
        made.command(name, cls=_Command, rich_help_panel=panels.get(name))(_interruptible(command))
    return made


def _interruptible(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that says so when Ctrl-C ends it, which typer would do in silence."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt:
            raise interrupted() from None

    return run


def main(arguments: Sequence[str] | None = None, commands: Mapping[str, Callable[..., Any]] = COMMANDS) -> NoReturn:
    """Run the command line and exit: 0 when done, 2 on a person's mistake, 130 on Ctrl-C, 143 on SIGTERM."""
    with _ends_as_interrupts() as came:
        code = _run(arguments, commands)
        if code == INTERRUPTED and (came or _answered()):
            code = 128 + [*came, *_answered()][0]  # as shells have it
    atexit.register(gc.freeze)  # to collect what torch and Optuna hold takes two seconds of a process that ends anyway
    sys.exit(code)


@contextmanager
def _ends_as_interrupts() -> Iterator[list[int]]:
    """Make of the first SIGTERM or SIGHUP what Python makes of Ctrl-C, and of later ones nothing.

    Gives those that came, but for those that `studies.interrupts` answered. Nothing changes where they are ignored, as
    under nohup.
    """
    came: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        came.append(signum)
        if len(came) == 1 and not _answered():
            raise KeyboardInterrupt

    ours = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        ours = []
    ours = [each for each in ours if signal.getsignal(each) == signal.SIG_DFL]
    for each in ours:
        signal.signal(each, interrupt)
    try:
        yield came
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def _answered() -> Sequence[int]:
    """The SIGTERM or SIGHUP that an orderly end was the answer to."""
    interrupts = sys.modules.get("studies.interrupts")  # where it is not loaded, it answered nothing
    return tuple(interrupts.CAME) if interrupts else ()


def _run(arguments: Sequence[str] | None, commands: Mapping[str, Callable[..., Any]]) -> int:
    """Run the command line; its exit code."""
    typed = list(sys.argv[1:] if arguments is None else arguments)
    given = typed
    if "--ray" in given:
        from nas.placement import with_address

        given = with_address(given)
    try:
        if given and not given[0].startswith("-") and given[0] not in commands:
            code = _refuse(f"unknown command {given[0]!r}{_nearest(given[0], commands)}")
        else:
            app = make_app(commands)
            code = app(args=given or ["--help"], prog_name="nas", standalone_mode=False, obj=typed) or 0
    except KeyboardInterrupt:
        say("interrupted")
        code = INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as failure:
        mistake = _mistake(failure)
        if mistake is None:
            raise
        code = _refuse(mistake)
    return int(code)


def _mistake(failure: Exception) -> str | None:
    """The message, if the failure is a person's mistake; None if it is ours."""
    if isinstance(failure, typer.TyperException):
        return _usage_line(failure)
    if isinstance(failure, OSError):
        return f"{failure.filename or 'output'}: {failure.strerror}" if failure.errno in _FOLDER_TROUBLE else None
    from searchspaces import NothingFitsError, UserError

    if isinstance(failure, NothingFitsError) and failure.most_macs is not None:
        from searchspaces.catalog import RANGES
        from searchspaces.cost import human

        small = [f"{name} (from {human(low)})" for name, (low, _) in RANGES.items() if low <= failure.most_macs]
        if failure.most_macs < 10_000:
            return f"{failure}; did you mean {failure.most_macs}M?"
        more = f"; at 224 px these spaces have smaller networks: {', '.join(small)}" if small else ""
        return f"{failure}{more}"
    return str(failure) if isinstance(failure, UserError) else None


_FOLDER_TROUBLE: Final = {
    errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.ENAMETOOLONG,
}  # fmt: skip


def _refuse(message: str) -> int:
    say(message)
    return MISTAKE


def _usage_line(mistake: typer.TyperException) -> str:
    """What is wrong with the options and arguments, with the nearest option if one is unknown."""
    context = getattr(mistake, "ctx", None)
    command = f"{context.info_name}: " if context is not None and context.parent is not None else ""
    option = getattr(mistake, "option_name", None)
    if option and "o such option" in mistake.message:
        known = [name for parameter in context.command.params for name in parameter.opts] if context else []
        return f"{command}unknown option {option!r}{_nearest(option, [name for name in known if name[:2] == '--'])}"
    text = mistake.format_message().rstrip(".")
    wrong = re.match(r"Invalid value for '(--[\w-]+)'.*should be a valid (integer|number)", text, re.IGNORECASE)
    if wrong and context is not None:
        typed = list(context.obj or ())
        given = [each for name, each in pairwise([*typed, ""]) if name == wrong[1]]
        given += [each.partition("=")[2] for each in typed if each.startswith(f"{wrong[1]}=")]
        kind = {"integer": "a whole number", "number": "a number"}[wrong[2]]
        text = f"{wrong[1]}: {' '.join(map(repr, given[-1:]))} is not {kind}"
    if "nexpected extra argument" in text and context is not None and "--ray" in (context.obj or ()):
        text += "; write --ray or --ray local for this machine, else --ray auto or --ray host:6379"
    return f"{command}{text[:1].lower()}{text[1:]}"


def _nearest(name: str, names: Iterable[str]) -> str:
    from searchspaces import nearest

    return nearest(name, names)
