"""Latency tables that nobody measured, of numbers that follow from the parts' names; measurements of a few runs."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

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


@contextmanager
def measured_quickly() -> Iterator[None]:
    """Medians of a few runs, instead of up to 10 s a network: for tests to which they are of no interest."""
    from estimators import latency, latency_table

    whole = latency.measured
    quick = latency.StoppingRule(within=1.0, runs=1, turn_s=0, most_s=0.001)
    with pytest.MonkeyPatch.context() as patch:
        for module in (latency, latency_table):
            patch.setattr(module, "measured", lambda runners, rule, *more: whole(runners, quick, *more))
        yield
