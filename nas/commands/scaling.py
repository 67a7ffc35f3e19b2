"""`nas scale`: from one network to a family of sizes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.text import Text

from nas.commands import options
from nas.commands.console import console, interrupted, print_json, waiting
from nas.commands.given import first_given
from nas.commands.running import Running, settings_given
from nas.commands.study_screens import image_size_text, show_plan, study_facts, with_notes
from nas.commands.tables import GOOD, WARNING, Typed, facts, show_facts, table
from nas.wording import budget_text, estimate_name, human, path_here, within

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from nas.documents import Document
    from nas.scaling import ScalingPlan
    from studies import Study
    from studies.scaling import Candidates

_NAMES: Final = {"depth": "depth", "width": "width", "resolution": "image size"}
_SHORT: Final = {"depth": "depth", "width": "width", "resolution": "image"}
_OF_SEARCH: Final = (
    *("trials", "time", "strategy", "start_from", "objectives", "confirm", "replicas", "inherit", "metric"),
    *("prescreen", "pruner", "seed", "device", "ledger", "ray", "workers", "at_once", "cpus_per_trial"),
    *("gpus_per_trial", "trial_timeout", "deterministic", "checkpoints", "tensorboard", "mlflow", "wandb"),
)
"""Options of the search for factors alone; from the images and the estimator, the size of the base follows too."""


def scale(
    context: typer.Context,
    what: options.BestOrNetwork,
    trial: options.OfTrial = None,
    target: options.Target = 2.0,
    phi: options.Phi = "1..7",
    coefficients: options.Coefficients = None,
    step: options.Step = 0.05,
    band: options.Band = "5%",
    growth: options.Growth = None,
    task: options.ScaledTask = None,
    image_size: options.ScaledImageSize = None,
    strides: options.Strides = None,
    space: options.SpaceOfNetwork = None,
    latency: options.Latency = None,
    data: options.ScaledData = None,
    skip_bad: options.SkipBad = False,
    max_pixels: options.MaxPixels = None,
    cache: options.Cache = None,
    centre_crop: options.CentreCrop = None,
    trials: options.ScaledTrials = None,
    time: options.Time = None,
    strategy: options.Strategy = "grid",
    estimator: options.Estimator = "short-training",
    start_from: options.StartFrom = None,
    objectives: options.Objectives = None,
    confirm: options.ScaledConfirm = None,
    replicas: options.Replicas = False,
    inherit: options.Inherit = False,
    metric: options.Metric = None,
    prescreen: options.Prescreen = None,
    pruner: options.Pruner = "none",
    settings: options.StudySettings = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    name: options.ScaledName = None,
    out: options.RunsFolder = Path("runs"),
    ledger: options.Ledger = "sqlite",
    ray: options.Ray = None,
    workers: options.Workers = None,
    at_once: options.AtOnce = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    trial_timeout: options.TrialTimeout = None,
    deterministic: options.Deterministic = False,
    checkpoints: options.Checkpoints = None,
    tensorboard: options.Tensorboard = False,
    mlflow: options.Mlflow = None,
    wandb: options.Wandb = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Scale a network into a family: search for the best scaling factors for depth, width and image size.

    [bold]Example:[/]  nas scale runs/first
    [bold]Example:[/]  nas scale efficientnet_b0 --coefficients published

    The candidates are factors α, β, γ that give about twice the base network's
    true MACs; raising the best ones to the power φ gives the family. The same
    command resumes an interrupted run.
    """
    with waiting(json, quiet) as begin:
        from nas.documents import study_document
        from nas.references import with_trial
        from nas.scaling import ScalingSettings, made, plan, settings_for, with_own_images, write, write_wanted
        from nas.scaling_documents import family_document, grid_document
        from searchspaces import UserError
        from studies import Study
        from studies.fidelity import read_as
        from studies.scaling import candidates

        if coefficients is not None and (of_search := first_given(context, _OF_SEARCH)) is not None:
            raise UserError(f"{of_search} is for the search for factors; leave it out with --coefficients")
        again = shlex.join(["nas", *(context.obj or ["scale", what])])
        what = with_trial(what, trial)
        search = with_own_images(what, settings_given(context.params))
        sizes = ScalingSettings.parse(context.params)
        planned = plan(what, sizes, search, strides=strides, space=space, name=name, out=out)
        screen, found = console(json), candidates(planned.space)
        document: dict[str, Any] = {"run": str(planned.folder), "grid": grid_document(planned, found)}
        family, stopped, notes = None, False, []
        if planned.searches:
            given = settings_for(planned, found, search)
            running = Running.of(context.params, planned.folder)
            study = Study.create(planned.folder, given, planned.home)
            write_wanted(planned)
            stopped = running.run(study, lambda: show_preflight(planned, found, study, screen, begin))[1]
            document["study"], notes = study_document(study), read_as(study)
            if any(trial.state == "complete" for trial in study.trials):
                family = made(planned, study)
        else:
            family = made(planned)
            begin()
            if not quiet:
                show_grid(document["grid"], planned, screen)
        if family is not None:
            write(family)
            document["family"] = family_document(family)
    if json:
        print_json(document)
    elif "family" in document:
        show_family(document["family"], planned.folder, screen, space, notes)
    if stopped:
        raise interrupted(f"resume with: {again}")


