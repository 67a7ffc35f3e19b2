"""What a person types: commands parse, call a public function and print.

Nothing heavy is imported at the top: `nas --help` and `nas space` answer without torch, Ray or Optuna. Mistakes are one
line on stderr and exit code 2; Ctrl-C exits 130 and says how to go on; anything else is our own mistake and keeps its
traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED: Final = 130
MISTAKE: Final = 2

app = typer.Typer(
    name="nas",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

BUDGET_HELP: Final = (
    "Most a network may cost: 400M (MACs), 360M..400M, macs=400M,params=5.3M, or 60% of the space's largest."
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result.")]
TaskText = Annotated[
    str, typer.Option("--task", metavar="HxWxC:N", help="Deployment task, on which costs are counted.")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run folder, such as runs/first.", show_default=False)]


@app.callback()
def nas() -> None:
    """Find convolutional networks that are as accurate as possible within a compute budget, on your own images.

    [bold]Start here:[/]  nas search --space mbconv --budget 400M --data digits

    400M means MACs: one MAC is one multiply and one add. Papers call the same number 400M FLOPs or mult-adds;
    torch's own counter prints 800M.
    """


@app.command()
def spaces(json: Json = False) -> None:
    """List the search spaces that have a name.

    [bold]Example:[/]  nas spaces
    """
    from nas.documents import spaces_document

    document = spaces_document()
    if json:
        return _print_json(document)
    from nas.screens import show_spaces

    show_spaces(document, _console())


@app.command()
def space(
    name: Annotated[str, typer.Argument(metavar="SPACE", help="A name from 'nas spaces', or file.py:object.")],
    budget: Annotated[str | None, typer.Option(metavar="BUDGET", help=BUDGET_HELP)] = None,
    task: TaskText = "224x224x3:1000",
    json: Json = False,
) -> None:
    """Tell what a space holds, what its networks cost, and how many fit a budget.

    [bold]Example:[/]  nas space mbconv --budget 360M..400M --task 32x32x3:10
    """
    from nas.documents import space_document
    from searchspaces import Budget, Task, load_space

    document = space_document(load_space(name), Task.parse(task), Budget.parse(budget) if budget else None)
    if json:
        return _print_json(document)
    from nas.screens import show_space

    show_space(document, _console())


@app.command()
def cost(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="A classic's name, an architecture (JSON or its file), or file.py:object."
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(metavar="HxWxC:N", help="Images and classes; by default the network's own, or 224x224x3:1000."),
    ] = None,
    json: Json = False,
) -> None:
    """Count what a network costs, stage by stage.

    A torch module of your own (my_net.py:net, a module or a function that makes one) is counted by tracing.

    [bold]Example:[/]  nas cost efficientnet_b0 --task 240x240x3:1000
    """
    from nas.documents import cost_document
    from searchspaces import Task

    document = cost_document(network, Task.parse(task) if task else None)
    if json:
        return _print_json(document)
    from nas.screens import show_cost

    show_cost(document, _console())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 when done, 2 on a person's mistake, 130 on Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and not given[0].startswith("-") and given[0] not in _command_names():
            code = _refuse(f"unknown command {given[0]!r}{_nearest(given[0], _command_names())}")
        else:
            code = app(args=given or ["--help"], prog_name="nas", standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = _say("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as failure:
        mistake = _mistake(failure)
        if mistake is None:
            raise
        code = _refuse(mistake)
    sys.exit(code)


def _mistake(failure: Exception) -> str | None:
    """What to tell the person whose mistake it was; None when it was ours."""
    if isinstance(failure, typer.TyperException):
        return _usage_line(failure)
    if isinstance(failure, OSError):
        return f"{failure.filename or 'output'}: {failure.strerror}" if failure.errno in _FOLDER_TROUBLE else None
    from searchspaces.errors import UserError

    return str(failure) if isinstance(failure, UserError) else None


_FOLDER_TROUBLE: Final = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT}


def _refuse(message: str) -> int:
    return _say(message, MISTAKE)


def _say(message: str, code: int) -> int:
    print("nas: " + " ".join(message.split()), file=sys.stderr)
    return code


def _command_names() -> list[str]:
    return [str(getattr(each.callback, "__name__", "")) for each in app.registered_commands]


def _usage_line(mistake: typer.TyperException) -> str:
    """What was wrong with the words typed, with the nearest option where one was unknown."""
    context = getattr(mistake, "ctx", None)
    command = f"{context.info_name}: " if context is not None and context.parent is not None else ""
    option = getattr(mistake, "option_name", None)
    if option and "o such option" in mistake.message:
        known = [name for parameter in context.command.params for name in parameter.opts] if context else []
        return f"{command}unknown option {option!r}{_nearest(option, [name for name in known if name[:2] == '--'])}"
    text = mistake.format_message().rstrip(".")
    return f"{command}{text[:1].lower()}{text[1:]}"


def _nearest(name: str, names: Iterable[str]) -> str:
    from searchspaces.errors import nearest

    return nearest(name, names)


def _console(json: bool = False) -> Console:
    """Standard output; standard error where standard output is for one JSON object."""
    from rich.console import Console

    console = Console(stderr=json, highlight=False)
    return console if console.is_terminal else Console(stderr=json, highlight=False, width=120)


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=2, default=str))
