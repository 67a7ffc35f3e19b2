"""`nas measure`: inference latency of networks on this machine, and latency tables of spaces."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.text import Text

from nas.commands import options
from nas.commands.console import Bar, console, interrupted, print_json, waiting
from nas.commands.given import first_given
from nas.commands.tables import FAINT, Typed, facts, milliseconds, show_facts, table
from nas.wording import budget_text, human, images_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from estimators.latency_table import MeasureStep
    from nas.documents import Document

LINES: Final = 20
"""Lines of progress where there is no terminal, at most."""


def measure(
    context: typer.Context,
    networks: options.Networks = None,
    trial: options.OfTrial = None,
    space: options.MeasuredSpace = None,
    out: options.TableFile = None,
    task: options.TaskOfNetwork = None,
    image_size: options.ImageSizeOfNetwork = None,
    budget: options.MeasuredBudget = None,
    check: options.Check = 20,
    runtime: options.Runtime = None,
    device: options.MeasuredDevice = "cpu",
    threads: options.Threads = 1,
    batch: options.Batch = 1,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Measure the latency of networks on this machine, or build the latency table of a space.

    [bold]Example:[/]  nas measure efficientnet_b0 resnet18 mobilenetv3_large_100
    [bold]Example:[/]  nas measure --space mbconv --task 32x32x3:10 --out latency.json

    With a table, latency is a cost like any other: nas search --latency
    latency.json --budget 8ms. Each distinct block is measured once.
    """
    from nas.references import with_trial
    from searchspaces import Budget, Task, UserError, load_space
    from searchspaces.task import check_sizes

    if bool(networks) == (out is not None):
        raise UserError("give networks to measure, or --space SPACE --out FILE.json for the latency table of a space")
    if out is not None and space is None:
        raise UserError(f"--out {out} is for the latency table of a space: add --space SPACE")
    if networks and (of_table := first_given(context, ("budget", "check"))) is not None:
        raise UserError(f"{of_table} is for the latency table of a space; leave it out with networks")
    if trial is not None:
        if networks is None or len(networks) != 1:
            raise UserError("--trial is for a single run folder; with several, give the trials as RUN:N")
        networks = [with_trial(networks[0], trial)]
    screen = console(json)
    try:
        with waiting(json, quiet) as begin, MeasureProgress(screen, quiet, begin) as progress:
            from estimators.latency import How
            from nas.measuring import measure_networks, measure_space, table_document

            how = How(runtime or "", device, threads, batch)
            home, images = load_space(space) if space else None, Task.parse(task) if task else None
            check_sizes(images, image_size)
            if networks:
                document = measure_networks(networks, how, images, home, progress, image_size)
            else:
                assert home is not None
                assert out is not None
                bound = Budget.parse(budget) if budget else None
                on = images or Task().at(image_size)
                made = measure_space(home, on, how, out, budget=bound, networks=check, on_step=progress)
                document = table_document(made, out, space or "")
    except KeyboardInterrupt:
        again = shlex.join(["nas", *(context.obj or ["measure"])])
        raise interrupted(f"resume with: {again}" if out is not None else "") from None
    if json:
        return print_json(document)
    (show_networks if networks else show_table)(document, screen)