def show_preflight(
    plan: ScalingPlan, found: Candidates, study: Study, console: Console, begin: Callable[[], None]
) -> None:
    """What `nas scale` is about to do, before anything is trained; `begin` is called before it is shown."""
    from nas.documents import study_document
    from nas.scaling_documents import grid_document
    from studies.scaling import told_apart

    grid, document = grid_document(plan, found), study_document(study)
    rows = study_facts(document)
    apart = told_apart(plan.space, found.networks, study.manifest.estimator["resolved"])
    begin()
    show_grid(grid, plan, console)
    if apart is not None:
        said = f"{apart} of the {len(found.networks)} candidates remain distinct at the size the proxy trains them"
        rows.append(("distinct", Text(said, style="" if apart == len(found.networks) else WARNING)))
    show_plan(f"nas scale: {study.folder}", rows, document, console)


def show_grid(document: Document, plan: ScalingPlan, console: Console) -> None:
    """The factors in the grid that satisfy the constraint on MACs, which are the candidates.

    Args:
        document: made by `grid_document`.
        plan: what is scaled.
        console: where it is shown.
    """
    from nas.documents import strides_document
    from searchspaces.strides import strides_note

    base, grid, published, scaled = document["base"], document["options"], document["published"], plan.space.base
    ends = ", ".join(f"{_NAMES[name]} {several[0]:g} to {several[-1]:g}" for name, several in grid.items())
    band = f"{100 * document['band']:g}%"
    also = ", and other costs within their bounds" if document["growth"] else ""
    place = f", number {published['place']} of these in this order" if published["place"] else ", and not among them"
    rows: list[tuple[str, RenderableType]] = [
        ("base", f"{base['name']}: {human(base['macs'])} MACs, {human(base['params'])} parameters on {base['task']}"),
        ("grid", f"{ends}, in steps of {document['step']:g}: {document['triples']:,} triples"),
        ("formula", f"{len(document['formula'])} have α·β²·γ² within {band} of {document['target']:g}"),
        (
            "true MACs",
            f"{document['true']} have {document['target']:g} times the base's MACs within {band}{also}: "
            f"{len(document['candidates'])} different networks. {document['both']} triples satisfy both",
        ),
        (
            "rounding",
            "depths up, widths to multiples of 8 (and of groups), image sizes to even numbers; among factors that give "
            "the same network, those nearest to the formula are kept",
        ),
        (
            "EfficientNet's",
            f"(1.2, 1.1, 1.15) is {published['formula']:.2f} by the formula{place}; its true MACs ratio is "
            f"{published['ratio']:.2f} for this base",
        ),
    ]
    if document["growth"]:
        budget = budget_text(document["budget"])
        rows.insert(4, ("other costs", f"at most {document['growth']} times the base's, that is {budget}"))
    if strides := strides_note(**strides_document(scaled, scaled.task), task=scaled.task):
        rows.insert(1, ("", strides))
    if plan.size_from is not None:
        rows.insert(1, ("image size", image_size_text(base["task"], plan.size_from, "--image-size or --task")))
    console.print(facts(*rows))
    made = table("depth α>", "width β>", "image γ>", "formula>", "true>", "px>", "MACs>", "parameters>")
    made.title = "Candidates, most evenly scaled first"
    for one in document["candidates"]:
        made.add_row(*_factors(one), f"{one['formula']:.2f}", f"{one['ratio']:.3f}", str(one["image_size"]),
                     human(one["macs"]), human(one["params"]))  # fmt: skip
    console.print(made)


def _factors(one: Document) -> list[str]:
    return [f"{one[name]:.4g}" for name in _NAMES]


