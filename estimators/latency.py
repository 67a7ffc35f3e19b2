"""Timing networks and parts of networks on this machine.

Runs are timed one by one. A run in which the system took the core away (an involuntary context switch, as the kernel
counts them) does not count. Several networks take turns (round robin), so that other load on the machine affects all of
them alike. A turn of a whole network begins with a run that does not count, since the cache then holds another
network's weights. A turn of a part is a single run, which counts: in a network, too, other blocks run before a block's
weights are used again. Turns continue until the median of each network is known, that is, until its distribution-free
95% confidence interval (order statistics) is no wider than `within` on either side, after a minimum number of runs; or
until the time is up, in which case the result is marked as not stable.

There are two runtimes. ONNX Runtime is the default on a CPU: like deployed networks, it fuses norms and activations
into convolutions, whereas torch, layer by layer, mostly measures its own overhead on small feature maps. On a GPU,
torch is timed with CUDA events. ONNX files are written by torch's older, tracing exporter: the graph is the same after
the runtime's optimizations, and a part takes 0.05 s instead of more than 1 s. The new exporter writes what the older
one cannot.

Left out: ONNX Runtime on a GPU, 8-bit inference, energy, and other devices; a latency table measured elsewhere can be
used instead.
"""

from __future__ import annotations

import io
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators.quiet import quietly
from searchspaces import UserError, nearest
from searchspaces.versions import versions

if TYPE_CHECKING:
    from torch import nn

    from searchspaces import Task
    from searchspaces.layers import Node
    from searchspaces.task import Shape

RUNTIMES: Final = ("onnxruntime", "torch")
DEVICES: Final = ("cpu", "cuda")

TimedRunner = Callable[[int], list[tuple[float, bool]]]
"""Runs a number of times in a row; returns the microseconds of each run and whether it was undisturbed."""


@dataclass(frozen=True, slots=True)
class How:
    """How networks are run when they are timed.

    Attributes:
        runtime: `onnxruntime` or `torch`; by default `onnxruntime` on a CPU if it is installed.
        device: `cpu` or `cuda`.
        threads: of the runtime; 1 by default, which is the least noisy and close to a phone or a loaded server.
        batch: images in a batch.

    Raises:
        UserError: a value is unknown, out of range or not available on this machine.
    """

    runtime: str = ""
    device: str = "cpu"
    threads: int = 1
    batch: int = 1

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise UserError(f"unknown device {self.device!r} to measure on{nearest(self.device, DEVICES)}")
        installed = all(find_spec(each) for each in ("onnx", "onnxruntime"))
        if not self.runtime:
            object.__setattr__(self, "runtime", "onnxruntime" if installed and self.device == "cpu" else "torch")
        if self.runtime not in RUNTIMES:
            raise UserError(f"unknown runtime {self.runtime!r}{nearest(self.runtime, RUNTIMES)}")
        if self.runtime == "onnxruntime" and self.device != "cpu":
            raise UserError(f"onnxruntime is timed on the CPU only; on {self.device} give --runtime torch")
        if self.runtime == "onnxruntime" and not installed:
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
        """What two measurements must have in common to belong to one table."""
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
class StoppingRule:
    """When a median counts as known.

    Attributes:
        within: half the width of its 95% confidence interval, relative to the median.
        runs: minimum number of runs that count.
        turn_s: seconds of a turn; 0 is a single run.
        most_s: time limit for each network, in seconds.
    """

    within: float
    runs: int
    turn_s: float
    most_s: float


NETWORKS: Final = StoppingRule(within=0.01, runs=50, turn_s=0.02, most_s=10.0)
"""For whole networks."""
PARTS: Final = StoppingRule(within=0.02, runs=50, turn_s=0, most_s=1.0)
"""For parts: a network has many, and their errors average out."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of a network or part.

    Attributes:
        median_us, low_us, high_us: the median, the 10th and the 90th percentile of the runs, in microseconds.
        runs: runs that counted.
        disturbed: runs that did not count.
        stable: whether the median is known as precisely as the stopping rule asks for.
    """

    median_us: float
    low_us: float
    high_us: float
    runs: int
    disturbed: int
    stable: bool


