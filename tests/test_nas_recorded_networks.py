"""What is drawn from where a table is the reference: recorded networks that fit, uniformly, in spaces of any size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from estimators import TableEstimator
from nas.recorded_networks import MOST, recorded_networks
from searchspaces import SPACES, Budget, Task, UserError, architecture_from_json

TASK = Task(32, 3, 10)
REFERENCE = Path(__file__).resolve().parents[1].parent / "shared" / "reference" / "few-macs-reference.jsonl"


@pytest.fixture(scope="module")
def space():
    """A space that is too large to be listed."""
    return SPACES["mbconv"]()


@pytest.fixture(scope="module")
def some(space):
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(60)]


def table(path, networks, **settings):
    file = path / "table.json"
    file.write_text(json.dumps(networks))
    return TableEstimator(file, **settings)


def test_text_forms_are_read_back_and_only_those_that_fit_are_kept(tmp_path, space, some):
    macs = sorted(each.cost(TASK).macs for each in some)
    budget = Budget.parse(f"{macs[10]}..{macs[30]}")
    held = table(tmp_path, {**{each.to_json(): 0.5 for each in some}, '{"space": "other", "choices": {}}': 0.5, "x": 1})
    found = recorded_networks(held, space.under(budget, TASK), seed=0)
    assert found is not None
    assert {architecture_from_json(each, space) for each in found} == {
        each for each in some if macs[10] <= each.cost(TASK).macs <= macs[30]
    }
    with pytest.raises(UserError, match=r"holds no network of mbconv within .* MACs; is its key correct"):
        recorded_networks(held, space.under(Budget.parse(f"{macs[-1] + 1}..100G"), TASK), seed=0)


def test_of_a_large_space_with_a_key_of_ones_own_those_are_kept_that_draws_meet(tmp_path, space):
    def key(architecture):
        return str(architecture.choices["act"])

    acts = next(each for each in space.decisions if each.name == "act").options
    held = table(tmp_path, {str(acts[0]): 0.5}, key=key)
    found = recorded_networks(held, space, seed=0)
    assert found is not None
    assert len(set(found)) == MOST
    assert {architecture_from_json(each, space).choices["act"] for each in found} == {acts[0]}
    assert recorded_networks(held, space, seed=0) == found != recorded_networks(held, space, seed=1)
    assert recorded_networks(table(tmp_path, {str(each): 0.5 for each in acts}, key=key), space, seed=0) is None


@pytest.mark.skipif(not REFERENCE.exists(), reason="the recorded trainings are not at ../shared/reference")
def test_the_recorded_trainings_of_few_macs_are_a_table_of_what_fits_their_budget(tmp_path):
    from benchmarks.zero_cost import few_macs, recorded

    problem = few_macs()
    entries = recorded(problem)
    held = table(tmp_path, entries)
    feasible = problem.networks[0].space.under(Budget.parse("5M..6M"), TASK)
    assert held.recorded == (36, 2, 2)
    assert set(recorded_networks(held, feasible, seed=0) or ()) == {each.to_json() for each in problem.networks}
    short = "6-epochs-3200-images-batch-32-seed-0"
    by_name = dict(zip(problem.networks, problem.shorter["6 epochs, 3,200 images, batch 32, seed 0"], strict=True))
    again = TableEstimator(tmp_path / "table.json", field=short)
    assert {each: again.mean(each) for each in problem.networks} == pytest.approx(by_name)
