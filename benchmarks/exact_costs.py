"""Random architectures against fvcore, to the last MAC: `python benchmarks/exact_costs.py [N] [SPACE...]`.

Builds N (300) architectures of each space (all), at 224x224x3:1000 unless --task says otherwise, counts MACs,
parameters and activations with fvcore, and prints how many agree with our costs; then trains each module one step
backward on four random images, and prints how many have a finite gradient in every parameter. Ends with 1 if one of
either does not. `classics` as a SPACE stands for all classic networks on their own tasks, counted by torch's
FlopCounterMode on the meta device.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from searchspaces import CLASSICS, SPACES, Task, classic, space_named

if TYPE_CHECKING:
    from torch import nn

BATCH = 4


def main() -> int:
    """Print a line a space; the number of spaces with a difference."""
    import torch

    from searchspaces.counting import traced_cost

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=300)
    parser.add_argument("spaces", nargs="*", default=[*SPACES, "classics"])
    parser.add_argument("--task", type=Task.parse, default=Task())
    given = parser.parse_args()
    count, task, wrong = given.count, given.task, 0
    for name in given.spaces:
        if name == "classics":
            wrong += classics() != len(CLASSICS)
            continue
        space, rng, equal, learn, started = space_named(name), np.random.default_rng(0), 0, 0, time.perf_counter()
        for _ in range(count):
            architecture = space.sample(rng)
            module = architecture.build(task)
            ours, counted = architecture.cost(task), traced_cost(module, task)
            same = (ours.macs, ours.params, ours.activations) == (counted.macs, counted.params, counted.activations)
            equal += same
            if not same:
                print(f"differs: {architecture.to_json()}\n  ours {ours}\n  fvcore {counted}")
            without = no_gradient(module, task)
            learn += not without
            if without:
                print(f"no finite gradient: {architecture.to_json()}\n  {', '.join(without)}")
        seconds = time.perf_counter() - started
        print(f"{name}: {equal} of {count} equal, {learn} with finite gradients ({seconds:.0f} s)", flush=True)
        wrong += equal != count or learn != count
    return min(wrong, 1)


def no_gradient(module: nn.Module, task: Task) -> list[str]:
    """The parameters that get no finite gradient from one step backward on random images."""
    import torch

    images, labels = torch.randn(BATCH, *task.shape), torch.randint(task.classes, (BATCH,))
    torch.nn.functional.cross_entropy(module.train()(images), labels).backward()
    return [name for name, each in module.named_parameters() if each.grad is None or not each.grad.isfinite().all()]


def classics() -> int:
    """Print a line for all classic networks; how many of them agree."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    equal, started = 0, time.perf_counter()
    for name in CLASSICS:
        network = classic(name)
        with torch.device("meta"):
            module = network.build().eval()
            images = torch.zeros(1, *network.task.shape)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(images)
        params = sum(each.numel() for each in module.parameters())
        ours = network.cost()
        same = (2 * ours.macs, ours.params) == (counter.get_total_flops(), params)
        equal += same
        if not same:
            print(
                f"differs: {name}: ours {ours}, torch {counter.get_total_flops() / 2:,.0f} MACs, {params:,} parameters"
            )
    print(f"classics: {equal} of {len(CLASSICS)} equal ({time.perf_counter() - started:.0f} s)", flush=True)
    return equal


if __name__ == "__main__":
    sys.exit(main())