def show_family(
    document: Document, folder: Path, console: Console, space: str | None = None, notes: Sequence[str] = ()
) -> None:
    """The factors, the family, and what to do with it.

    Args:
        document: made by `family_document`.
        folder: where its files are.
        console: where it is shown.
        space: as typed, if the base is of a person's own space.
        notes: what the accuracies and costs of the study are those of, if one found the factors.
    """
    unit = document.get("estimates")
    if "trained" in document:
        console.print(_ranking(document["trained"], notes, unit))
    console.print(_members(document["members"], "The family", unit))
    if "powers" in document:
        console.print(_members(document["powers"], "For comparison, the powers of (1.2, 1.1, 1.15)"))
    console.print(_alone(document["alone"]))
    coefficients = document["coefficients"]
    rows: list[tuple[str, RenderableType]] = []
    if coefficients["how"] == "published":
        rows.append(
            ("factors", "as the authors' code states them for B1 to B7 (tensorflow/tpu, efficientnet_builder.py); they "
                        "are close to, but not equal to, the powers of (1.2, 1.1, 1.15) of the paper's section 4")
        )  # fmt: skip
    else:
        values = ", ".join(f"{words} {coefficients[name]:g}" for name, words in _NAMES.items())
        how = "" if coefficients["how"] in ("given", "searched") else f" ({coefficients['how']})"
        rows.append(("factors", f"{values}: {coefficients['formula']:.3f} by the formula{how}"))
    if rates := _dropout_text(document["members"]):
        rows.append(("dropout", rates))
    again = ["--space", space] if space else []
    data = path_here(document["data"]) if document["data"] else "DATA"
    trials = document.get("trials")
    if trials and trials["ended"] < trials["planned"]:
        so_far = f"after {trials['ended']} of {trials['planned']} trials; the same command resumes"
        rows.append(("so far", Text(so_far, style=WARNING)))
    rows += [
        ("family", Text(str(folder / "family.json"))),
        ("plot", Text(str(folder / "family.html"))),
        ("next", Typed(shlex.join(["nas", "cost", document["members"][-1]["file"], *again]))),
        ("", Typed(shlex.join(["nas", "train", document["members"][1]["file"], "--data", data, *again]))),
    ]
    show_facts(console, *rows)


def _dropout_text(members: list[Document]) -> str:
    """The rates of dropout of a family; nothing where no member has any."""
    rates = list(dict.fromkeys(one["dropout"] for one in members))
    if len(rates) == 1:
        return f"{rates[0]:g} in all members" if rates[0] else ""
    told = ", ".join(f"{one['dropout']:g}" for one in members)
    return f"{told} before the classifier: 0.1 more every two steps of φ, up to 0.5, as in EfficientNet-B0 to B7"


def _ranking(trained: list[Document], notes: Sequence[str], unit: str | None) -> Table:
    made = table("trial>", f"{estimate_name(unit)}>", "depth>", "width>", "image>", "true>", "parameters>")
    by = "proxy accuracy" if unit is None else estimate_name(unit)
    made.title = with_notes(f"The best of {len(trained)} candidates, by {by}", notes)
    for index, one in enumerate(trained[:8]):
        made.add_row(
            str(one["trial"]), within(one["accuracy"], one["standard_error"], unit),
            *_factors(one), f"{one['ratio']:.3f}", human(one["params"]), style="" if index else GOOD,
        )  # fmt: skip
    return made


def _members(members: list[Document], title: str, unit: str | None = None) -> Table:
    """A family; of the factor on the image only the pixels are shown, so that it fits into 80 columns."""
    known = any("accuracy" in one for one in members)
    made = table("φ>", "depth>", "width>", "px>", "MACs>", "growth>", "formula>", "parameters>",
                 *([f"{estimate_name(unit)}>"] if known else []), title=title)  # fmt: skip
    before = None
    for one in members:
        formula = "" if before is None else f"{one['formula'] / before['formula']:.2f}"
        made.add_row(
            f"{one['phi']:g}", f"{one['depth']:.4g}", f"{one['width']:.4g}", str(one["image_size"]),
            human(one["macs"]), "" if one["ratio"] is None else f"{one['ratio']:.2f}", formula, human(one["params"]),
            *([within(one.get("accuracy"), one.get("standard_error"), unit)] if known else []),
        )  # fmt: skip
        before = one
    return made


def _alone(alone: Mapping[str, list[Document]]) -> Table:
    made = table("φ>", *(column for name in alone for column in (f"{_SHORT[name]}>", "parameters>")),
                 title="The same MACs by scaling a single dimension")  # fmt: skip
    phis = max((several for several in alone.values()), key=len)[1:]
    for index, one in enumerate(phis, start=1):
        cells = [several[index] if index < len(several) else None for several in alone.values()]
        made.add_row(
            f"{one['phi']:g}",
            *(
                text
                for cell in cells
                for text in (("-", "-") if cell is None else (f"{cell['factor']:.3g}", human(cell["params"])))
            ),
        )
    return made
