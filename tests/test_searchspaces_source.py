"""Source text: what it defines is the module that the layers are, to the last bit and name.

All 135 classics and many members of all spaces: `python -m benchmarks.exports`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest

from benchmarks.exports import HEAD, differing_source, smallest_task
from searchspaces import SPACES, Scale, Task, classic, space_named
from searchspaces.layers import Act, Chain, Conv, Flatten, Linear, Sum
from searchspaces.source import source

CLASSICS = (
    "lenet5", "alexnet_2012", "googlenet", "inception_v3", "resnet20", "resnet50d", "res2net50_26w_4s", "dm_nfnet_f0",
    "polynet", "fractalnet", "shufflenet_g3_wd4", "mobilenetv3_small_100", "regnety_002", "pnasnet5mobile",
)  # fmt: skip
"""Every family; that every layer and join has its source is held by `test_searchspaces_layers`."""


@pytest.mark.parametrize("name", CLASSICS)
def test_the_source_of_a_classic_is_its_module(name):
    found = classic(name)
    task = smallest_task(found.network, found.task.channels)
    assert differing_source(found.network(task), task) is None


@pytest.mark.parametrize("name", SPACES)  # a new space is tested by being listed
def test_the_source_of_a_member_is_its_module(name):
    for seed in range(2):
        architecture = space_named(name).sample(np.random.default_rng(seed))
        network = partial(architecture.network, scale=Scale(0.25, 0.5))
        task = smallest_task(network, 3)
        assert differing_source(network(task), task) is None


def test_a_network_need_not_be_a_chain():
    node = Sum(Chain(Flatten(), Linear(4)), Chain(Conv(2), Flatten(), Linear(4)))
    assert differing_source(node, Task(16, 3, 4)) is None


def test_a_wrong_source_is_told():
    """That the law above can fail: one stride more, one activation else, one weight less."""
    task = Task(16, 3, 5)
    node = Chain(Conv(8, 3), Act("relu"), Flatten(), Linear(5))
    text = source(node, task.shape)
    assert differing_source(node, task, text) is None
    for right, wrong in (("nn.ReLU()", "nn.SiLU()"), ("padding=1, bias=False", "padding=1")):
        assert right in text
        assert differing_source(node, task, text.replace(right, wrong, 1)) is not None


def test_pieces_that_come_again_are_written_once():
    """ResNet-50 has 16 bottlenecks, four of them the first of a stage: two functions, not 16 texts."""
    task = Task(64, 3, 10)
    text = source(classic("resnet50").network(task), task.shape)
    assert len(text.splitlines()) < 100
    assert (
        len([line for line in text.splitlines() if line.startswith("def ")]) == 6
    )  # added, conv, body, two kinds, network
    assert max(map(len, text.splitlines())) <= 120


def test_equal_networks_have_equal_sources_in_every_process():
    """Forms are numbered in the order they come, not by hashes, which differ between processes."""
    code = (
        "from searchspaces import *; from searchspaces.source import source;"
        "print(source(classic('googlenet').network(Task(32)), (3, 32, 32)))"
    )
    texts = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
        for env in ({"PYTHONHASHSEED": "1", **_env()}, {"PYTHONHASHSEED": "2", **_env()})
    ]
    assert texts[0] == texts[1]


def _env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}


def test_source_needs_no_torch():
    code = (
        "import sys; from searchspaces import *; from searchspaces.source import source;"
        "source(classic('resnet18').network(Task()), (3, 224, 224)); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_shared_in_a_graph_are_shared_in_the_source():
    task = Task(96, 3, 4)
    node = classic("polynet").network(task)
    defined: dict[str, Any] = {}
    exec(HEAD + source(node, task.shape), defined)
    assert sum(each.numel() for each in defined["network"]().parameters()) == node.cost(task.shape).params
