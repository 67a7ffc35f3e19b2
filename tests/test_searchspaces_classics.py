"""Law: published networks have their published parameters, MACs and activations."""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from searchspaces import CLASSICS, classic

_SCRIPT = Path(__file__).parent.parent / "benchmarks" / "classics.py"
_SPEC = importlib.util.spec_from_file_location("golden_table", _SCRIPT)
assert _SPEC is not None
assert _SPEC.loader is not None
table = sys.modules["golden_table"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(table)

ROWS = defaultdict(list)
for row in (*table.golden(), *(table.published(table.PUBLISHED) if table.PUBLISHED.is_file() else ())):
    ROWS[row.name].append(row)


@pytest.mark.parametrize("name", CLASSICS)
def test_a_classic_costs_what_is_published(name):
    for row in ROWS[name]:
        verdict = row.verdict(classic(name).cost(row.task))
        if row.digits == "differs":
            assert verdict not in ("exact", "as printed"), f"{row.source}: no longer differs"
        else:
            assert verdict in ("exact", "as printed"), f"{row.source} on {row.task}"


def test_every_classic_has_a_golden_row_and_every_row_a_classic():
    assert set(ROWS) == set(CLASSICS)


@pytest.mark.parametrize("name", CLASSICS)
def test_a_classic_names_its_paper(name):
    assert classic(name).name == name
    assert any(year in classic(name).paper for year in map(str, range(1995, 2027)))


@pytest.mark.parametrize("name", table.TABLES)
def test_a_classic_costs_what_other_collections_say(name):
    if not (table.PUBLISHED.parent / table.TABLES[name]).is_file():
        pytest.skip(f"the table of another collection is not there: ../shared/reference/{table.TABLES[name]}")
    rows = list(table.elsewhere(name, table.PUBLISHED.parent))
    assert len(rows) >= {"torchvision": 150, "imgclsmob": 110, "pycls": 30}[name]
    for row in rows:
        agrees = row.verdict(classic(row.name).cost(row.task)) in ("exact", "as printed")
        assert agrees != (row.digits == "differs"), f"{row.source} on {row.task}"


def test_small_examples_cost_what_their_papers_print():
    assert [macs for _, macs, _ in table.examples()] == [854_196_224, 271_351_808, 358_055_936, 2160, 672]


def test_the_reference_table_is_there():
    if not table.PUBLISHED.is_file():
        pytest.skip("the table of exact counts is not there: ../shared/reference/published-networks.csv")
    assert sum(len(rows) for rows in ROWS.values()) > 200
