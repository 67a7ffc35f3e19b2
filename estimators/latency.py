"""How long networks and their parts take on this machine: what a latency table is made of.

Runs are timed one by one; one in which the system gave the core to somebody else (an involuntary context switch, as
the kernel counts them) tells of that and not of the network, and does not count. Several networks take turns (round
robin), so that what else happens on the machine happens to all of them. A turn of a whole network begins with a run
that does not count, as it finds another network's numbers in the cache; a turn of a part is one run that does, as in a
network too the weights of a block wait while all others run. Turns go on until the median of each is known: until the
distribution-free 95% interval of its median (order statistics) is no wider than `within` to each side of it, after at
least so many runs, or until there was time enough; then what there is counts, and it is said.

Two runtimes. ONNX Runtime is the one to choose on a CPU, and the default there: it fuses norms and activations into
convolutions as deployed networks do, where torch, run layer by layer, takes for small maps mostly its own overhead. On
a GPU torch is timed, by CUDA's own events. Files for ONNX Runtime are written by torch's older exporter, that traces:
the same graph after the runtime's own optimizations, in 0.05 s a part where the new one takes more than one.
What it cannot write, the new one does.

Left out: ONNX Runtime on a GPU, 8 bits, energy, and devices that are not this machine: a table in the same form,
measured elsewhere, is as good.
"""

from __future__ import annotations

import io
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators.quiet import quietly
from searchspaces import Budget, Task, UserError, nearest
from searchspaces.latency import LatencyTable, Line, part_name, parts_of, space_parts
from searchspaces.versions import versions

if TYPE_CHECKING:
    from torch import nn

    from searchspaces import Architecture, SearchSpace
    from searchspaces.layers import Node
    from searchspaces.task import Shape

RUNTIMES: Final = ("onnxruntime", "torch")
DEVICES: Final = ("cpu", "cuda")
GROUP: Final = 16
"""Parts that take turns with each other; what an interruption loses at most."""
CHECKED: Final = 20
"""Networks that the line is fitted on, and as many others that it is checked on."""
FEWEST: Final = 4
"""Networks of a space, at least, for a line to be fitted and checked."""

Runner = Callable[[int], list[tuple[float, bool]]]
"""Runs so many times, one after the other; gives the microseconds of each run, and whether it ran undisturbed."""


@dataclass(frozen=True, slots=True)
class How:
    """How something is run when it is timed.

    Attributes:
        runtime: `onnxruntime` or `torch`; by default the first on a CPU where it is installed.
        device: `cpu` or `cuda`.
        threads: of the runtime; 1 unless told otherwise, as a phone's cores and a loaded server's give, and as is least
            noisy.
        batch: images at a time.

    Raises:
        UserError: one of them is not to be had here.
    """

    runtime: str = ""
    device: str = "cpu"
    threads: int = 1
    batch: int = 1

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise UserError(f"unknown device {self.device!r} to measure on{nearest(self.device, DEVICES)}")
        there = all(find_spec(each) for each in ("onnx", "onnxruntime"))
        if not self.runtime:
            object.__setattr__(self, "runtime", "onnxruntime" if there and self.device == "cpu" else "torch")
        if self.runtime not in RUNTIMES:
            raise UserError(f"unknown runtime {self.runtime!r}{nearest(self.runtime, RUNTIMES)}")
        if self.runtime == "onnxruntime" and self.device != "cpu":
            raise UserError(f"onnxruntime is measured on the CPU only; on {self.device} give --runtime torch")
        if self.runtime == "onnxruntime" and not there:
            raise UserError("onnxruntime is not installed: pip install 'nas-toolkit[onnx]', or give --runtime torch")
        cores = os.cpu_count() or 1
        if not 1 <= self.threads <= cores:
            raise UserError(f"threads must be from 1 to the {cores} cores of this machine, got {self.threads}")
        if self.batch < 1:
            raise UserError(f"batch must be at least 1, got {self.batch}")
        if self.device == "cuda":
            from estimators.steps import find_device

            find_device("cuda")

    def described(self) -> dict[str, Any]:
        """All that two measurements must have in common to be of one table."""
        libraries = ("onnxruntime", "torch") if self.runtime == "onnxruntime" else ("torch",)
        return {
            "runtime": self.runtime,
            "device": self.device,
            "threads": self.threads,
            "batch": self.batch,
            "versions": versions(*libraries),
            "processor": _processor(self.device),
        }


