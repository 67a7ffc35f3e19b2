"""What a proxy's shrinking hides: `python -m benchmarks.shrinking`.

For each space under a budget: how many MACs its networks have on the proxy's images when they are shrunken, and the
share of single decisions whose change is still seen then, that is, changes MACs, parameters, activations or memory.
What is not seen cannot be ranked. Nothing is trained; a minute of one core.
"""

from __future__ import annotations

import statistics
from typing import Final

import numpy as np

from searchspaces import Budget, Scale, Task, load_space

CASES: Final = (
    ("mbconv", "400M", "224x224x3:1000"),
    ("mbconv", "40M", "32x32x3:10"),
    ("mbconv-blocks", "400M", "224x224x3:1000"),
    ("mobilenetv3", "200M", "224x224x3:1000"),
    ("efficientnetv2", "2G", "224x224x3:1000"),
    ("resnet", "2G", "224x224x3:1000"),
    ("resnet-cifar", "100M", "32x32x3:10"),
    ("densenet", "2G", "224x224x3:1000"),
    ("shufflenet", "140M", "224x224x3:1000"),
    ("inception", "1G", "224x224x3:1000"),
    ("mixed", "1G", "224x224x3:1000"),
    ("examples/nas_bench_macro.py:space", "60M", "32x32x3:10"),
)
IMAGES: Final = Task.parse("32x32x3:10")
SCALES: Final = (Scale(1, 1), Scale(0.5, 1), Scale(0.5, 0.5), Scale(0.25, 1), Scale(0.25, 0.5))


def main() -> None:
    """Print the table."""
    print(f"{'space':34}{'budget':>7}" + "".join(f"{f'w {each.width:g}, d {each.depth:g}':>16}" for each in SCALES))
    for name, budget, task in CASES:
        space = load_space(name).under(Budget.parse(budget), Task.parse(task))
        rng = np.random.default_rng(0)
        pairs = [(one, space.mutate(one, rng)) for one in (space.sample(rng) for _ in range(40)) for _ in range(8)]
        row = ""
        for scale in SCALES:
            macs = statistics.median(one.cost(IMAGES, scale).macs for one, _ in pairs)
            seen = statistics.mean(one.cost(IMAGES, scale) != other.cost(IMAGES, scale) for one, other in pairs)
            row += f"{f'{macs / 1e6:.3g}M  {seen:4.0%}':>16}"
        print(f"{name:34}{budget:>7}{row}", flush=True)


if __name__ == "__main__":
    main()
