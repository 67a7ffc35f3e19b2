"""The commands of the command line by name, in the panels of its help, and how typer makes a program of them.

What a command needs is imported when it runs: `nas --help` loads neither NumPy nor torch, Ray or Optuna.
"""

from __future__ import annotations

import functools
import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Final

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
from nas.commands.console import interrupted

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
    "Results": {
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
    "Reliability": {
        "proxy": proxies.proxy,
        "bench-strategies": comparing.bench_strategies,
    },
    "Settings and cache": {
        "settings": spaces.settings,
        "cache": caching.cache,
    },
}
"""The commands by the names that people type, in the panels and the order of the help."""
COMMANDS: Final = ChainMap(*reversed(PANELS.values()))  # in the order of the panels


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


def usage_mistake(mistake: Exception) -> str | None:
    """What is wrong with the options and arguments, with the nearest option if one is unknown; None of other errors."""
    if not isinstance(mistake, typer.TyperException):
        return None
    context = getattr(mistake, "ctx", None)
    command = f"{context.info_name}: " if context is not None and context.parent is not None else ""
    option = getattr(mistake, "option_name", None)
    if option and "o such option" in mistake.message:
        known = [name for parameter in context.command.params for name in parameter.opts] if context else []
        return f"{command}unknown option {option!r}{nearest_name(option, [name for name in known if name[:2] == '--'])}"
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


def nearest_name(name: str, names: Iterable[str]) -> str:
    """`did you mean` with the nearest of the names, or all of them."""
    from searchspaces import nearest

    return nearest(name, names)