@dataclass(frozen=True, slots=True)
class Rule:
    """When a median is known.

    Attributes:
        within: half the width of its 95% interval, as a share of it.
        runs: that count, at least.
        turn_s: how long a turn takes; 0 is one run.
        most_s: seconds for each network, after which it is left as it is.
    """

    within: float
    runs: int
    turn_s: float
    most_s: float


NETWORKS: Final = Rule(within=0.01, runs=50, turn_s=0.02, most_s=10.0)
"""For whole networks."""
PARTS: Final = Rule(within=0.02, runs=50, turn_s=0, most_s=1.0)
"""For parts, of which a network has many: their errors cancel each other."""


@dataclass(frozen=True, slots=True)
class Latency:
    """What something took.

    Attributes:
        median_us, low_us, high_us: microseconds: the median, the 10th and the 90th percentile of the runs.
        runs: that counted.
        disturbed: runs that did not.
        stable: whether the median is known as well as the rule asks for.
    """

    median_us: float
    low_us: float
    high_us: float
    runs: int
    disturbed: int
    stable: bool


@dataclass(frozen=True, slots=True)
class Step:
    """How far the making of a table is.

    Attributes:
        what: `parts` or `networks`.
        done, total: of them.
    """

    what: str
    done: int
    total: int


def measured(runners: Sequence[Runner], rule: Rule, on_turn: Callable[[float], None] = lambda _: None) -> list[Latency]:
    """Let runners take turns until the median of each is known.

    Args:
        runners: what is timed.
        rule: when a median is known.
        on_turn: called after each round with the share of runners whose median is known, or was: a median may turn out
            not to be known after all.
    """
    times: list[list[float]] = [[] for _ in runners]  # of runs that count
    others: list[list[float]] = [[] for _ in runners]
    typical = [min(run(3))[0] for run in runners]  # memory is allocated, kernels are chosen
    began, looks, reached = time.perf_counter(), 1, 0.0
    while True:
        for index, run in enumerate(runners):
            if rule.turn_s:
                run(1)
            for took, undisturbed in run(max(1, round(rule.turn_s * 1e6 / max(typical[index], 1.0)))):
                (times if undisturbed else others)[index].append(took)
        late = time.perf_counter() - began > rule.most_s * len(runners)
        if not late and min(map(len, times)) < looks * rule.runs:
            continue
        looks += 1  # at medians, which takes a while
        known = [_is_known(own, rule) for own in times]
        reached = max(reached, sum(known) / len(known))
        on_turn(reached)
        if late or all(known):
            return [_latency(*each) for each in zip(times, others, known, strict=True)]


def _is_known(times: Sequence[float], rule: Rule) -> bool:
    if len(times) < rule.runs:
        return False
    ordered, reach = sorted(times), 1.96 * math.sqrt(len(times)) / 2
    low, high = (ordered[min(int(len(times) / 2 + side * reach), len(times) - 1)] for side in (-1, 1))
    return high - low <= 2 * rule.within * statistics.median(ordered)


def _latency(times: Sequence[float], others: Sequence[float], stable: bool) -> Latency:
    low, median, high = np.percentile(times or others, (10, 50, 90)).tolist()
    return Latency(round(median, 3), round(low, 3), round(high, 3), len(times), len(others), stable)


