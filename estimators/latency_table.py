"""Measuring a latency table: the parts of a space's networks, and how their sums predict whole networks.

`searchspaces.latency` has the method, the table and its file; `estimators.latency` times. Measuring can be interrupted
and continued: the table is kept after each group of parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators.latency import (
    NETWORKS,
    PARTS,
    How,
    StoppingRule,
    TimedRunner,
    measured,
    network_runner,
    runner,
    threads_of,
)
from searchspaces import Budget, Task, UserError
from searchspaces.latency import LatencyTable, Line, part_name, parts_of, space_parts

if TYPE_CHECKING:
    from searchspaces import Architecture, SearchSpace
    from searchspaces.layers import Node
    from searchspaces.task import Shape

GROUP: Final = 16
"""Parts that take turns with each other; an interruption loses at most these."""
CHECKED: Final = 20
"""Networks that the line is fitted on, and as many others that it is checked on."""
FEWEST: Final = 4
"""Minimum number of networks of a space for a line to be fitted and checked."""


@dataclass(frozen=True, slots=True)
class MeasureStep:
    """Progress of a measurement.

    Attributes:
        what: `parts` or `networks`.
        done, total: their number.
    """

    what: str
    done: int
    total: int


def begun(space: SearchSpace, task: Task, how: How, found: LatencyTable | None) -> LatencyTable:
    """The table to continue: the one found in a file, if it belongs to this measurement, or an empty one.

    Raises:
        UserError: the table found is of another space, task, runtime or processor.
    """
    now = LatencyTable(space.name, task, how.described())
    if found is None:
        return now
    before, after = ({"space": each.space, "task": str(each.task), **each.how} for each in (found, now))
    for name, value in after.items():
        if before.get(name) != value:
            raise UserError(
                f"it was started with {name} {_said(before.get(name))}, not {_said(value)}: give another --out, or the "
                "same settings"
            )
    return found


def check_measurable(space: SearchSpace, task: Task, budget: Budget | None, networks: int) -> None:
    """Check, before anything is measured, that a table can be made.

    Raises:
        UserError: the space is not a chain of stages, holds too few networks, or nothing fits the budget.
    """
    space_parts(space, task)
    _drawn(space if budget is None else space.under(budget, task), networks)


def make_table(
    space: SearchSpace,
    begun: LatencyTable,
    how: How,
    *,
    budget: Budget | None = None,
    networks: int = CHECKED,
    keep: Callable[[LatencyTable], None] = lambda _: None,
    on_step: Callable[[MeasureStep], None] = lambda _: None,
    parts_rule: StoppingRule = PARTS,
    networks_rule: StoppingRule = NETWORKS,
) -> LatencyTable:
    """Measure what a table lacks: its parts, in random order, then whole networks.

    Args:
        space: a chain of stages.
        begun: the table so far, of the same space, task and settings; see `begun`.
        how: the settings of the table.
        budget: bounds the networks that are drawn; by default the whole space.
        networks: number of networks that the line is fitted on; as many others check it.
        keep: called with every extended table, to write it.
        on_step: called as the measurement proceeds.
        parts_rule, networks_rule: how precisely medians are measured.

    Raises:
        UserError: the space is not a chain of stages, holds too few networks, or nothing fits the budget.
    """
    table, task = begun, begun.task
    parts = space_parts(space, task)
    asked = {"networks": networks, "budget": None if budget is None else str(budget)}
    drawn = _drawn(space if budget is None else space.under(budget, task), networks)
    todo = [name for name in parts if name not in table.parts]
    todo = [todo[int(index)] for index in np.random.default_rng(0).permutation(len(todo))]
    with threads_of(how):
        for start in range(0, len(todo), GROUP):
            on_step(MeasureStep("parts", len(parts) - len(todo) + start, len(parts)))
            names = todo[start : start + GROUP]
            ready = [_nothing_runner(how), *(_part_runner(*parts[name], how) for name in names)]
            nothing, *took = (each.median_us for each in measured(ready, parts_rule))
            overhead = nothing if table.overhead_us is None else table.overhead_us
            more = dict(zip(names, took, strict=True))
            table = replace(table, overhead_us=overhead, parts={**table.parts, **more}, line=None, check=None)
            keep(table)
        on_step(MeasureStep("parts", len(parts), len(parts)))
        if table.line is None or table.check is None or any(table.check.get(key) != asked[key] for key in asked):
            table = _checked(table, drawn, asked, how, networks_rule, on_step)
            keep(table)
    return table


def _drawn(space: SearchSpace, networks: int) -> list[Architecture]:
    """Distinct networks, the same every time: those to fit the line on, then those to check it on."""
    if networks < FEWEST // 2:
        raise UserError(f"check must be at least {FEWEST // 2} networks, got {networks}")
    rng = np.random.default_rng(0)
    found: dict[Architecture, None] = {}
    for _ in range(100 * networks):
        if len(found) < 2 * networks:
            found[space.sample(rng)] = None
    if len(found) < FEWEST:
        raise UserError(
            f"{space.name} has only {len(found)} networks that fit, too few for a latency table; measure whole "
            "networks: nas measure NETWORK"
        )
    return list(found)


def _checked(
    table: LatencyTable,
    drawn: Sequence[Architecture],
    asked: Mapping[str, Any],
    how: How,
    rule: StoppingRule,
    on_step: Callable[[MeasureStep], None],
) -> LatencyTable:
    """The table with its line, and its errors on networks that the line was not fitted on."""
    task, total = table.task, len(drawn)
    trees = [each.network(task) for each in drawn]
    runners = []
    for index, tree in enumerate(trees):
        on_step(MeasureStep("networks", index, 2 * total))
        runners.append(network_runner(tree, task, how))
    took = measured(
        runners, rule, lambda share: on_step(MeasureStep("networks", total + int(share * total), 2 * total))
    )
    whole = np.array([each.median_us for each in took])
    sums = np.array([_sum_us(table, tree) for tree in trees])
    macs = np.array([each.cost(task).macs for each in drawn], float)
    half = total // 2
    line, by_macs = _fitted(sums[:half], whole[:half]), _fitted(macs[:half], whole[:half])
    check = {
        **asked,
        "fitted_on": half,
        "checked_on": total - half,
        "stable": sum(each.stable for each in took),
        "table": agreement(np.array([line(each) for each in sums[half:]]), whole[half:]),
        "macs": agreement(np.array([by_macs(each) for each in macs[half:]]), whole[half:]),
        "measured_us": whole.tolist(),
        "sums_us": np.round(sums, 3).tolist(),
        "of_macs": macs.astype(int).tolist(),
    }
    return replace(table, line=line, check=check)


def _sum_us(table: LatencyTable, network: Node) -> float:
    return sum(
        table.alone_us(table.parts[part_name(node, given)]) for node, given in parts_of(network, table.task.shape)
    )


def _fitted(sums: Any, whole: Any) -> Line:
    """Least squares; through the origin if the intercept would be negative or the slope not positive.

    Raises:
        UserError: the parts take no longer than an empty network.
    """
    if not (sums > 0).any():
        raise UserError("the parts of this space take no longer than an empty network: there is nothing to add up")
    spread = float(((sums - sums.mean()) ** 2).sum())
    slope = float(((sums - sums.mean()) * (whole - whole.mean())).sum()) / spread if spread else 0.0
    intercept = float(whole.mean() - slope * sums.mean())
    if slope > 0 and intercept >= 0:
        return Line(intercept, slope)
    return Line(0.0, float((sums * whole).sum() / (sums * sums).sum()))


def agreement(predicted: Any, whole: Any) -> dict[str, float | None]:
    """Agreement of predicted and measured latencies of the same networks.

    Returns:
        Spearman's and Kendall's rank correlation (None if either is constant), and the mean absolute error in percent.

    >>> agreement(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 25.0]))
    {'spearman': 1.0, 'kendall': 1.0, 'error_percent': 89.3}
    """
    from scipy import stats

    found: dict[str, float | None] = {"spearman": None, "kendall": None}
    if len(set(predicted.tolist())) > 1 and len(set(whole.tolist())) > 1:
        found["spearman"] = round(float(stats.spearmanr(predicted, whole).statistic), 4)
        found["kendall"] = round(float(stats.kendalltau(predicted, whole).statistic), 4)
    return {**found, "error_percent": round(float(100 * (np.abs(predicted - whole) / whole).mean()), 1)}


def _part_runner(node: Node, given: Shape, how: How) -> TimedRunner:
    import torch

    from searchspaces.modules import build

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return runner(build(node, given), given, how)


def _nothing_runner(how: How) -> TimedRunner:
    from torch import nn

    return runner(nn.Identity(), (1,), how)


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return str(value)
