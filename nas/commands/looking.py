"""`nas show`, `nas plot` and `nas report`: look at a run, one of its trials, or a network."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from rich.cells import cell_len
from rich.text import Text

from nas.commands import options
from nas.commands.console import console, print_json, say, visible, waiting
from nas.commands.given import first_given
from nas.commands.spaces import costs_and_shares, shape_text, show_totals
from nas.commands.study_screens import choices, show_study, show_trial, show_trials
from nas.commands.tables import FAINT, GOOD, Listed, table
from nas.wording import ago, budget_text, human, number_of, within

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from nas.documents import Document


def show(
    context: typer.Context,
    what: options.RunOrNetwork,
    trial: options.TrialNumber = None,
    every: options.AllTrials = False,
    sort: options.SortedBy = None,
    task: options.TaskOfNetwork = None,
    svg: options.Svg = None,
    filters: options.Filters = None,
    space: options.SpaceOfNetwork = None,
    ledger: options.LedgerUrl = None,
    json: options.Json = False,
) -> None:
    """Show what a search found, one of its trials, or a network block by block.

    [bold]Example:[/]  nas show runs/first --trial 7
    [bold]Example:[/]  nas show runs/first --all --sort accuracy
    [bold]Example:[/]  nas show efficientnet_b0 --svg b0.svg
    [bold]Example:[/]  nas show runs/first-trained --filters filters.png
    """
    from nas.references import in_run, names_network, with_trial

    if every or sort is not None:
        return _every_trial(context, what, sort or "number", every, space, ledger, json)
    if in_run(what) is not None and (there := in_run(with_trial(what, trial))) is not None:
        what, trial = str(there[0]), there[1]
    notes: list[str] = []
    with waiting(json):
        if names_network(what):
            document = _network(what, trial, task, svg, space)
        else:
            document, notes = _found(what, trial, task, svg, space, ledger)
        if filters is not None:
            from estimators.trained import Trained
            from nas.filters import write_filters
            from searchspaces import load_space

            write_filters(Trained.open(what, load_space(space) if space else None), filters)
            document["filters"] = str(filters)
    if json:
        return print_json(document)
    if "stages" in document:
        return show_network(document, console())
    (show_study if trial is None else show_trial)(document, console(), notes)


def runs(folder: options.RunsListed = Path("runs"), json: options.Json = False) -> None:
    """List the searches and trainings in a folder, latest first.

    [bold]Example:[/]  nas runs
    """
    with waiting(json):
        from nas.listing import runs_document

        document = runs_document(folder)
    if json:
        return print_json(document)
    show_runs(document, console())


def plot(
    run: options.Run,
    trial: options.RingedTrial = None,
    out: options.ParetoPage = None,
    space: options.OwnSpace = None,
    ledger: options.LedgerUrl = None,
    json: options.Json = False,
) -> None:
    """Plot accuracy against cost, as an HTML page that works offline or as a picture.

    [bold]Example:[/]  nas plot runs/first --out front.png
    [bold]Example:[/]  nas plot runs/first --trial 7
    """
    with waiting(json):
        from nas.api import open_study
        from nas.documents import axis

        study = open_study(run, space=space, ledger=ledger)
        path = study.plot(out, axis(study), trial)
    if json:
        return print_json({"plot": str(path)})
    print(visible(str(path)))


def report(
    runs: options.Runs,
    out: options.ReportPage = None,
    space: options.OwnSpace = None,
    json: options.Json = False,
) -> None:
    """Write a one-page report on a search, to share with others; given several runs, it also compares them.

    [bold]Example:[/]  nas report runs/first

    It includes trainings (nas train) and proxy comparisons (nas proxy) found in
    folders next to the run.
    """
    with waiting(json):
        from nas.reporting import report as write_report

        path = write_report(runs, out, space=space)
    if json:
        return print_json({"report": str(path)})
    print(visible(str(path)))


def dashboard(run: options.Run, port: options.Port = 8080, ledger: options.LedgerUrl = None) -> None:
    """Open the trials of a run in optuna-dashboard, on this machine, until Ctrl-C.

    [bold]Example:[/]  nas dashboard runs/first
    """
    from searchspaces import UserError
    from studies.ledger.database import storage_of
    from studies.manifest import Manifest

    try:
        from optuna_dashboard import run_server
    except ImportError as error:
        raise UserError(
            "nas dashboard needs optuna-dashboard; install it with: pip install 'nas-toolkit[dashboard]'"
        ) from error
    if not 1 <= port <= 65535:
        raise UserError(f"--port must be from 1 to 65535, got {port}")
    storage = storage_of(ledger or Manifest.read(Path(run)).ledger, Path(run))
    say(f"http://localhost:{port} shows the trials of {run}; press Ctrl-C to stop")
    try:
        run_server(storage, port=port)
    except OSError as error:
        raise UserError(f"port {port}: {error.strerror}; choose another with --port") from error


def _every_trial(
    context: typer.Context, run: str, sort: str, every: bool, space: str | None, ledger: str | None, json: bool
) -> None:
    """`nas show RUN --all`."""
    from nas.api import open_study
    from nas.documents import trials_document
    from nas.references import in_run
    from searchspaces import UserError

    if not every:
        raise UserError("--sort needs --all")
    if (of_one := first_given(context, ("trial", "task", "svg", "filters"))) is not None:
        raise UserError(f"--all lists every trial; leave out {of_one}")
    if (there := in_run(run)) is not None and there[1] is not None:
        raise UserError(f"--all lists every trial; {run} is one: give {there[0]}")
    with waiting(json):
        document = trials_document(open_study(run, space=space, ledger=ledger), sort)
    if json:
        return print_json(document)
    show_trials(document, console())


def _network(text: str, trial: int | None, task: str | None, svg: Path | None, space: str | None) -> Document:
    """The document of a network."""
    from nas.networks import cost_document, draw
    from nas.references import on_images, title
    from searchspaces import Task, UserError, load_space

    if trial is not None:
        raise UserError(f"--trial is for a run folder, and {title(text)} is a network")
    images, home = Task.parse(task) if task else None, load_space(space) if space else None
    document = cost_document(text, images, home)
    if svg is not None:
        found, _, seen = on_images(text, home, images)
        draw(found, seen, title(text), svg)
        document["drawing"] = str(svg)
    return document


def _found(
    run: str, number: int | None, task: str | None, svg: Path | None, space: str | None, ledger: str | None
) -> tuple[Document, list[str]]:
    """The document of a run folder, or of one of its trials, and what its accuracies and costs are those of."""
    from nas.api import open_study
    from nas.documents import study_document, trial_document
    from nas.networks import draw
    from nas.references import chosen
    from searchspaces import CLASSICS, UserError, nearest
    from studies.fidelity import read_as

    if "/" not in run and not Path(run).exists():
        raise UserError(f"{run!r} is neither a run folder nor a known network{nearest(run, CLASSICS)}")
    if task is not None:
        raise UserError(f"--task is for a network; {run} keeps the task it was created with")
    study = open_study(run, space=space, ledger=ledger)
    trial = None if number is None else chosen(study, number)
    document = study_document(study) if trial is None else trial_document(study, trial)
    if svg is not None:
        drawn = study.best if trial is None else trial
        draw(drawn.architecture, study.task, f"{run}, trial {drawn.number}", svg)
        document["drawing"] = str(svg)
    return document, read_as(study)


def show_network(document: Document, console: Console) -> None:
    """`nas show NETWORK`: as `nas cost`, with the blocks of each stage and the operators in them."""
    made = table("stage", "x>", "operators, /stride, width", "output", "sees>", "MACs>", "%>", "params>", "%>")
    for one in document["stages"]:
        for index, block in enumerate(one["opened"]):
            made.add_row(
                Text(one["name"] if index == 0 else "", style="bold"),
                str(block["times"]),
                Listed(block["operators"]),
                shape_text(block["output"]),
                field_text(block["receptive_field"]),
                *costs_and_shares(block),
            )
    if document["stages"]:
        console.print(made)
    more: list[tuple[str, RenderableType]] = [("choices", choices(document))] if document.get("words") else []
    more += [(each, Text(document[each])) for each in ("drawing", "filters") if each in document]
    if document["receptive_field"]:
        gates = any(one["type"] == "SE" for one in document["types"])
        sees = f"{field_text(document['receptive_field'])} pixels a side, before global pooling"
        sees += ", ignoring squeeze-and-excitation (SE) gates" if gates else ""
        more.append(("receptive field", Text(sees)))
    show_totals(document, console, *more)


def field_text(sides: list[int] | None) -> str:
    """A receptive field in pixels: its side if it is square.

    >>> field_text([427, 427]), field_text([9, 3]), field_text(None)
    ('427', '9x3', '')
    """
    return "x".join(map(str, dict.fromkeys(sides or [])))


def _what(run: Document) -> list[str]:
    """What a run looks for or trains, and on which data; of one that cannot be opened, why."""
    if "reason" in run:
        return [str(run["reason"])]
    bound = [budget_text(run["budget"])] if run.get("budget") else []
    return [run["what"], *bound, run["data"]]


def _best(run: Document) -> list[str]:
    """The best accuracy so far and its network's MACs; those of a training are on test images once it has finished."""
    if run.get("accuracy") is None:
        return []
    on = f" {run['images']}" if run["kind"] == "training" else ""
    return [f"{within(run['accuracy'], run['standard_error'])}{on}", f"{human(run['macs'])} MACs"]