@contextmanager
def threads_of(how: How) -> Iterator[None]:
    """Let torch have as many threads as are measured with, and then what it had."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(how.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def runner(module: nn.Module, given: Shape, how: How) -> Runner:
    """Makes a module ready to be timed, in evaluation mode, on inputs of one shape.

    Raises:
        UserError: ONNX cannot hold it.
    """
    import torch

    example = torch.rand(how.batch, *given, generator=torch.Generator().manual_seed(0)) * 2 - 1
    module = module.eval()
    if how.runtime == "onnxruntime":
        return _onnx_runner(_onnx(module, example), example.numpy(), how)
    if how.device == "cuda":
        return _cuda_runner(module.cuda(), example.cuda())

    def run(runs: int) -> list[tuple[float, bool]]:
        with torch.inference_mode():
            return _timed(lambda: module(example), runs)

    return run


def _timed(run: Callable[[], object], runs: int) -> list[tuple[float, bool]]:
    found = []
    for _ in range(runs):
        before = _taken_away()
        began = time.perf_counter_ns()
        run()
        took = time.perf_counter_ns() - began
        found.append((took / 1e3, _taken_away() == before))
    return found


def _taken_away() -> int:
    """How often the system has taken a core away from this process; where it does not tell, never."""
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    return 0


def _cuda_runner(module: nn.Module, example: Any) -> Runner:
    """Timed by the device itself, as calls return before the work is done."""
    import torch

    def run(runs: int) -> list[tuple[float, bool]]:
        found = []
        with torch.inference_mode():
            for _ in range(runs):
                before = _taken_away()
                began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
                began.record()
                module(example)
                ended.record()
                ended.synchronize()
                found.append((began.elapsed_time(ended) * 1e3, _taken_away() == before))
        return found

    return run


def _onnx_runner(content: bytes, example: Any, how: How) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = how.threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: example}
    return lambda runs: _timed(lambda: session.run(None, feed), runs)


def _onnx(module: nn.Module, example: Any) -> bytes:
    """ONNX by the exporter that traces, or by the new one what that does not know, such as channels shuffled."""
    import torch

    with quietly():
        try:
            file = io.BytesIO()
            torch.onnx.export(module, (example,), file, dynamo=False)  # type: ignore[arg-type]
            return file.getvalue()
        except Exception:  # what torch raises has no common kind
            try:
                program = torch.onnx.export(module, (example,), dynamo=True, verbose=False)
                assert program is not None
                content: bytes = program.model_proto.SerializeToString()
                return content
            except Exception as error:
                reason = str(error).strip().splitlines() or [type(error).__name__]
                raise UserError(f"it cannot be written as ONNX ({reason[0]}); give --runtime torch") from error


def network_runner(network: Node, task: Task, how: How) -> Runner:
    """A whole network with random weights, whose numbers neither grow nor vanish: numbers too small are slow ones."""
    from estimators.trained import settled
    from searchspaces.modules import build

    bare = replace(task, latency=None)
    return runner(settled(lambda: build(network, bare.shape), bare), task.shape, how)


def _part_runner(node: Node, given: Shape, how: How) -> Runner:
    import torch

    from searchspaces.modules import build

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return runner(build(node, given), given, how)


def _nothing_runner(how: How) -> Runner:
    from torch import nn

    return runner(nn.Identity(), (1,), how)


def begun(space: SearchSpace, task: Task, how: How, found: LatencyTable | None) -> LatencyTable:
    """The table to go on with: the one that was found in a file, if it is of the same, or an empty one.

    Raises:
        UserError: the one that was found is of something else.
    """
    now = LatencyTable(space.name, task, how.described())
    if found is None:
        return now
    before, after = ({"space": each.space, "task": str(each.task), **each.how} for each in (found, now))
    for name, value in after.items():
        if before.get(name) != value:
            raise UserError(
                f"it was begun with {name} {_said(before.get(name))}, and this asks for {_said(value)}: give another "
                "--out, or ask for the same"
            )
    return found


def refuse(space: SearchSpace, task: Task, budget: Budget | None, networks: int) -> None:
    """Refuse what no table can be made of, before anything is measured.

    Raises:
        UserError: the space is no chain, holds too few networks, or nothing fits the budget.
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
    on_step: Callable[[Step], None] = lambda _: None,
    parts_rule: Rule = PARTS,
    networks_rule: Rule = NETWORKS,
) -> LatencyTable:
    """Measure what a table lacks: parts, in an order that tells nothing of their place; then whole networks.

    Args:
        space: a chain of stages.
        begun: what there is already, of the same space, task and kind of measurement.
        how: as `begun` says.
        budget: what of the space the networks are drawn from; the whole of it by default.
        networks: that the line is fitted on, and others that it is checked on.
        keep: called with each table that is more than the one before, to be written.
        on_step: called as it goes on.
        parts_rule, networks_rule: how well medians are to be known.

    Raises:
        UserError: the space is no chain, holds too few networks, or nothing fits the budget.
    """
    table, task = begun, begun.task
    parts = space_parts(space, task)
    asked = {"networks": networks, "budget": None if budget is None else str(budget)}
    drawn = _drawn(space if budget is None else space.under(budget, task), networks)
    todo = [name for name in parts if name not in table.parts]
    todo = [todo[int(index)] for index in np.random.default_rng(0).permutation(len(todo))]
    with threads_of(how):
        for start in range(0, len(todo), GROUP):
            on_step(Step("parts", len(parts) - len(todo) + start, len(parts)))
            names = todo[start : start + GROUP]
            ready = [_nothing_runner(how), *(_part_runner(*parts[name], how) for name in names)]
            nothing, *took = (each.median_us for each in measured(ready, parts_rule))
            overhead = nothing if table.overhead_us is None else table.overhead_us
            more = dict(zip(names, took, strict=True))
            table = replace(table, overhead_us=overhead, parts={**table.parts, **more}, line=None, check=None)
            keep(table)
        on_step(Step("parts", len(parts), len(parts)))
        if table.line is None or table.check is None or any(table.check.get(key) != asked[key] for key in asked):
            table = _checked(table, drawn, asked, how, networks_rule, on_step)
            keep(table)
    return table


