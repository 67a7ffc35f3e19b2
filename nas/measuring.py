"""Measure the latency of networks on this machine, and latency tables of spaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.wording import given_and_seen
from searchspaces import Buildable, Task, UserError
from searchspaces.layers import ShapeError

if TYPE_CHECKING:
    from estimators.latency import How, TimedRunner
    from estimators.latency_table import MeasureStep
    from nas.documents import Document
    from searchspaces import Budget, SearchSpace
    from searchspaces.latency import LatencyTable


def measure_networks(
    networks: Sequence[str],
    how: How,
    task: Task | None = None,
    space: SearchSpace | None = None,
    on_step: Callable[[MeasureStep], None] = lambda _: None,
    image_size: int | None = None,
) -> Document:
    """Measure the latency of whole networks, in turns; the document has medians and percentiles.

    Args:
        networks: texts that `nas.references.named` understands.
        how: runtime, device, threads and batch size.
        task: the images; by default each network's own.
        space: of architectures, if it is user-defined.
        on_step: called after each step; never where a text is not a network.
        image_size: height and width of the images in pixels; by default those of the task.

    Raises:
        UserError: a text is not a network, or a network cannot take the images or does not run on the runtime.
    """
    from estimators.latency import NETWORKS, measured, threads_of
    from estimators.latency_table import MeasureStep
    from nas.references import on_images, title

    found = [on_images(text, space, task, image_size) for text in networks]  # a wrong name is refused at once
    total = len(networks)
    on_step(MeasureStep("networks", 0, total))
    with threads_of(how):
        made = [_ready(*one, title(text), how) for text, one in zip(networks, found, strict=True)]
        took = measured(
            [each for each, _ in made],
            NETWORKS,
            lambda share: on_step(MeasureStep("networks", int(share * total), total)),
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


def _ready(found: Any, given: Task, seen: Task, name: str, how: How) -> tuple[TimedRunner, Document]:
    """A network ready to be timed, and its name, task and costs; images as of `nas.references.on_images`."""
    from estimators.latency import network_runner, runner

    images = replace(seen, latency=None)
    told: Document = {"name": name, **given_and_seen(given, seen)}
    try:
        if isinstance(found, Buildable):
            cost = found.cost(images)
            made = network_runner(found.network(images), images, how)
        else:
            from searchspaces.counting import counted

            cost = counted(found, images).cost
            made = runner(found, images.shape, how)
    except ShapeError as error:
        raise UserError(f"{name} cannot take images of {images}: {error}") from error
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    return made, {**told, "macs": cost.macs, "params": cost.params}


def measure_space(
    space: SearchSpace,
    task: Task,
    how: How,
    path: Path,
    *,
    budget: Budget | None = None,
    networks: int,
    on_step: Callable[[MeasureStep], None] = lambda _: None,
    **rules: Any,
) -> LatencyTable:
    """Measure the latency table of a space into a file, or resume the table that is there.

    Raises:
        UserError: the file is not a latency table, is of another measurement or cannot be written, or the space has
            parts that cannot be measured.
    """
    from estimators import latency_table
    from searchspaces.files import write_whole
    from searchspaces.latency import LatencyTable

    def keep(table: LatencyTable) -> None:
        write_whole(path, table.text())

    found = LatencyTable.read(path) if path.exists() else None
    try:
        begun = latency_table.begun(space, task, how, found)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if found is None:
        latency_table.check_measurable(space, task, budget, networks)
        keep(begun)  # better to learn now that nothing can be written there
    return latency_table.make_table(
        space, begun, how, budget=budget, networks=networks, keep=keep, on_step=on_step, **rules
    )


def table_document(made: LatencyTable, path: Path, given: str) -> Document:
    """A latency table and its accuracy, without its parts.

    Args:
        made: the table.
        path: of its file.
        given: its space, as typed.
    """
    document = made.document()
    parts = document.pop("parts")
    return {"latency": str(path), "given": given, **document, "parts": len(parts), "fingerprint": made.fingerprint}