def measured(
    runners: Sequence[TimedRunner], rule: StoppingRule, on_turn: Callable[[float], None] = lambda _: None
) -> list[Latency]:
    """Time runners in turns until the median of each is known.

    Args:
        runners: one for each network or part.
        rule: when a median is known.
        on_turn: called after each round with the largest share of runners so far whose median was known; more runs may
            widen an interval again.
    """
    times: list[list[float]] = [[] for _ in runners]  # of undisturbed runs
    others: list[list[float]] = [[] for _ in runners]
    typical = [min(run(3))[0] for run in runners]  # warm-up: allocates memory and selects kernels
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
        looks += 1  # sorting for the medians takes a while
        known = [_is_known(own, rule) for own in times]
        reached = max(reached, sum(known) / len(known))
        on_turn(reached)
        if late or all(known):
            return [_latency(*each) for each in zip(times, others, known, strict=True)]


def _is_known(times: Sequence[float], rule: StoppingRule) -> bool:
    if len(times) < rule.runs:
        return False
    ordered, middle, reach = sorted(times), len(times) / 2, 1.96 * math.sqrt(len(times)) / 2
    low = ordered[max(int(middle - reach) - 1, 0)]
    high = ordered[min(math.ceil(middle + reach), len(times) - 1)]
    return high - low <= 2 * rule.within * statistics.median(ordered)


def _latency(times: Sequence[float], others: Sequence[float], stable: bool) -> Latency:
    low, median, high = np.percentile(times or others, (10, 50, 90)).tolist()
    return Latency(round(median, 3), round(low, 3), round(high, 3), len(times), len(others), stable)


@contextmanager
def threads_of(how: How) -> Iterator[None]:
    """Set torch's number of threads while measuring, and restore it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(how.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def runner(module: nn.Module, given: Shape, how: How) -> TimedRunner:
    """A runner for a module in evaluation mode, on inputs of one shape.

    Raises:
        UserError: the module cannot be exported to ONNX.
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
    """Involuntary context switches of this process so far; 0 if the system does not count them."""
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    return 0


def _cuda_runner(module: nn.Module, example: Any) -> TimedRunner:
    """Timed by the device, since calls return before the kernels have run."""
    import torch

    def run(runs: int) -> list[tuple[float, bool]]:
        found = []
        with torch.inference_mode():
            for _ in range(runs):
                before = _taken_away()
                began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                began.record()
                module(example)
                ended.record()
                ended.synchronize()
                found.append((began.elapsed_time(ended) * 1e3, _taken_away() == before))
        return found

    return run


def _onnx_runner(content: bytes, example: Any, how: How) -> TimedRunner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = how.threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: example}
    return lambda runs: _timed(lambda: session.run(None, feed), runs)


def _onnx(module: nn.Module, example: Any) -> bytes:
    """The module as ONNX, by the tracing exporter, or by the new one if the first fails, as on a channel shuffle."""
    import torch

    with quietly():
        try:
            file = io.BytesIO()
            torch.onnx.export(module, (example,), file, dynamo=False)  # type: ignore[arg-type]
            return file.getvalue()
        except Exception:  # torch's errors have no common type
            try:
                program = torch.onnx.export(module, (example,), dynamo=True, verbose=False)
                assert program is not None
                content: bytes = program.model_proto.SerializeToString()
                return content
            except Exception as error:
                reason = str(error).strip().splitlines() or [type(error).__name__]
                raise UserError(f"it cannot be exported to ONNX ({reason[0]}); give --runtime torch") from error


def network_runner(network: Node, task: Task, how: How) -> TimedRunner:
    """A runner for a whole network with random weights and normalized activations; denormal numbers would be slow."""
    from estimators.trained import settled
    from searchspaces.modules import build

    bare = replace(task, latency=None)
    return runner(settled(lambda: build(network, bare.shape), bare), task.shape, how)


def _processor(device: str) -> str:
    """Model name of the processor or GPU."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
