"""Laws of latency as a cost: sums are exact, what is sampled fits, and a table says what is wrong with it."""

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from latency_stand_ins import HOW, made_up

from searchspaces import (
    Budget,
    Cost,
    Space,
    Stage,
    Task,
    UserError,
    choice,
    classic,
    conv_head,
    conv_stem,
    fused_mbconv,
    load_space,
    mbconv,
    per_block,
    space_named,
)
from searchspaces.latency import LatencyTable, part_name, parts_of, space_parts

TASK = Task(32, 3, 10)
BLOCKS = Space(
    "blocks",
    stem=Stage(conv_stem, width=16),
    stages=[
        Stage(choice(mbconv, fused_mbconv), width=choice(16, 24), depth=choice(0, 1, 2), expansion=choice(1, 3)),
        Stage(mbconv, width=32, depth=choice(1, 2), stride=2, kernel=per_block(3, 5), expansion=per_block(1, 3)),
    ],
    head=Stage(conv_head, width=64),
    smallest_map=4,
    act=choice("relu", "silu"),
)
SPACES = {"blocks": BLOCKS, **{name: space_named(name) for name in ("mbconv-blocks", "efficientnetv2")}}


def timed(space, **line):
    return made_up(space, TASK, **line).on(TASK)


def by_hand(architecture, table, task=TASK):
    """Whole microseconds, from the tree of layers and the file's numbers alone."""
    total = round(table.line.intercept_us)
    for node, shape in parts_of(architecture.network(task), task.shape):
        total += round(table.line.slope * (table.parts[part_name(node, shape)] - table.overhead_us))
    return total


@pytest.mark.parametrize("name", SPACES)
def test_latency_is_the_exact_sum_of_the_parts(name):
    space, rng = SPACES[name], np.random.default_rng(0)
    task = timed(space)
    for _ in range(20):
        drawn = space.sample(rng)
        assert drawn.cost(task).latency_us == by_hand(drawn, task.latency)


def test_what_fits_is_counted_as_brute_force_counts_it():
    task = timed(BLOCKS)
    every = [by_hand(each, task.latency) for each in BLOCKS.enumerate()]
    assert len(set(every)) > 100
    for bound in ("300..420", "380", "350.5..400.25"):
        budget = Budget.parse(f"latency_ms={'..'.join(str(float(end) / 1000) for end in bound.split('..'))}")
        low, high = ([0.0, *map(float, bound.split(".."))] if ".." not in bound else [*map(float, bound.split(".."))])[
            -2:
        ]
        count = BLOCKS.under(budget, task).count
        assert count.low == count.high == sum(low <= each <= high for each in every)
    inside = BLOCKS.under(Budget.parse("latency_ms=100%"), task)
    assert (inside.smallest.latency_us, inside.largest.latency_us) == (min(every), max(every))
    assert inside.count.high == BLOCKS.size


def test_a_sample_under_a_latency_bound_is_uniform_over_what_fits():
    task = timed(BLOCKS)
    every = {each: by_hand(each, task.latency) for each in BLOCKS.enumerate()}
    edge = sorted(every.values())[40]
    fits = {each for each, us in every.items() if us <= edge}
    inside = BLOCKS.under(Budget.parse(f"{edge / 1000}ms"), task)
    rng, draws = np.random.default_rng(1), 100 * len(fits)
    drawn = Counter(inside.sample(rng) for _ in range(draws))
    assert set(drawn) == fits
    # 100 each, sd 10: the band is 5 sd
    assert all(50 < times < 150 for times in drawn.values())


@pytest.mark.parametrize("text", ["0.35ms", "0.3..0.4ms", "20M,0.4ms", "params=20K,latency_ms=0.36", "latency_ms=60%"])
def test_what_is_proposed_fits_all_bounds(text):
    task, rng = timed(BLOCKS), np.random.default_rng(2)
    inside = BLOCKS.under(Budget.parse(text), task)
    drawn = inside.sample(rng)
    for _ in range(30):
        drawn = inside.mutate(drawn, rng)
        assert drawn in inside
        for bound in inside.budget.bounds:
            cost = drawn.cost(task).latency_ms if bound.cost == "latency_ms" else getattr(drawn.cost(task), bound.cost)
            assert float(bound.lower) <= cost <= float(bound.upper)
    taken = {}
    while (decision := inside.next_decision(taken)) is not None:
        taken[decision.name] = decision.options[-1]
    assert BLOCKS.architecture(taken) in inside