def _drawn(space: SearchSpace, networks: int) -> list[Architecture]:
    """Different networks, always the same: those to fit on, then those to check on."""
    if networks < FEWEST // 2:
        raise UserError(f"check must be at least {FEWEST // 2} networks, got {networks}")
    rng = np.random.default_rng(0)
    found: dict[Architecture, None] = {}
    for _ in range(100 * networks):
        if len(found) < 2 * networks:
            found[space.sample(rng)] = None
    if len(found) < FEWEST:
        raise UserError(
            f"{space.name} has {len(found)} networks that may be drawn, too few for a table to be checked on; measure "
            "them whole: nas measure NETWORK"
        )
    return list(found)


def _checked(
    table: LatencyTable,
    drawn: Sequence[Architecture],
    asked: Mapping[str, Any],
    how: How,
    rule: Rule,
    on_step: Callable[[Step], None],
) -> LatencyTable:
    """The table with its line, and how well it does on networks that the line was not fitted on."""
    task, total = table.task, len(drawn)
    trees = [each.network(task) for each in drawn]
    runners = []
    for index, tree in enumerate(trees):
        on_step(Step("networks", index, 2 * total))
        runners.append(network_runner(tree, task, how))
    took = measured(runners, rule, lambda share: on_step(Step("networks", total + int(share * total), 2 * total)))
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
    """Least squares; through the origin where the intercept would be negative, or the slope not positive.

    Raises:
        UserError: the parts take no longer than nothing does.
    """
    if not (sums > 0).any():
        raise UserError("the parts of this space take no longer than running nothing: there is nothing to add up")
    spread = float(((sums - sums.mean()) ** 2).sum())
    slope = float(((sums - sums.mean()) * (whole - whole.mean())).sum()) / spread if spread else 0.0
    intercept = float(whole.mean() - slope * sums.mean())
    if slope > 0 and intercept >= 0:
        return Line(intercept, slope)
    return Line(0.0, float((sums * whole).sum() / (sums * sums).sum()))


def agreement(predicted: Any, whole: Any) -> dict[str, float | None]:
    """How well predictions and measurements of the same networks go together.

    Returns:
        Spearman's and Kendall's rank correlation (None where all are the same), and the mean absolute error in percent.

    >>> agreement(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 25.0]))
    {'spearman': 1.0, 'kendall': 1.0, 'error_percent': 89.3}
    """
    from scipy import stats

    found: dict[str, float | None] = {"spearman": None, "kendall": None}
    if len(set(predicted.tolist())) > 1 and len(set(whole.tolist())) > 1:
        found["spearman"] = round(float(stats.spearmanr(predicted, whole).statistic), 4)
        found["kendall"] = round(float(stats.kendalltau(predicted, whole).statistic), 4)
    return {**found, "error_percent": round(float(100 * (np.abs(predicted - whole) / whole).mean()), 1)}


def _processor(device: str) -> str:
    """What it is called that runs."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return str(value)
