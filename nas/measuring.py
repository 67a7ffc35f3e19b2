"""`nas measure`: how long networks take on this machine, and latency tables of spaces; documents and their screens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from nas.screens import FAINT, Bar, facts, table
from nas.wording import human
from searchspaces import Buildable, Task, UserError
from searchspaces.layers import ShapeError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from estimators.latency import How, Runner, Step
    from nas.documents import Document
    from searchspaces import Budget, SearchSpace
    from searchspaces.latency import LatencyTable

LINES: Final = 20
"""Lines of progress where there is no terminal."""


def networks_document(
    networks: Sequence[str],
    how: How,
    task: Task | None = None,
    space: SearchSpace | None = None,
    on_step: Callable[[Step], None] = lambda _: None,
) -> Document:
    """What whole networks take on this machine, measured in turns.

    Args:
        networks: what `nas.networks.named` understands.
        how: runtime, device, threads and batch.
        task: the images; by default each network's own.
        space: of architectures, where it is no space of ours.
        on_step: called as it goes on.

    Raises:
        UserError: one of them is no network, cannot take the images or cannot be run so.
    """
    from estimators.latency import NETWORKS, Step, measured, threads_of

    total, made = len(networks), []
    with threads_of(how):
        for index, text in enumerate(networks):
            on_step(Step("networks", index, 2 * total))
            made.append(_ready(text, how, task, space))
        took = measured(
            [each for each, _ in made],
            NETWORKS,
            lambda share: on_step(Step("networks", total + int(share * total), 2 * total)),
        )
    rows = [
        {
            **told,
            "latency_ms": each.median_us / 1e3,
            "p10_ms": each.low_us / 1e3,
            "p90_ms": each.high_us / 1e3,
            "runs": each.runs,
            "disturbed": each.disturbed,
            "stable": each.stable,
        }
        for (_, told), each in zip(made, took, strict=True)
    ]
    return {"how": how.described(), "networks": rows}


def _ready(text: str, how: How, task: Task | None, space: SearchSpace | None) -> tuple[Runner, Document]:
    """A network ready to be timed, and what is known of it."""
    from estimators.latency import network_runner, runner
    from nas.networks import named, own_task, title

    found = named(text, space)
    images = replace(task or own_task(found), latency=None)
    told: Document = {"name": title(text), "task": str(images)}
    try:
        if isinstance(found, Buildable):
            cost = found.cost(images)
            made = network_runner(found.network(images), images, how)
        else:
            from searchspaces.modules import traced_cost

            cost = traced_cost(found, images)
            made = runner(found, images.shape, how)
    except ShapeError as error:
        raise UserError(f"{title(text)} cannot take images of {images}: {error}") from error
    except UserError as error:
        raise UserError(f"{title(text)}: {error}") from error
    return made, {**told, "macs": cost.macs, "params": cost.params}


def show_networks(document: Document, console: Console) -> None:
    """`nas measure NETWORK...`."""
    made = table("network", "image", "median>", "10%..90%>", "MACs>", "params>", "MACs/s>", "runs>")
    for one in document["networks"]:
        made.add_row(
            Text(one["name"], style="bold"),
            one["task"].partition(":")[0],
            f"{_ms(one['latency_ms'])}ms" + ("" if one["stable"] else " ?"),
            f"{_ms(one['p10_ms'])}..{_ms(one['p90_ms'])}",
            human(one["macs"]),
            human(one["params"]),
            human(one["macs"] * document["how"]["batch"] / (one["latency_ms"] / 1e3)),
            str(one["runs"]),
        )
    console.print(made)
    rows: list[tuple[str, RenderableType]] = [("on", _how(document["how"]))]
    disturbed = sum(one["disturbed"] for one in document["networks"])
    if disturbed:
        share = disturbed / (disturbed + sum(one["runs"] for one in document["networks"]))
        rows.append(("not counted", f"{share:.0%} of the runs: the system gave the core to somebody else meanwhile"))
    if not all(one["stable"] for one in document["networks"]):
        rows.append(("?", Text("not known to 1%: the machine is busy, or the network slow", style="yellow")))
    if not all(one["runs"] for one in document["networks"]):
        rows.append(("0 runs", Text("not one was undisturbed, so the disturbed ones count", style="yellow")))
    console.print(facts(*rows))


def make_table(
    space: SearchSpace,
    task: Task,
    how: How,
    path: Path,
    *,
    budget: Budget | None = None,
    networks: int,
    on_step: Callable[[Step], None] = lambda _: None,
    **rules: Any,
) -> LatencyTable:
    """Measure the latency table of a space into a file, or go on with the one that is there.

    Raises:
        UserError: the file is something else or of another measurement, cannot be written, or as `estimators.latency`.
    """
    from estimators import latency
    from searchspaces.latency import LatencyTable
    from studies.manifest import write_whole

    def keep(table: LatencyTable) -> None:
        try:
            write_whole(path, table.text())
        except OSError as error:
            raise UserError(f"cannot write to {path}: {error.strerror}") from error

    found = LatencyTable.read(path) if path.exists() else None
    try:
        begun = latency.begun(space, task, how, found)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if found is None:
        latency.refuse(space, task, budget, networks)
        keep(begun)  # better to learn now that nothing can be written there
    return latency.make_table(space, begun, how, budget=budget, networks=networks, keep=keep, on_step=on_step, **rules)


def table_document(made: LatencyTable, path: Path, given: str) -> Document:
    """What a latency table is, and how good; without its parts.

    Args:
        made: the table.
        path: where it lies.
        given: its space, as it was typed.
    """
    document = made.document()
    parts = document.pop("parts")
    return {"latency": str(path), "given": given, **document, "parts": len(parts), "fingerprint": made.fingerprint}


def show_table(document: Document, console: Console) -> None:
    """`nas measure --space SPACE`."""
    check, line = document["check"], document["line"]
    title = f"How well it does on {check['checked_on']} other networks"
    made = table("prediction from", "Spearman>", "Kendall>", "mean error>", title=title)
    for name, words in (("table", "this table"), ("macs", "MACs alone")):
        told = check[name]
        ranks = ("-" if told[each] is None else f"{told[each]:.3f}" for each in ("spearman", "kendall"))
        made.add_row(words, *ranks, f"{told['error_percent']:.1f}%")
    console.print(made)
    within = f" within {check['budget']}" if check["budget"] else ""
    said = f"{line['slope']:.3g} x the sum of the parts + {line['intercept_us'] / 1e3:.3g}ms"
    rows: list[tuple[str, RenderableType]] = [
        ("table", Text(document["latency"])),
        ("of", f"{document['parts']:,} parts of {document['space']} on {document['task']}"),
        ("on", _how(document["how"])),
        ("line", f"{said}, fitted on {check['fitted_on']} networks{within}"),
    ]
    unstable = check["fitted_on"] + check["checked_on"] - check["stable"]
    if unstable:
        rows.append(("busy", Text(f"{unstable} of the networks are not known to 1%", style="yellow")))
    longest = max(check["measured_us"]) / 1e3
    command = f"nas space {document['given']} --task {document['task']} --latency {document['latency']}"
    rows.append(("next", Text(f"{command} --budget {_ms(longest)}ms")))
    console.print(facts(*rows))


def _how(how: Document) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in how.get("versions", {}).items())
    many = f"{how['threads']} thread{'s' * (how['threads'] > 1)}"
    return f"{how['runtime']} on {how['device']}, {many}, batch {how['batch']} ({how.get('processor', '')}; {versions})"


def _ms(value: float) -> str:
    """Three digits.

    >>> _ms(0.41234), _ms(8.412), _ms(1234.5)
    ('0.412', '8.41', '1234')
    """
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


class MeasureProgress(Bar):
    """Tells how far a measurement is: a live bar on a terminal, some lines elsewhere."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        super().__init__(console, quiet)
        self._said = ("", -1)
        self._bars: dict[str, Any] = {}

    def __call__(self, step: Step) -> None:
        """It is so far."""
        if self._live is not None:
            if step.what not in self._bars:
                self._bars[step.what] = self._live.add_task(f"measuring {step.what}", total=step.total)
            self._live.update(self._bars[step.what], completed=step.done, total=step.total)
        elif not self._quiet:
            now = (step.what, step.done * LINES // max(step.total, 1))
            if now != self._said:
                done = f"{100 * step.done // max(step.total, 1)}%"
                self._console.print(Text(f"measuring {step.what}: {done} of {step.total:,}", style=FAINT))
                self._said = now
