"""The energy of the GPUs that trials ran on, by the counter of their driver.

NVML counts the energy of a GPU since its driver was loaded (`nvmlDeviceGetTotalEnergyConsumption`, Volta or newer); the
extra `energy` reads it. A trial keeps the counter of its GPU at its start and at its end, so that of trials which share
a GPU nothing is counted twice. The energy of a CPU is left out: only root may read it.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

ENERGY: Final = "energy"
"""In the details of a trial: its GPU (UUID), its machine's boot, and the counter at its start and end in joules."""

MOST_J: Final = 2**64 / 1000
"""More than a counter holds, which has 64 bits of millijoules."""


def counters() -> dict[str, float]:
    """The counter of each GPU of this machine that has one, in joules, by UUID; empty without the extra `energy`."""
    found = {}
    for uuid, handle in _gpus().items():
        import pynvml

        with contextlib.suppress(pynvml.NVMLError):  # no counter before Volta
            found[uuid] = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
    return found


@cache
def _gpus() -> dict[str, Any]:
    """NVML's handles by UUID; once a process, as the handles hold for as long."""
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return {_bare(pynvml.nvmlDeviceGetUUID(handle)): handle for handle in handles}
    except pynvml.NVMLError:  # no driver here, say
        return {}


def _bare(uuid: str) -> str:
    """A UUID as torch writes it; NVML has `GPU-` before it."""
    return uuid.removeprefix("GPU-")


def reading(before: Mapping[str, float]) -> dict[str, Any] | None:
    """What a trial keeps, given the counters at its start; None where it used no GPU that has one."""
    torch = sys.modules.get("torch")
    if not before or torch is None or not torch.cuda.is_initialized():
        return None
    gpu = _bare(str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid))
    now = counters().get(gpu)
    if now is None or gpu not in before:
        return None
    return {"gpu": gpu, "boot": _boot(), "from_j": before[gpu], "to_j": now}


def _boot() -> str | None:
    """Which boot of this machine it is, since counters begin anew with each; None where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def joules(details: Iterable[Mapping[str, Any]]) -> tuple[float, int]:
    """What the GPUs used while at least one of the trials ran, in joules, and how many trials have readings.

    Args:
        details: of each trial; they may be of a file that somebody else wrote.

    >>> spans = (0, 50), (40, 70)
    >>> first, second = ({"energy": {"gpu": "a", "from_j": start, "to_j": end}} for start, end in spans)
    >>> joules([first, second, {}])
    (70.0, 2)
    """
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one in details:
        found = one.get(ENERGY)
        if isinstance(found, Mapping):
            start, end = found.get("from_j"), found.get("to_j")
            if isinstance(start, int | float) and isinstance(end, int | float) and 0 <= start <= end < MOST_J:
                spans.setdefault((str(found.get("gpu")), str(found.get("boot"))), []).append((start, end))
    used = 0.0
    for of_gpu in spans.values():
        reached = -math.inf
        for start, end in sorted(of_gpu):
            used += max(0.0, end - max(start, reached))
            reached = max(reached, end)
    return used, sum(len(each) for each in spans.values())
