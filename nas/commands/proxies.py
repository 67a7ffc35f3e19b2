"""`nas proxy`: what a proxy is worth inside a budget."""

from __future__ import annotations

import json as as_text
import shlex
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from rich.text import Text

from nas.commands import options
from nas.commands.console import console, interrupted, print_json, say, waited, waiting
from nas.commands.running import Running, reading_given
from nas.commands.tables import FAINT, GOOD, WARNING, Typed, facts, show_facts, table
from nas.wording import budget_text, duration, percent

if TYPE_CHECKING:
    from rich.console import Console

    from nas.documents import Document
    from nas.proxies import Step


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
    top: options.TopOverlap = None,
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
    """Measure how well proxies rank the networks within a budget.

    [bold]Example:[/]  nas proxy --space mbconv --budget 18M..22M --data pets/ --networks 40

    Draws networks that fit, trains each of them for long, scores them with each
    proxy, and reports how well the proxies rank them compared with simply
    counting MACs and parameters. The same command resumes an interrupted run.
    """
    with waiting(json, quiet):
        from nas.api import checked_name, run_name
        from nas.next_commands import more_networks
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
            top,
        )
    placement, screen = Placement.of(context.params), console(json)
    running = Running(networks, None, placement.engine(device, say), None, screen, quiet, placement.typed())
    found: list[Step] = []
    with ExitStack() as opened:
        for step in waited(comparison.studies(), json, quiet):
            opened.callback(step.study.close)
            found.append(step)
            shown = partial(screen.print, Text(step.name, style="bold"))
            ended, stopped = replace(running, trials=step.trials).run(step.study, shown)
            if stopped:
                command = shlex.join(["nas", *(context.obj or ["proxy"])])
                raise interrupted(f"resume with: {command}")
            if ended is not None and ended.kind == "failing":
                raise UserError(f"proxy {step.name}: {ended.reason}")
        with waiting(json, quiet):
            document = proxy_document(comparison, found)
            if document["recommended"] is None:  # to tell more, as the verdict says
                document["next"] = more_networks(context.obj or ["proxy"], 2 * networks)
            document["files"] = {"plot": str(folder / "proxies.html"), "results": str(folder / names.PROXIES)}
            write_proxies(document, folder / "proxies.html")
            write_whole(folder / names.PROXIES, as_text.dumps(document, indent=1, allow_nan=False) + "\n")
    if json:
        return print_json(document)
    show_proxies(document, screen)


def show_proxies(document: Document, console: Console) -> None:
    """What `nas proxy` found."""
    from studies.pages.proxies import best_of, ends, two_digits

    reference, level = document["reference"], f"{document['level']:.0%}"
    ranks = table("proxy", "τ>", f"{level} interval>", "corrected>", "beyond counting>")
    within = f" within {budget_text(document['budget'])}" if document["budget"] else ""
    ranks.title = f"How well proxies rank {document['networks']} networks of {document['space']}{within}"
    finds = table("proxy", "ρ>", f"{level} interval>", "regret>", f"{best_of(document)}>", "finds>", "time>")
    for made in (ranks, finds):
        made.collapse_padding = True  # they fit into 80 columns, with names as long as `short+metric=training-loss`
    for one in document["proxies"]:
        whole = one["proxy"] if len(one["proxy"]) <= _NAME else one["proxy"].replace("+", "\n+")
        name = Text(whole, style=GOOD if one["proxy"] == document["recommended"] else "")
        ranks.add_row(
            name, two_digits(one["tau"]), ends(one["interval"]), two_digits(one["corrected"]),
            ends(one["beyond_counting"]),
        )  # fmt: skip
        finds.add_row(
            name, two_digits(one["spearman"]), ends(one["spearman_interval"]), _points(one["regret"]),
            "–" if one["top"] is None else f"{one['top']:.0%}", percent(one["found"]), _time(one),
        )  # fmt: skip
    console.print(ranks)
    console.print(finds)
    console.print(Text(_LEGEND.format(within=duration(document["within_seconds"]), top=document["top"]), style=FAINT))
    between = f"± {_points(reference['spread'])} points between networks, best {percent(reference['best'])}"
    rows = [("reference", f"{reference['estimator']}; accuracy {percent(reference['mean'])} {between}")]
    if reference["luck"] is not None:
        ceiling = two_digits(reference["ceiling"])
        least = "" if reference["shares_validation"] is False else "at most "
        exact = f"two agree at τ {two_digits(reference['tau'])}, so an exact proxy would reach {least}{ceiling}"
        rows.append(("its noise", f"± {_points(reference['luck'])} points between trainings of a network; {exact}"))
    else:
        held = reference["recorded"] and reference["asked"] > 1
        why = "the table holds one accuracy per network" if held else "only one training per network was used"
        rows.append(("its noise", f"unknown, as {why}; so is the τ that an exact proxy would reach"))
    if 1 < reference["trainings"] < reference["asked"]:
        held = f"the table holds {reference['trainings']} accuracies per network, not {reference['asked']}"
        rows.append(("trainings", held))
    if document["asked"] < document["drawn"]:
        rows.append(("networks", f"the first {document['asked']} of {document['drawn']} networks drawn"))
    if document["left_out"]:
        from searchspaces.plural import number_of

        rows.append(
            ("left out", f"{number_of(document['left_out'], 'network')} that failed under the reference or a proxy")
        )
    console.print(facts(*rows, *(("", Text(text, style=style)) for text, style in verdicts(document))))
    files = [(name, Text(path)) for name, path in document["files"].items()]
    following = [("next", Typed(document["next"]))] if document["next"] else []
    show_facts(console, *files, *following)


