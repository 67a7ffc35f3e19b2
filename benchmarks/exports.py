"""Are exports the network? Every classic and random members of every space, in every format.

python -m benchmarks.exports                       the source text of all, to the last bit: minutes
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from searchspaces import CLASSICS, SPACES, Task, classic, space_named
from searchspaces.layers import Node, ShapeError
from searchspaces.modules import build
from searchspaces.source import source

SIZES = (32, 64, 96, 128, 224)
HEAD = """
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

"""


def smallest_task(network: Callable[[Task], Node], channels: int) -> Task:
    """The smallest images of ours that a network takes, and seven classes."""
    for size in SIZES:
        task = Task(size, channels, 7)
        try:
            network(task).cost(task.shape)
        except ShapeError:
            continue
        return task
    raise AssertionError("no size will do")


def settled(node: Node, task: Task, seed: int = 0) -> nn.Module:
    """A module with random weights whose every layer matters: norms have seen images, gains are not zero."""
    torch.manual_seed(seed)
    module = build(node, task.shape)
    for name, parameter in module.named_parameters():
        if name.endswith("gain"):
            nn.init.uniform_(parameter, 0.5, 1.0)
    for each in module.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm):
            each.momentum = None  # a plain average: of one batch, that batch
    with torch.no_grad():
        module.train()(torch.randn(4, *task.shape))
    return module.eval()


def differing_source(node: Node, task: Task, text: str | None = None) -> str | None:
    """How the network that a source text defines differs from the module; None where it does not."""
    module = settled(node, task)
    defined: dict[str, Callable[[], nn.Module]] = {}
    exec(HEAD + (source(node, task.shape) if text is None else text), defined)
    network = defined["network"]().eval()
    if list(network.state_dict()) != list(module.state_dict()):
        return "names of the parameters differ"
    network.load_state_dict(module.state_dict())
    images = torch.randn(2, *task.shape)
    with torch.no_grad():
        ours, theirs = module(images), network(images)
    if not bool(torch.isfinite(ours).all()) or float(ours.std()) == 0.0:
        return "the logits are not finite, or all alike, and tell nothing"
    return None if torch.equal(ours, theirs) else f"logits differ by {float((ours - theirs).abs().max()):.2g}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=10, help="random members of each space")
    given = parser.parse_args(arguments)

    def networks():
        for name in CLASSICS:
            yield name, classic(name).network, classic(name).task.channels
        for name in SPACES:
            for seed in range(given.members):
                yield f"{name} {seed}", space_named(name).sample(np.random.default_rng(seed)).network, 3

    failed = 0
    for name, network, channels in networks():
        task = smallest_task(network, channels)
        told = differing_source(network(task), task)
        lines = len(source(network(task), task.shape).splitlines())
        print(f"{name:24} {task!s:14} {lines:4} lines   {told or 'equal'}", flush=True)
        failed += told is not None
    raise SystemExit(f"{failed} differ" if failed else 0)


if __name__ == "__main__":
    main()
