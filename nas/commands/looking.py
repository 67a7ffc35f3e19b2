"""`nas show` and `nas plot`: look at a run, one of its trials, or a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from nas.commands import options
from nas.commands.console import console, print_json
from nas.commands.spaces import costs_and_shares, shape_text, show_totals
from nas.commands.study_screens import choices, show_study, show_trial
from nas.commands.tables import table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from nas.documents import Document
    from studies import Study, Trial


def show(
    what: options.RunOrNetwork,
    trial: options.TrialNumber = None,
    task: options.TaskOfNetwork = None,
    svg: options.Svg = None,
    space: options.SpaceOfNetwork = None,
    ledger: options.LedgerUrl = None,
    json: options.Json = False,
) -> None:
    """Show what a search has found, or one of its trials; or a network, block by block.

    [bold]Example:[/]  nas show runs/first --trial 7
    [bold]Example:[/]  nas show efficientnet_b0 --svg b0.svg
    """
    from nas.networks import names_network

    notes: list[str] = []
    if names_network(what):
        document = _network(what, trial, task, svg, space)
    else:
        document, notes = _found(what, trial, task, svg, space, ledger)
    if json:
        return print_json(document)
    if "stages" in document:
        return show_network(document, console())
    (show_study if trial is None else show_trial)(document, console(), notes)


def plot(
    run: options.Run,
    out: options.ParetoPage = None,
    space: options.OwnSpace = None,
    ledger: options.LedgerUrl = None,
    json: options.Json = False,
) -> None:
    """Plot accuracy against cost, as one HTML file that works offline.

    [bold]Example:[/]  nas plot runs/first
    """
    from nas.api import open_study
    from nas.documents import axis

    study = open_study(run, space=space, ledger=ledger)
    path = study.plot(out, axis(study))
    if json:
        return print_json({"plot": str(path)})
    print(path)


def _network(text: str, trial: int | None, task: str | None, svg: Path | None, space: str | None) -> Document:
    """The document of a network."""
    from nas.networks import cost_document, draw, named, own_task, title
    from searchspaces import Task, UserError, load_space

    if trial is not None:
        raise UserError(f"--trial is for a run folder, and {title(text)} is a network")
    images, home = Task.parse(task) if task else None, load_space(space) if space else None
    document = cost_document(text, images, home)
    if svg is not None:
        found = named(text, home)
        draw(found, images or own_task(found), title(text), svg)
        document["drawing"] = str(svg)
    return document


def _found(
    run: str, number: int | None, task: str | None, svg: Path | None, space: str | None, ledger: str | None
) -> tuple[Document, list[str]]:
    """The document of a run folder, or of one of its trials, and what its accuracies and costs are those of."""
    from nas.api import open_study
    from nas.documents import study_document, trial_document
    from nas.networks import draw
    from searchspaces import CLASSICS, UserError, nearest
    from studies.fidelity import read_as

    if "/" not in run and not Path(run).exists():
        raise UserError(f"{run!r} is neither a run folder nor a network of the literature{nearest(run, CLASSICS)}")
    if task is not None:
        raise UserError(f"--task is for a network; {run} has the task that it was created with")
    study = open_study(run, space=space, ledger=ledger)
    trial = None if number is None else _trial(study, number)
    document = study_document(study) if trial is None else trial_document(trial, study.extrapolated(trial.number))
    if svg is not None:
        drawn = study.best if trial is None else trial
        draw(drawn.architecture, study.task, f"{run}, trial {drawn.number}", svg)
        document["drawing"] = str(svg)
    return document, read_as(study)


def _trial(study: Study, number: int) -> Trial:
    from searchspaces import UserError

    trials = {trial.number: trial for trial in study.trials}
    if number not in trials:
        raise UserError(f"{study.folder} has no trial {number}; it has {len(trials)}, numbered from 0")
    return trials[number]


def show_network(document: Document, console: Console) -> None:
    """`nas show NETWORK`: as `nas cost`, with the blocks of each stage and the operators in them."""
    made = table("stage", "x>", "operators, /stride, width", "output", "MACs>", "%>", "params>", "%>")
    for one in document["stages"]:
        for index, block in enumerate(one["opened"]):
            made.add_row(
                Text(one["name"] if index == 0 else "", style="bold"),
                str(block["times"]),
                ", ".join(block["operators"]),
                shape_text(block["output"]),
                *costs_and_shares(block),
            )
    if document["stages"]:
        console.print(made)
    more: list[tuple[str, RenderableType]] = [("choices", choices(document))] if document.get("words") else []
    more += [("drawing", Text(document["drawing"]))] if "drawing" in document else []
    show_totals(document, console, *more)