def show_networks(document: Document, console: Console) -> None:
    """`nas measure NETWORK...`."""
    images = [re.sub(r":\d+", "", images_text(one)) for one in document["networks"]]  # without the classes
    one_size = len(set(images)) == 1  # said once below the table then, so that the row is narrower
    columns = ("median>", "10%..90%>", "MACs>", "params>", "MACs/s>", "runs>")
    made = table("network", *(() if one_size else ("image",)), *columns)
    for one, image in zip(document["networks"], images, strict=True):
        made.add_row(
            Text(one["name"], style="bold"),
            *(() if one_size else (image,)),
            f"{milliseconds(one['latency_ms'])}ms" + ("" if one["stable"] else " ?"),
            f"{milliseconds(one['p10_ms'])}..{milliseconds(one['p90_ms'])}ms",
            human(one["macs"]),
            human(one["params"]),
            human(one["macs"] * document["how"]["batch"] / (one["latency_ms"] / 1e3)),
            str(one["runs"]),
        )
    console.print(made)
    rows: list[tuple[str, RenderableType]] = [("images", images[0])] if one_size else []
    rows.append(("on", _how(document["how"])))
    disturbed = sum(one["disturbed"] for one in document["networks"])
    if disturbed:
        share = disturbed / (disturbed + sum(one["runs"] for one in document["networks"]))
        rows.append(("discarded", f"{share:.0%} of the runs, in which another process used the core"))
    if not all(one["stable"] for one in document["networks"]):
        rows.append(("?", Text("median not accurate to 1%: the machine is busy or the network slow", style="yellow")))
    if not all(one["runs"] for one in document["networks"]):
        rows.append(("0 runs", Text("every run was disturbed: the median is over disturbed runs", style="yellow")))
    console.print(facts(*rows))


def show_table(document: Document, console: Console) -> None:
    """`nas measure --space SPACE`."""
    check, line = document["check"], document["line"]
    made = table("prediction from", "Spearman>", "Kendall>", "mean error>")
    made.title = f"Predictions for {check['checked_on']} other networks"
    for name, words in (("table", "this table"), ("macs", "MACs alone")):
        scores = check[name]
        ranks = ("-" if scores[each] is None else f"{scores[each]:.3f}" for each in ("spearman", "kendall"))
        made.add_row(words, *ranks, f"{scores['error_percent']:.1f}%")
    console.print(made)
    within = f" within {budget_text(check['budget'])}" if check["budget"] else ""
    formula = f"{line['slope']:.3g} x the sum of the parts + {line['intercept_us'] / 1e3:.3g}ms"
    rows: list[tuple[str, RenderableType]] = [
        ("table", Text(document["latency"])),
        ("contents", f"{document['parts']:,} parts of {document['space']} on {document['task']}"),
        ("on", _how(document["how"])),
        ("latency", f"{formula}, fitted on {check['fitted_on']} networks{within}"),
    ]
    unstable = check["fitted_on"] + check["checked_on"] - check["stable"]
    if unstable:
        rows.append(("unstable", Text(f"the medians of {unstable} networks are not accurate to 1%", style="yellow")))
    longest = max(check["measured_us"]) / 1e3
    command = ["nas", "space", document["given"], "--task", document["task"], "--latency", document["latency"]]
    rows.append(("next", Typed(shlex.join([*command, "--budget", f"{milliseconds(longest)}ms"]))))
    show_facts(console, *rows)


def _how(how: Document) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in how.get("versions", {}).items())
    many = f"{how['threads']} thread{'s' * (how['threads'] > 1)}"
    return f"{how['runtime']} on {how['device']}, {many}, batch {how['batch']} ({how.get('processor', '')}; {versions})"


class MeasureProgress(Bar):
    """Shows how far a measurement is: a progress bar on a terminal, some lines elsewhere."""

    def __init__(self, console: Console, quiet: bool = False, begin: Callable[[], None] = lambda: None) -> None:
        super().__init__(console, quiet, begin)
        self._said = ("", -1)
        self._bars: dict[str, Any] = {}

    def __call__(self, step: MeasureStep) -> None:
        """One more step is done."""
        if (live := self.shown()) is not None:
            if step.what not in self._bars:
                self._bars[step.what] = live.add_task(f"measuring {step.what}", total=step.total)
            live.update(self._bars[step.what], completed=step.done, total=step.total)
        elif not self._quiet:
            now = (step.what, step.done * LINES // max(step.total, 1))
            if now != self._said:
                done = f"{100 * step.done // max(step.total, 1)}%"
                self._console.print(Text(f"measuring {step.what}: {done} of {step.total:,}", style=FAINT))
                self._said = now