_NAME: Final = 20
"""Longer names of proxies are broken between their settings."""
_LEGEND: Final = (
    "τ: Kendall's rank correlation with the reference; corrected: with a noise-free reference; beyond counting: the "
    "difference from the better count, with intervals that hold for all proxies at once; ρ: Spearman's correlation; "
    "regret: points between the best network and the one that the proxy ranks first; best {top}: share of them among "
    "the proxy's best {top}; finds: expected accuracy of its first choice among as many networks as it can estimate "
    "in {within}; time: per network"
)


def verdicts(document: Document) -> list[tuple[str, str]]:
    """What follows, in plain words, each with its style."""
    from studies.proxy_agreement import verdict

    rows = document["proxies"]
    counting = document["counting"]
    groups = {group: [one for one in rows if verdict(one) == group] for group in ("better", "alike", "worse")}
    counts = max((one for one in rows if verdict(one) is None), key=lambda one: one["found"])
    said = [
        (f"{words} counting {counting}: {', '.join(one['proxy'] for one in groups[group])}", WARNING)
        for group, words in (("alike", "not distinguishable from"), ("worse", "worse than"))
        if groups[group]
    ]
    in_time = f"in {duration(document['within_seconds'])} on one worker"
    by_counting = f"counting {counts['proxy']} finds one with {percent(counts['found'])} accuracy at no cost"
    if document["recommended"] is not None:
        best = next(one for one in rows if one["proxy"] == document["recommended"])
        finds = f"finds a network with {percent(best['found'])} accuracy {in_time}"
        why = f"the most of those better than counting; {by_counting}"
        return [*said, (f"recommended: {best['proxy']}, which {finds}, {why}", GOOD)]
    if groups["better"]:
        most = max(groups["better"], key=lambda one: one["found"])
        names = ", ".join(one["proxy"] for one in groups["better"])
        at_most = f"{most['proxy']} finds a network with {percent(most['found'])} accuracy {in_time}, and {by_counting}"
        return [
            *said,
            (f"better than counting {counting}: {names}", GOOD),
            (f"none is recommended, as counting finds as much: {at_most}", WARNING),
        ]
    why = f"no proxy is significantly better than counting {counting}: train longer or draw more networks"
    return [*said, (f"{why} to tell more", WARNING)]


def _time(one: Document) -> str:
    """Of a network: none of counting; not known of what was recorded."""
    if not one["seconds"]:
        return "none"
    recorded = one["estimator"] is not None and one["estimator"]["name"] == "table"
    return "–" if recorded else duration(one["seconds"])


def _points(value: float) -> str:
    return f"{100 * value:.1f}"
