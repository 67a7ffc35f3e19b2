"""Latency tables that nobody measured: numbers that follow from the parts' names, in any process."""

import hashlib

from searchspaces import SearchSpace, Task
from searchspaces.latency import LatencyTable, Line, space_parts

HOW = {"runtime": "torch", "device": "cpu", "threads": 1, "batch": 1}


def made_up(
    space: SearchSpace, task: Task, slope: float = 1.3, intercept_us: float = 40.4, overhead_us: float = 5.0
) -> LatencyTable:
    """A table of all parts of a space, 10 to 110 microseconds each."""
    parts = {
        name: 10 + int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100_000 / 1000
        for name in space_parts(space, task)
    }
    return LatencyTable(space.name, task, HOW, parts, overhead_us, Line(intercept_us, slope), {})