def _state(run: Document) -> list[str]:
    """How far a run is, and whether it runs."""
    unit = "trial" if run["kind"] == "search" else "epoch"
    done = run.get(f"{unit}s")
    if done is None:
        return [run["state"]]
    far = f"{done} of {number_of(run['planned'], unit)}" if run["planned"] else number_of(done, unit)
    return [far, run["state"]]


_CELLS: Final = (_what, _best, _state)
"""What makes the cells of a run between its name and when it changed."""
_LEAST: Final = 12
"""Columns of a terminal that the names of runs have at least."""
_MOST: Final = 24
"""Columns that a cell beside them needs at most, as its texts can be folded too."""


def show_runs(document: Document, console: Console) -> None:
    """`nas runs`."""
    if not document["runs"]:
        console.print(Text(f"no searches or trainings in {document['folder']}", style=FAINT))
        return
    made = table("run", "what", "best", "state", "changed")
    others = (max(cell_len(each) for one in document["runs"] for each in ("", *cells(one))) for cells in _CELLS)
    room = console.width - sum(min(max(each, 5), _MOST) + 3 for each in others) - len("changed") - 4
    made.columns[0].max_width = max(room, _LEAST)  # longer names are folded, so that the rest is seen
    now = datetime.fromisoformat(document["now"])
    for one in document["runs"]:
        made.add_row(
            Text(one["run"], style="bold"),
            Listed(_what(one)),
            Listed(_best(one)),
            Listed(_state(one), GOOD if one["state"] == "running" else ""),
            ago((now - datetime.fromisoformat(one["changed"])).total_seconds()),
        )
    console.print(made)
    console.print(Text("For details: nas show RUN, or nas evaluate TRAINED", style=FAINT))
