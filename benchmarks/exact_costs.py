"""Random architectures against fvcore, to the last MAC: `python benchmarks/exact_costs.py [N] [SPACE...]`.

Builds N (300) architectures of each space (all) at 224x224x3:1000, counts MACs, parameters and activations with
fvcore, and prints how many agree with our costs. Ends with 1 if one does not.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from searchspaces import SPACES, Task, space_named


def main() -> int:
    """Print a line a space; the number of spaces with a difference."""
    import torch

    from searchspaces.modules import traced_cost

    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    task, wrong = Task(), 0
    for name in sys.argv[2:] or SPACES:
        space, rng, equal, started = space_named(name), np.random.default_rng(0), 0, time.perf_counter()
        for _ in range(count):
            architecture = space.sample(rng)
            ours, counted = architecture.cost(task), traced_cost(architecture.build(task), task)
            same = (ours.macs, ours.params, ours.activations) == (counted.macs, counted.params, counted.activations)
            equal += same
            if not same:
                print(f"differs: {architecture.to_json()}\n  ours {ours}\n  fvcore {counted}")
        print(f"{name}: {equal} of {count} equal ({time.perf_counter() - started:.0f} s)", flush=True)
        wrong += equal != count
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
