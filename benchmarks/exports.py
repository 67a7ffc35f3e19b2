"""Are exports the network? Every classic and random members of every space, in every format.

python -m benchmarks.exports                                    the source text of all, to the last bit: minutes
python -m benchmarks.exports --formats onnx,torchscript,python  written, read and run: half an hour
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from nas import exporting
from nas.formats import FORMATS, Exportable, torch_predictor
from searchspaces import CLASSICS, SPACES, Classic, Task, UserError, classic, space_named
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
    """A module with random weights whose every layer matters: norms have seen images, gains and poses are not zero."""
    torch.manual_seed(seed)
    module = build(node, task.shape)
    for name, parameter in module.named_parameters():
        if name.endswith("gain"):
            nn.init.uniform_(parameter, 0.5, 1.0)
        elif name.endswith("pose"):
            nn.init.uniform_(parameter, -0.3, 0.3)
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


def differences(node: Node, task: Task, formats: Sequence[str]) -> str:
    """What each format's logits are away from torch's, of the largest, and the size of its files."""
    found = settled_exportable(node, task)
    reference = torch_predictor(found.from_pixels())
    told = []
    for name in formats:
        made = FORMATS[name](found)
        checked = exporting.checked(name, made.load(), reference, task)
        size = sum(map(len, made.files.values()))
        told.append(f"{name} {checked['max_difference'] / checked['largest_logit']:.1e} {size / 1e6:.1f}MB")
    return "   ".join(told)


def settled_exportable(node: Node, task: Task) -> Exportable:
    """A settled module with all that an export of it needs."""
    whole = Classic("x", "none", lambda task: node)
    return Exportable("x", whole, task, settled(node, task), names(task), grey(task), grey(task))


def own_error(node: Node, task: Task) -> float:
    """How far torch's logits in float32 are from those in float64, of the largest: deep sums may explode."""
    module, images = settled(node, task), torch.randn(2, *task.shape)
    with torch.no_grad():
        single, double = module(images), module.double()(images.double())
    return float((single - double).abs().max() / double.abs().max())


def names(task: Task) -> tuple[str, ...]:
    return tuple(map(str, range(task.classes)))


def grey(task: Task) -> tuple[float, ...]:
    return (127.5,) * task.channels


def networks(members: int) -> Iterator[tuple[str, Callable[[Task], Node], int]]:
    """Classics and members with their names and their channels."""
    for name in CLASSICS:
        yield name, classic(name).network, classic(name).task.channels
    for name in SPACES:
        for seed in range(members):
            yield f"{name} {seed}", space_named(name).sample(np.random.default_rng(seed)).network, 3


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=10, help="random members of each space")
    parser.add_argument("--formats", default="", help=f"with commas, of {', '.join(FORMATS)}")
    parser.add_argument("--only", default="", help="with commas, parts of names; without it all")
    given = parser.parse_args(arguments)
    formats = [name for name in given.formats.split(",") if name]
    failed = untold = count = 0
    for name, network, channels in networks(given.members):
        if not any(part in name for part in given.only.split(",")):
            continue
        task = smallest_task(network, channels)
        count += 1
        try:
            told = differences(network(task), task, formats) if formats else differing_source(network(task), task)
            failed += told is not None and not formats
        except Exception as error:  # whatever it is, the others are to be looked at too
            own = own_error(network(task), task)
            if isinstance(error, UserError) and own > exporting.TOLERANCE:
                untold += 1
                told = f"not told: with random weights torch's own logits in float32 are {own:.1e} away from float64's"
            else:
                failed += 1
                told = f"FAILED {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        print(f"{name:24} {task!s:14} {told or 'equal'}", flush=True)
    print(f"{count - failed - untold} of {count} are the network" + f", {untold} not told" * bool(untold))
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