def test_costs_without_a_table_are_what_they_were():
    drawn = BLOCKS.sample(np.random.default_rng(0))
    bare, with_table = drawn.cost(TASK), drawn.cost(timed(BLOCKS))
    assert bare.latency_us is None
    assert bare.told() == {name: value for name, value in with_table.told().items() if name != "latency_ms"}
    assert list(bare.told()) == ["macs", "params", "activations", "peak_activation_bytes"]


def test_two_tables_give_two_costs():
    drawn = BLOCKS.sample(np.random.default_rng(0))
    slow, fast = timed(BLOCKS, slope=2.0), timed(BLOCKS, slope=1.0)
    assert drawn.cost(slow).latency_us > drawn.cost(fast).latency_us
    assert drawn.cost(slow).latency_us == by_hand(drawn, slow.latency)


def test_a_classic_has_a_latency_where_all_its_parts_were_measured():
    space, large = SPACES["mbconv-blocks"], Task(224, 3, 10)  # where no stride is left out
    task = made_up(space, large).on(large)
    [(name, member)] = list(space.references.items())[:1]
    by_parts = by_hand(member, task.latency, large)
    assert classic(name).cost(task).latency_us == member.cost(task).latency_us == by_parts
    assert classic("resnet18").cost(task).latency_us is None


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("8ms", "latency_ms=8"),
        ("5..8ms", "latency_ms=5..8"),
        ("5ms..8ms", "latency_ms=5..8"),
        ("400M, 7.5ms", "macs=400M,latency_ms=7.5"),
        ("latency-ms=8", "latency_ms=8"),
        ("latency_ms=5000", "latency_ms=5000"),
        ("latency_ms=60%", "latency_ms=60%"),
    ],
)
def test_a_budget_of_milliseconds_reads_back(text, whole):
    budget = Budget.parse(text)
    assert str(budget) == whole
    assert Budget.parse(whole) == budget


@pytest.mark.parametrize("text", ["latency_ms=8M", "8msms", "60%msms", "8Mms", "ms", "8ms,latency_ms=9", "macs=8ms"])
def test_what_is_no_budget_of_milliseconds_is_refused(text):
    with pytest.raises(UserError, match="budget"):
        Budget.parse(text)


def test_a_bound_holds_to_the_microsecond():
    # as binary floats, 7.9 is a little more than 7.9
    assert Budget.parse("7.9ms").admits(Cost(latency_us=7900))
    assert not Budget.parse("7.9ms").admits(Cost(latency_us=7901))
    assert not Budget.parse("7.9..8ms").admits(Cost(latency_us=7899))


def test_a_table_reads_back(tmp_path):
    table = made_up(BLOCKS, TASK)
    (tmp_path / "t.json").write_text(table.text())
    found = LatencyTable.read(tmp_path / "t.json")
    assert found == table
    assert (found.fingerprint, hash(found)) == (table.fingerprint, hash(table))
    assert found != made_up(BLOCKS, TASK, slope=1.4)
    assert found.on(TASK) == table.on(TASK) != TASK


