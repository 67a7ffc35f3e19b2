"""`nas proxy`: what a proxy is worth inside a budget."""

from __future__ import annotations

import json as as_text
import shlex
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from nas.commands import options
from nas.commands.console import console, interrupted, print_json, say, waited, waiting
from nas.commands.running import Running, reading_given
from nas.commands.tables import FAINT, GOOD, WARNING, facts, table
from nas.wording import budget_text, duration, percent

if TYPE_CHECKING:
    from rich.console import Console

    from nas.documents import Document
    from studies import Study


def proxy(
    context: typer.Context,
    budget: options.CountedBudget,
    space: options.Space = "mbconv",
    data: options.Data = "digits",
    skip_bad: options.SkipBad = False,
    max_pixels: options.MaxPixels = None,
    cache: options.Cache = None,
    centre_crop: options.CentreCrop = None,
    task: options.Task = None,
    image_size: options.SearchedImageSize = None,
    strides: options.Strides = None,
    networks: options.SampledNetworks = 40,
    proxies: options.Proxies = None,
    reference: options.Reference = None,
    reference_epochs: options.ReferenceEpochs = 30,
    trainings: options.Trainings = 2,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    name: options.Name = None,
    out: options.RunsFolder = Path("runs"),
    ray: options.Ray = None,
    workers: options.Workers = None,
    at_once: options.AtOnce = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    trial_timeout: options.TrialTimeout = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Measure what a proxy is worth inside a budget.

    [bold]Example:[/]  nas proxy --space mbconv --budget 18M..22M --data pets/ --networks 40

    Draws networks that fit, trains each long, applies each proxy to it, and
    says how well the proxies rank them, beside counting MACs and parameters.
    The same command resumes it.
    """
    with waiting(json, quiet):
        from nas.api import checked_name, run_name
        from nas.placement import Placement
        from nas.proxies import DEFAULT, LONG, PROXIES, Comparison, Estimated, parse_estimated, proxy_document
        from searchspaces import Budget, UserError
        from searchspaces.files import write_whole
        from searchspaces.strides import stated
        from studies import folder as names
        from studies.pages.proxies import write_proxies

        if any(bound.cost == "latency_ms" for bound in Budget.parse(budget).bounds):
            raise UserError(f"budget {budget}: nas proxy takes no latency table; bound what is counted, as in 18M..22M")
        where = stated(space, strides)
        folder = out / checked_name(f"proxy-{run_name(where, budget, data)}" if name is None else name)
        epochs = f"{reference_epochs} epoch{'s' * (reference_epochs != 1)}"
        long = (
            Estimated(f"{DEFAULT}, {epochs}", "short-training", {**LONG, "epochs": reference_epochs})
            if reference is None
            else parse_estimated(reference)
        )
        comparison = Comparison(
            folder,
            {
                "space": where,
                "budget": budget,
                "data": data,
                "task": task,
                "image_size": image_size,
                "device": device,
                "estimator_settings": reading_given(skip_bad, max_pixels, cache, centre_crop),
            },
            networks,
            tuple({text: parse_estimated(text) for text in map(str.strip, (proxies or PROXIES).split(","))}.values()),
            long,
            trainings,
            seed,
        )
    placement, screen = Placement.of(context.params), console(json)
    running = Running(None, None, placement.engine(device, say), None, screen, quiet, placement.typed())
    found: dict[str, Study] = {}
    with ExitStack() as opened:
        for what, study in waited(comparison.studies(), json, quiet):
            opened.callback(study.close)
            found[what] = study
            ended, stopped = running.run(study, partial(screen.print, Text(what, style="bold")))
            if stopped:
                command = shlex.join(["nas", *(context.obj or ["proxy"])])
                raise interrupted(f"resume with: {command}")
            if ended is not None and ended.kind == "failing":
                raise UserError(f"proxy {what}: {ended.reason}")
        with waiting(json, quiet):
            document = proxy_document(comparison, found)
            document["files"] = {"plot": str(folder / "proxies.html"), "results": str(folder / names.PROXIES)}
            write_proxies(document, folder / "proxies.html")
            write_whole(folder / names.PROXIES, as_text.dumps(document, indent=1, allow_nan=False) + "\n")
    if json:
        return print_json(document)
    show_proxies(document, screen)


def show_proxies(document: Document, console: Console) -> None:
    """What `nas proxy` found."""
    from studies.pages.proxies import ends, two_digits

    reference = document["reference"]
    made = table("proxy", "τ>", f"{document['level']:.0%} interval>", "ρ>", "regret>", "best quarter>", "time>")
    within = f" within {budget_text(document['budget'])}" if document["budget"] else ""
    made.title = f"How well proxies rank {document['networks']} networks of {document['space']}{within}"
    for one in document["proxies"]:
        chosen = one["proxy"] == document["recommended"]
        made.add_row(
            Text(one["proxy"], style=GOOD if chosen else ""),
            two_digits(one["tau"]),
            ends(one["interval"]),
            two_digits(one["spearman"]),
            _points(one["regret"]),
            f"{one['top']:.0%}",
            duration(one["seconds"]) if one["seconds"] else "none",
        )
    console.print(made)
    console.print(Text(_LEGEND, style=FAINT))
    between = f"± {_points(reference['spread'])} points between networks, best {percent(reference['best'])}"
    rows = [("reference", f"{reference['estimator']}; accuracy {percent(reference['mean'])} {between}")]
    if reference["luck"] is not None:
        ceiling = two_digits(reference["ceiling"])
        exact = f"two agree at τ {two_digits(reference['tau'])}, so an exact proxy would reach {ceiling}"
        rows.append(("its noise", f"± {_points(reference['luck'])} points between trainings of a network; {exact}"))
    if document["left_out"]:
        rows.append(("left out", f"{document['left_out']} networks that failed in one of the ways"))
    console.print(facts(*rows, *(("", Text(text, style=style)) for text, style in verdicts(document))))
    files = [(name, Text(path)) for name, path in document["files"].items()]
    following = [("next", Text(document["next"]))] if document["next"] else []
    console.print(facts(*files, *following))


_LEGEND = (
    "τ: Kendall's rank correlation with the reference; ρ: Spearman's; regret: points between the best network and the "
    "one that the proxy ranks first; best quarter: share of it that the proxy's best quarter holds; time: of a network"
)


def verdicts(document: Document) -> list[tuple[str, str]]:
    """What follows, in plain words, each with its style."""
    counting = document["counting"]
    told = [one for one in document["proxies"] if one["beyond_counting"] is not None]
    worse = [one["proxy"] for one in told if (one["beyond_counting"][0] or 0) <= 0]
    if document["recommended"] is None:
        why = f"no proxy is told apart from counting {counting}: train longer, or draw more networks, to tell more"
        return [(why, WARNING)]
    best = next(one for one in told if one["proxy"] == document["recommended"])
    finds = f"finds a network of {percent(best['found'])} in {duration(document['within_seconds'])} of one worker"
    found = [(f"not told apart from counting {counting}: {', '.join(worse)}", WARNING)] if worse else []
    return [*found, (f"recommended: {best['proxy']}, which {finds}, the most of those better than counting", GOOD)]


def _points(value: float) -> str:
    return f"{100 * value:.1f}"
