"""NAS-Bench-Macro, declared as a space, is the benchmark: 6,561 keys, 3,969 networks, the published costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searchspaces import Task, load_object

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT.parent / "shared" / "data" / "nas-bench-macro.json"
TASK = Task.parse("32x32x3:10")

architecture = load_object(f"{ROOT / 'examples' / 'nas_bench_macro.py'}:architecture")
space, key = (architecture.__globals__[name] for name in ("space", "key"))  # of the same loading of the file


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    if not TABLE.exists():
        pytest.skip("NAS-Bench-Macro is not beside the repository, at ../shared/data/nas-bench-macro.json")
    found: dict[str, Any] = json.loads(TABLE.read_text())
    return found


def test_all_keys_have_the_published_costs(table: dict[str, Any]) -> None:
    for text, row in table.items():
        cost = architecture(text).cost(TASK)
        assert (cost.params, cost.macs) == (row["params"], row["flops"]), text


def test_keys_of_one_network_share_their_record(table: dict[str, Any]) -> None:
    assert len(table) == 3**8
    for text, row in table.items():
        assert table[key(architecture(text))] == row, text


def test_the_members_are_the_3969_different_networks() -> None:
    members = list(space.enumerate())
    assert len(members) == len({key(member) for member in members}) == space.size == 3969
    assert len({member.network(TASK) for member in members}) == 3969
    assert all(architecture(key(member)) == member for member in members)


def test_a_network_trains() -> None:
    import torch

    module = space.sample(np.random.default_rng(0)).build(TASK)
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