DAMAGED = {
    "no JSON": (lambda document: "{", "cannot read the latency table"),
    "a pickle": (lambda document: pickle.dumps(document), "cannot read the latency table"),
    "a list": (lambda document: [], "it has no format"),
    "newer": (lambda document: {**document, "format": 2}, "newer nas"),
    "no parts": (lambda document: {**document, "parts": None}, "'parts' cannot be 'None'"),
    "parts cut off": (lambda document: {k: v for k, v in document.items() if k != "parts"}, "it has no 'parts'"),
    "a text for a time": (lambda document: {**document, "parts": {"x": "fast"}}, "'x' cannot take 'fast'"),
    "an endless time": (lambda document: {**document, "parts": {"x": 1e300}}, "'x' cannot take 1e\\+300"),
    "a negative time": (lambda document: {**document, "parts": {"x": -1}}, "'x' cannot take -1"),
    "a line that falls": (lambda document: {**document, "line": {"intercept_us": 1, "slope": 0}}, "'line' cannot be"),
    "no runtime": (lambda document: {**document, "how": {}}, "'how' has no 'runtime'"),
    "no task": (lambda document: {**document, "task": "small"}, "'small' does not look like"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_is_one_line(tmp_path, name):
    damage, words = DAMAGED[name]
    found = damage(made_up(BLOCKS, TASK).document())
    path = tmp_path / "t.json"
    if isinstance(found, bytes):
        path.write_bytes(found)
    else:
        path.write_text(found if isinstance(found, str) else json.dumps(found))
    with pytest.raises(UserError, match=words) as caught:
        LatencyTable.read(path)
    assert "t.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_of_another_task_or_space_or_unfinished_is_refused():
    table = made_up(BLOCKS, TASK)
    with pytest.raises(UserError, match="32x32x3:10, and costs are counted on 64x64x3:10"):
        table.on(Task(64, 3, 10))
    with pytest.raises(UserError, match=r"measured for blocks, lacks [\d,]+ of the 918 parts of mbconv-blocks"):
        SPACES["mbconv-blocks"].under(Budget.parse("10ms"), table.on(TASK))
    unfinished = LatencyTable(BLOCKS.name, TASK, HOW, dict(list(table.parts.items())[:3]), 5.0)
    with pytest.raises(UserError, match="incomplete: it has 3 parts"):
        unfinished.on(TASK)


def test_a_part_of_a_space_may_use_the_table_of_the_whole():
    smaller = Space(
        "smaller",
        stem=Stage(conv_stem, width=16),
        stages=[Stage(mbconv, width=24, depth=1, expansion=3, name="stage1"),
                Stage(mbconv, width=32, depth=1, stride=2, kernel=choice(3, 5), expansion=3, name="stage2")],
        head=Stage(conv_head, width=64),
        smallest_map=4,
        act="silu",
    )  # fmt: skip
    task = timed(BLOCKS)
    assert set(space_parts(smaller, TASK)) < set(task.latency.parts)
    assert smaller.under(Budget.parse("100ms"), task).count.high == 2


@pytest.mark.parametrize("name", ["mbconv", "nasnet"])
def test_a_latency_budget_without_a_table_names_the_command_that_makes_one(name):
    with pytest.raises(UserError, match=f"nas measure --space {name} --task 32x32x3:10 --out latency.json"):
        space_named(name).under(Budget.parse("8ms"), TASK)


def test_an_incomplete_table_is_resumed_with_the_space_and_the_file_as_they_are_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text((Path(__file__).parents[1] / "examples" / "my_space.py").read_text())
    space = load_space("own.py:space")
    (tmp_path / "my times.json").write_text(LatencyTable(space.name, TASK, HOW).text())
    with pytest.raises(UserError) as refused:
        LatencyTable.read("my times.json").on(TASK)
    typed = "nas measure --space own.py:space --task 32x32x3:10 --out 'my times.json'"
    assert str(refused.value).endswith(f"resume with: {typed}")
    with pytest.raises(UserError, match=r"nas measure --space own\.py:space --task 32x32x3:10 --out latency\.json"):
        space.under(Budget.parse("8ms"), TASK)


@pytest.mark.parametrize("name", ["nasnet", "scaling"])
def test_a_space_that_is_no_chain_has_no_table(name):
    with pytest.raises(UserError, match="not a chain of stages"):
        space_parts(space_named(name), TASK)
    with pytest.raises(UserError, match="not a chain of stages"):
        space_named(name).under(Budget.parse("100%"), timed(BLOCKS))
