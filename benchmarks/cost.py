"""Speed of sampling and costing, beside building the module and counting it: `python benchmarks/cost.py`.

One run, side by side, on one core: our sampling plus exact costs; the module built on the meta device and counted by
torch's FlopCounterMode; the module built and counted by fvcore (on real tensors: torch.jit's tracing, which fvcore
uses, does not run on the meta device). Then the costs of many networks at once, beside those of each by itself; and
sampling under a band, beside rejection. Counts that differ end the run.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

from searchspaces import SPACES, Budget, SearchSpace, Space, Task, costs_of, space_named

TASK = Task()
MANY = 200_000
"""Networks that are costed at once."""


def ours(seconds: float) -> float:
    """Architectures sampled and costed each second, caches warm."""
    space, rng = space_named("mbconv"), np.random.default_rng(0)
    for _ in range(20_000):
        space.sample(rng).cost(TASK)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(1000):
            space.sample(rng).cost(TASK)
        done += 1000
    return done / (time.perf_counter() - started)


def together(space: SearchSpace, count: int) -> tuple[float, float, float]:
    """Networks of a space costed each second: one by one, caches warm; as rows met for the first time; and again."""
    rng = np.random.default_rng(3)
    drawn = [space.sample(rng) for _ in range(count)]
    rows = np.array([space.encode(member) for member in drawn])
    started = time.process_time()
    found = costs_of(space, rows, TASK)
    first = count / (time.process_time() - started)
    expected = [(cost.macs, cost.params) for cost in (member.cost(TASK) for member in drawn)]
    assert found.tolist() == list(map(list, expected))
    started = time.process_time()
    for member in drawn:
        member.cost(TASK)
    single = count / (time.process_time() - started)
    many = np.tile(rows, (max(1, MANY // count), 1)) if isinstance(space, Space) else rows
    started = time.process_time()
    costs_of(space, many, TASK)
    return single, first, len(many) / (time.process_time() - started)


def theirs(candidates: int) -> tuple[float, float]:
    """Candidates each second with FlopCounterMode on the meta device, and with fvcore."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from searchspaces.counting import traced_cost

    torch.set_num_threads(1)
    space, rng = space_named("mbconv"), np.random.default_rng(1)
    drawn = [space.sample(rng) for _ in range(candidates)]

    started = time.perf_counter()
    for architecture in drawn:
        with torch.device("meta"):
            module = architecture.build(TASK).eval()
            images = torch.zeros(1, *TASK.shape)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(images)
        assert counter.get_total_flops() == 2 * architecture.cost(TASK).macs
    meta = candidates / (time.perf_counter() - started)

    started = time.perf_counter()
    for architecture in drawn:
        assert traced_cost(architecture.build(TASK), TASK).macs == architecture.cost(TASK).macs
    return meta, candidates / (time.perf_counter() - started)


def under_a_band(seconds: float) -> None:
    """Print what sampling 360M..400M takes, and how many draws rejection would need for a hit."""
    space, rng = space_named("mbconv"), np.random.default_rng(2)
    started = time.perf_counter()
    feasible = space.under(Budget.parse("360M..400M"), TASK)
    feasible.sample(rng)
    prepared = time.perf_counter() - started
    started = time.perf_counter()
    count = feasible.count
    counted = time.perf_counter() - started
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(100):
            feasible.sample(rng)
        done += 100
    rate = done / (time.perf_counter() - started)
    hits = sum(feasible.budget.admits(space.sample(rng).cost(TASK)) for _ in range(20_000))
    drawn = sum(feasible.budget.admits(feasible.contents.draw(rng).cost(TASK)) for _ in range(5_000))
    print(f"mbconv at 360M..400M: {count.low:,} to {count.high:,} architectures ({count.share:.2%} of {count.of:,});")
    print(f"  bracket {(count.high - count.low) / count.high:.3%} wide, counted in {counted:.2f} s")
    print(f"  prepared for sampling in {prepared:.2f} s; then {rate:,.0f} samples a second")
    print(f"  draws needed for a hit: {5_000 / drawn:.3f}; by rejection {20_000 / hits:.1f}")


def main() -> None:
    """Print the table."""
    speed = ours(5.0)
    meta, fvcore = theirs(20)
    table = Table(title="mbconv candidates costed on one core, 224x224x3:1000")
    for heading in ("how", "candidates / s", "ours is faster by"):
        table.add_column(heading, justify="left" if heading == "how" else "right")
    table.add_row("sample + exact cost from the algebra", f"{speed:,.0f}", "")
    table.add_row("build on meta + torch FlopCounterMode", f"{meta:.1f}", f"{speed / meta:,.0f} x")
    table.add_row("build + fvcore", f"{fvcore:.2f}", f"{speed / fvcore:,.0f} x")
    Console().print(table)
    table = Table(
        title=f"networks costed a second of one core: each by itself, and {MANY:,} at once (MACs, parameters)"
    )
    for heading in ("space", "each", "at once, new", "at once", "faster by"):
        table.add_column(heading, justify="left" if heading == "space" else "right")
    for name in SPACES:
        space = space_named(name)
        single, first, again = together(space, 4000 if isinstance(space, Space) else 100)
        table.add_row(name, f"{single:,.0f}", f"{first:,.0f}", f"{again:,.0f}", f"{again / single:.1f} x")
    Console().print(table)
    under_a_band(5.0)


if __name__ == "__main__":
    main()
