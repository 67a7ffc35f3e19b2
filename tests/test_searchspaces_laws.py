"""The laws that every space keeps; a space is tested by being listed in `SPACES`."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import searchspaces
from searchspaces import (
    SPACES,
    Budget,
    Scale,
    Space,
    Stage,
    Task,
    architecture_from_json,
    choice,
    conv_head,
    conv_stem,
    mbconv,
    per_block,
    space_named,
)
from searchspaces.budgeted import chain
from searchspaces.densenet import dense_layer
from searchspaces.errors import UserError
from searchspaces.layers import (
    Act,
    Chain,
    Concat,
    Conv,
    Flatten,
    GlobalPool,
    Graph,
    GraphStep,
    Identity,
    Linear,
    Node,
    Norm,
    Pool,
    SpatialTransformer,
    SqueezeExcite,
    Sum,
)

SMALL = Task(32, 3, 10)
SEEDS = st.integers(0, 2**32 - 1)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


TASKS, SCALES = (SMALL, Task(64, 1, 7)), (Scale(), Scale(0.5, 0.5))


def counts(name: str, task: Task, scale: Scale, seed: int) -> list[tuple[int, int, int]]:
    """MACs, parameters and activations of a sample: as costed, and as fvcore counts them on the built module."""
    import torch

    from searchspaces.counting import traced_cost

    architecture = space_named(name).sample(rng_of(seed))
    with torch.random.fork_rng():
        module = architecture.build(task, scale)
    return [
        (cost.macs, cost.params, cost.activations)
        for cost in (architecture.cost(task, scale), traced_cost(module, task))
    ]


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(("task", "scale"), [*zip(TASKS, SCALES, strict=True)], ids=["whole", "halved"])
def test_costs_are_what_fvcore_counts_on_the_built_module(name, task, scale):
    ours, counted = counts(name, task, scale, 1)  # both tasks at both scales, and more samples: `benchmarks.proofs`
    assert ours == counted


@pytest.mark.parametrize("name", SPACES)
def test_a_module_learns_in_every_parameter(name):
    import torch

    architecture = space_named(name).sample(rng_of(2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = architecture.build(SMALL, Scale(0.5, 0.5))
        logits = module(torch.randn(4, 3, 32, 32))  # (batch, classes)
        assert logits.shape == (4, 10)
        torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", SPACES)
@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_sample_and_its_mutant_are_members_and_differ(name, seed):
    space, rng = space_named(name), rng_of(seed)
    parent = space.sample(rng)
    child = space.mutate(parent, rng)
    assert parent in space
    assert child in space
    assert child != parent
    assert child.network(SMALL) != parent.network(SMALL)


@pytest.mark.parametrize("name", SPACES)
@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_text_and_vector_forms_round_trip(name, seed):
    space = space_named(name)
    architecture = space.sample(rng_of(seed))
    assert architecture_from_json(architecture.to_json()) == architecture
    vector = space.encode(architecture)
    assert vector.shape == (len(space.decisions),)
    assert space.decode(vector) == architecture
    assert hash(space.decode(vector)) == hash(architecture)


@pytest.mark.parametrize("name", SPACES)
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_decisions_taken_one_by_one_lead_to_members_only(name, seed):
    space, rng = space_named(name), rng_of(seed)
    taken: dict = {}
    while (decision := space.next_decision(taken)) is not None:
        taken[decision.name] = decision.options[rng.integers(len(decision.options))]
    assert space.architecture(taken) in space


@pytest.mark.parametrize("name", SPACES)
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_what_is_sampled_or_mutated_under_a_budget_fits(name, seed):
    rng, macs = rng_of(seed), macs_of_samples(name)
    feasible = under(name, f"{macs[5]}..{macs[25]}")
    parent = feasible.sample(rng)
    child = feasible.mutate(parent, rng)
    assert child != parent
    for each in (parent, child):
        assert macs[5] <= each.cost(SMALL).macs <= macs[25]
        assert each in feasible


@functools.cache
def macs_of_samples(name: str) -> list[int]:
    """Of fifty, in order; counted once for all examples."""
    space, drawn = space_named(name), rng_of(3)
    return sorted(space.sample(drawn).cost(SMALL).macs for _ in range(50))


@functools.cache
def under(name: str, budget: str, task: Task = SMALL):
    """A space under a budget, prepared once for all examples."""
    return space_named(name).under(Budget.parse(budget), task)


@pytest.fixture(scope="module")
def said_elsewhere():
    """Of each space, a sample and its mutant in text form, from a process with another state of numpy's generator."""
    code = (
        "import json, numpy as np; from searchspaces import SPACES, space_named\n"
        "np.random.seed(5); said = {}\n"
        "for name in SPACES:\n"
        "    space, rng = space_named(name), np.random.default_rng(7)\n"
        "    first = space.sample(rng); said[name] = [first.to_json(), space.mutate(first, rng).to_json()]\n"
        "print(json.dumps(said))"
    )
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("name", SPACES)
def test_the_generator_is_the_only_randomness_in_another_process_too(said_elsewhere, name):
    space, rng = space_named(name), rng_of(7)
    first = space.sample(rng)
    assert said_elsewhere[name] == [first.to_json(), space.mutate(first, rng).to_json()]


@pytest.mark.parametrize("name", SPACES)
def test_a_space_that_was_used_travels_to_another_process(name):
    space = space_named(name)
    architecture = space.sample(rng_of(5))
    cost = architecture.cost(SMALL)
    copied = pickle.loads(pickle.dumps(architecture))
    assert copied == architecture
    assert copied.cost(SMALL) == cost


def test_an_automaton_is_walked_once_for_all_budgets_on_a_task_and_does_not_travel(monkeypatch):
    space, asked = SPACES["mbconv"](), []
    moves = Space.moves
    monkeypatch.setattr(Space, "moves", lambda *given: asked.append(given) or moves(*given))
    smallest = [space.under(Budget.parse(budget), SMALL).smallest for budget in ("40M", "30M")]
    once = len(asked)
    assert smallest[0] == smallest[1]
    assert once > 0
    assert pickle.loads(pickle.dumps(space)).under(Budget.parse("40M"), SMALL).smallest == smallest[0]
    assert len(asked) == 2 * once


@pytest.mark.parametrize("name", SPACES)
def test_references_are_members_and_classics(name):
    from searchspaces import CLASSICS

    space = space_named(name)
    for reference, architecture in space.references.items():
        assert architecture in space
        assert reference in CLASSICS


def test_torch_is_imported_where_the_docstring_of_the_package_says():
    files = Path(searchspaces.__file__).parent.rglob("*.py")
    found = {each.stem for each in files if re.search(r"^(import|from) torch\b", each.read_text(), re.MULTILINE)}
    said, _, _ = str(searchspaces.__doc__).partition(" import torch;")
    assert found == set(re.findall(r"`(\w+)`", said.splitlines()[-1]))


def test_importing_sampling_and_costing_needs_no_torch():
    code = (
        "import sys, numpy as np; import searchspaces as s\n"
        "f = s.space_named('mbconv').under(s.Budget.parse('400M'), s.Task())\n"
        "f.sample(np.random.default_rng(0)).cost(s.Task()); f.counted()\n"
        "assert not {'torch', 'ray', 'optuna', 'pandas', 'plotly'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# A space small enough to enumerate, with all there is: shared, per-stage and per-block choices, open cells, depth 0.


def plain(c_in: int, width: int, stride: int, *, kernel: int = 3, act: str = "relu") -> Node:
    return Chain(Conv(width, kernel, stride), Norm(), Act(act))


def head(c_in: int, width: int, stride: int, *, classes: int) -> Node:
    return Chain(GlobalPool(), Flatten(), Linear(classes))


def tiny() -> Space:
    return Space(
        "tiny",
        act=choice("relu", "silu"),
        stem=Stage(plain, width=8, stride=2),
        stages=[
            Stage(choice(plain, mbconv), width=choice(8, 16), depth=choice(1, 2), stride=2, kernel=choice(3, 5),
                  expansion=choice(2, 3), act="relu"),
            Stage(mbconv, width=16, depth=choice(0, 1, 2), kernel=per_block(3, 5, 7), se=per_block(0, 0.25)),
            Stage(per_block(plain, mbconv), width=choice(16, 24), depth=choice(1, 2), expansion=per_block(2, 4)),
        ],
        head=Stage(head, width=1),
    )  # fmt: skip


TINY = tiny()


@pytest.fixture(scope="module")
def members():
    """All architectures of the tiny space, with their costs."""
    return {member: member.cost(SMALL) for member in TINY.enumerate()}


def test_the_size_is_the_number_of_different_networks(members):
    # shared 2; stage 1: 2 widths x 2 depths x (plain: 2 kernels + mbconv: 2 x 2) = 24;
    # stage 2: 1 + 6 + 36 = 43; stage 3: 2 widths x (3 + 9) = 24: a block is plain, or mbconv with 2 expansions
    assert TINY.size == 2 * 24 * 43 * 24 == len(members) == sum(1 for _ in TINY.enumerate())
    some = list(members)[::29]
    assert len({each.network(SMALL) for each in some}) == len(some)


def deviation(members: list, draw, cells: int, draws: int) -> float:
    """Chi-square of draws over cells of equally many members, in standard deviations from its mean.

    Where draws are uniform, the mean is cells - 1 and the standard deviation sqrt(2 (cells - 1)).
    """
    cell = {member: index * cells // len(members) for index, member in enumerate(members)}
    counts = np.bincount([cell[draw()] for _ in range(draws)], minlength=cells)
    expected = draws * np.bincount(list(cell.values())) / len(members)
    return float((((counts - expected) ** 2 / expected).sum() - (cells - 1)) / math.sqrt(2 * (cells - 1)))


def test_sampling_is_uniform(members):
    # 20 draws in each cell. Uniform draws are beyond 5 standard deviations once in 690,000 seeds (chi-square, 999
    # degrees of freedom). `benchmarks.proofs` makes 100,000 draws, here and below.
    rng = rng_of(0)
    assert abs(deviation(list(members), lambda: TINY.sample(rng), 1000, 20_000)) < 5


BUDGETS = ["200K", "300K", "350K", "400K", "600K", "300K..400K", "500K..520K", "60%", "params=15K", "params=10K..12K"]


@pytest.mark.parametrize("text", BUDGETS)
def test_counts_are_those_of_brute_force(members, text):
    feasible = TINY.under(Budget.parse(text), SMALL)
    brute = sum(map(feasible.budget.admits, members.values()))
    assert brute > 0
    assert (feasible.count.low, feasible.count.high) == (brute, brute)
    for bins in (64, 1000, TINY.size - 1):  # fewer than architectures, which are counted one by one otherwise
        count = feasible.counted(bins)
        assert count.low <= brute <= count.high
    assert count.high - count.low <= 0.001 * brute


@pytest.mark.parametrize(
    "text",
    ["macs=400K,params=12K", "macs=300K..400K,params=5K..12K", "macs=60%,activations=70%", "peak_activation_bytes=60%"],
)
def test_a_small_space_is_counted_exactly_under_any_bounds(members, text):
    feasible = TINY.under(Budget.parse(text), SMALL)
    brute = sum(map(feasible.budget.admits, members.values()))
    assert 0 < brute < TINY.size
    assert (feasible.count.low, feasible.count.high) == (brute, brute)
    rough = feasible.counted(1000)
    assert rough.low == 0
    assert rough.high >= brute


def test_counts_of_spaces_beyond_64_bits_are_exact():
    # 60 blocks of 8 to 8 channels on 8 x 8 pixels: 4096 k**2 MACs each, with k of 1, 3, 5, 7; the head has 8 * 512.
    stages = [Stage(plain, width=8, depth=5, kernel=per_block(1, 3, 5, 7)) for _ in range(12)]
    space, task = Space("large", stages=stages, head=Stage(head, width=1)), Task(8, 8, 512)
    assert space.size == 4**60
    ways = {1: 1}  # in units of 4096 MACs, the head's among them
    for _ in range(60):
        more: dict = {}
        for units, count in ways.items():
            for kernel in (1, 3, 5, 7):
                more[units + kernel**2] = more.get(units + kernel**2, 0) + count
        ways = more
    for units in (61, 100, 1000, 1261, 2000, 2941):
        count = space.under(Budget.parse(str(4096 * units)), task).count
        assert count.low == count.high == sum(n for u, n in ways.items() if u <= units)


BOUNDED = ["300K..400K", "macs=400K,params=12K"]
"""A band, and two bounds at once: what sampling does by counting, and what by rejection."""


@pytest.mark.parametrize("text", BOUNDED)
def test_sampling_under_a_budget_is_uniform(members, text):
    # 50 draws in each cell; once in 160,000 seeds (199 degrees of freedom).
    feasible, rng = TINY.under(Budget.parse(text), SMALL), rng_of(0)
    fits = [member for member, cost in members.items() if feasible.budget.admits(cost)]
    assert abs(deviation(fits, lambda: feasible.sample(rng), 200, 10_000)) < 5


def test_at_most_one_draw_in_twenty_is_rejected():
    feasible = under("mbconv", "360M..400M", Task())
    rng = rng_of(0)
    hits = sum(feasible.budget.admits(feasible.contents.draw(rng).cost(Task())) for _ in range(1000))
    assert hits >= 950


@pytest.mark.parametrize("text", ["250K", "300K..320K", "macs=350K,params=9K", "macs=290K..330K,params=5K..9K"])
def test_open_options_are_those_that_some_member_within_the_budget_takes(members, text):
    feasible = TINY.under(Budget.parse(text), SMALL)
    fits = [m.choices for m, cost in members.items() if feasible.budget.admits(cost)]
    assert fits
    rng = rng_of(0)
    for _ in range(6):
        taken: dict = {}
        alive = fits
        while (decision := feasible.next_decision(taken)) is not None:
            assert set(decision.options) == {choices[decision.name] for choices in alive if decision.name in choices}
            taken[decision.name] = decision.options[rng.integers(len(decision.options))]
            alive = [choices for choices in alive if choices.get(decision.name) == taken[decision.name]]
        assert feasible.architecture(taken) in feasible


def test_a_budget_that_nothing_meets_is_refused_with_the_smallest_cost(members):
    smallest = min(cost.macs for cost in members.values())
    with pytest.raises(UserError, match=f"{smallest:,}"):
        TINY.under(Budget.parse(str(smallest - 1)), SMALL)
    assert TINY.under(Budget.parse(str(smallest)), SMALL).count.low >= 1


def test_a_band_between_two_costs_is_given_up_and_not_searched_for_ever(members):
    macs = sorted({cost.macs for cost in members.values()})
    gap = next((a, b) for a, b in itertools.pairwise(macs) if b - a > 2)
    with pytest.raises(UserError, match="fits"):
        TINY.under(Budget.parse(f"{gap[0] + 1}..{gap[1] - 1}"), SMALL).sample(rng_of(0))


@pytest.mark.parametrize("size", [224, 64, 32, 28, 8])
def test_small_images_keep_a_last_feature_map_of_four_pixels(size):
    space = space_named("mbconv")
    network = space.sample(rng_of(0)).network(Task(size, 3, 10))
    shape = (3, size, size)
    for stage in network.children()[:-1]:
        shape = stage.shape(shape)
    assert shape[1] >= 4


# The peak of memory, told a second way: operations in the order they run, and which values each still needs.


def operations(node: Node, given, value: int, found: list) -> int:
    """Append (inputs, size, extra, may work in place) for each operation; return the value that holds the result."""

    def emit(inputs, size, extra=0, in_place=False):
        found.append((inputs, size, extra, in_place))
        return len(found)

    if isinstance(node, Chain):
        for child, shape in node.steps(given):
            value = operations(child, shape, value, found)
        return value
    if isinstance(node, (Identity, Flatten)):
        return value
    if isinstance(node, (Sum, Concat)):
        ends = [operations(branch, given, value, found) for branch in node.branches]
        return emit(ends, math.prod(node.shape(given)), in_place=isinstance(node, Sum))
    if isinstance(node, Graph):
        values, joined = [value] if node.inputs == 1 else list(value), node.shapes(given)[1]
        for step, shape in zip(node.steps, joined, strict=True):
            inputs = [values[index] for index in step.inputs]
            if step.join == "apart" and len(inputs) > 1:
                inputs = [tuple(inputs)]
            elif len(inputs) > 1:
                inputs = [emit(inputs, math.prod(shape), in_place=step.join != "concat")]
            values.append(operations(step.node, shape, inputs[0], found))
        return values[-1]
    if isinstance(node, SpatialTransformer):
        hidden = operations(node.localisation, given, value, found)
        grid = emit([hidden], 2 * math.prod(given[1:]))
        return emit([value, grid], math.prod(given))
    if isinstance(node, Pool) and node.is_in_two_steps(given):
        between = emit([value], given[0] * node.shape(given)[1] * given[2])
        return emit([between], math.prod(node.shape(given)))
    extra = given[0] + node.reduced if isinstance(node, SqueezeExcite) else 0
    return emit([value], math.prod(node.shape(given)), extra, node.in_place or isinstance(node, SqueezeExcite))


def peak_bytes(node: Node, given) -> int:
    found: list = []
    result = operations(node, given, 0, found)
    sizes = [math.prod(given), *(size for _, size, _, _ in found)]
    last = {value: index for index, (inputs, *_) in enumerate(found) for value in inputs} | {result: len(found)}
    alive, peak = {0}, sizes[0]
    for index, (inputs, size, extra, in_place) in enumerate(found):
        dying = {value for value in inputs if last[value] == index}
        held = sum(sizes[value] for value in alive)
        reused = in_place and any(sizes[value] == size for value in dying)
        peak = max(peak, held + max(extra, 0 if reused else size))
        alive = (alive - dying) | {index + 1}
    return 4 * peak


@pytest.mark.parametrize("name", SPACES)
def test_the_peak_of_memory_is_that_of_the_operations_one_by_one(name):
    rng = rng_of(4)
    for _ in range(5):
        architecture = space_named(name).sample(rng)
        assert architecture.cost(SMALL).peak_activation_bytes == peak_bytes(architecture.network(SMALL), SMALL.shape)


def test_the_peak_of_memory_of_odd_trees():
    graph = Graph(
        (
            GraphStep(Conv(4), (0,)),
            GraphStep(Act(), (0,)),
            GraphStep(Norm(), (1, 2)),
            GraphStep(Conv(8), (3, 1), "concat"),
        )
    )
    for node in (
        Sum(Identity(), Chain(Act(), Conv(4))),
        Concat(Identity(), Conv(3), Chain(Pool("max", 3, 1), Conv(2))),
        Sum(Conv(4), Conv(4), Identity()),
        Sum(Identity(), Chain(Conv(16), Act(), SqueezeExcite(2), Conv(4))),
        Chain(Conv(4), Concat(Conv(1), Conv(9), Conv(30))),
        graph,
    ):
        assert node.cost((4, 6, 6)).peak_activation_bytes == peak_bytes(node, (4, 6, 6)), node


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("400Q", "400Q"), ("-5M", "-5M"), ("0", "above 0"), ("flops=3M", "unknown cost 'flops'"), ("2..1", "lower"),
        ("101%", "100%"), ("macs=1M,macs=2M", "twice"), ("1M..50%", "1M..50%"), ("", "not a number"),
        ("400M,", "empty entry in '400M,'"), (",,", "empty entry"),
    ],
)  # fmt: skip
def test_a_budget_that_cannot_be_read_is_refused_in_one_line(text, said):
    with pytest.raises(UserError, match=said) as refused:
        Budget.parse(text)
    assert "\n" not in str(refused.value)


@given(lower=st.integers(1, 10**12), more=st.integers(0, 10**12))
def test_a_budget_reads_back(lower, more):
    budget = Budget.parse(f"{lower}..{lower + more},params={lower}")
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"space": "mbcnov", "choices": {}}', "did you mean 'mbconv'"),
        ('{"space": "mbconv", "choices": {"stage2.kernal": 3}}', "did you mean 'stage2.kernel'"),
        ('{"space": "mbconv", "choices": {}}', "no choice for act"),
        ('{"space": "mbconv", "choices": {"act": "relu7"}}', "must be relu.*, got 'relu7'"),
        ("[]", "not an architecture"), ("{", "not an architecture"), ('{"space": "x.py:y", "choices": {}}', "unknown"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_architecture_is_refused(text, said):
    with pytest.raises(UserError, match=said):
        architecture_from_json(text)


def test_a_declaration_that_cannot_be_is_refused_when_it_is_made():
    for wrong, said in [
        (lambda: Stage(mbconv, width=8, kernal=3), "did you mean 'kernel'"),
        (lambda: Stage(mbconv, width=8, depth=choice(0, 1), stride=2), "depth 0"),
        (lambda: Stage(mbconv, width=choice(8, 8)), "distinct"),
        (lambda: Stage(mbconv, width=0), "width"),
        (lambda: Space("s", stages=[Stage(mbconv, width=8)], dilation=2), "no cell takes 'dilation'"),
        (lambda: Space("s", stages=[Stage(mbconv, width=8, name="a"), Stage(mbconv, width=8, name="a")]), "same name"),
        (lambda: Stage(per_block(plain, mbconv), width=8, expansion=choice(2, 3)), "per_block"),
    ]:
        with pytest.raises(UserError, match=said):
            wrong()


def test_json_forms_are_plain():
    read = json.loads(space_named("mbconv").references["efficientnet_b0"].to_json())
    assert read["space"] == "mbconv"
    assert read["choices"]["stage3.kernel"] == 5


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (lambda: choice((1, 3), (3, 1)), r"an option must be a number, .* got \(1, 3\)"),
        (lambda: choice(*np.arange(3, 8, 2)), "an option must be a number"),
        (lambda: choice([1], [2]), "an option must be a number"),
        (lambda: choice(float("nan")), "got nan"),
        (lambda: Stage(mbconv, width=8, stride=choice(1, 2)), "stride must be a whole number of at least 1"),
        (lambda: Stage(mbconv, width=8, stride=0), "stride must be a whole number of at least 1"),
        (lambda: Stage(mbconv, width=8, name="my.stage"), "must not contain '.'"),
        (lambda: Stage(functools.partial(mbconv, act="relu"), width=8), "a cell must be a function with a name"),
        (lambda: Stage(mbconv, width=8, act=choice(Norm, Act)), "act cannot be a choice of functions such as Norm"),
        (lambda: Stage(mbconv, width=8, act=per_block(Norm, Act)), "act cannot be a choice of functions such as Norm"),
        (lambda: Space("s", stages=[Stage(mbconv, width=8)], act=choice(Norm)), "space s: act cannot be a choice of"),
        (lambda: Stage(conv_head, width=8, classes=7), "a stage of conv_head: classes are those of the task .* got 7"),
        (lambda: Space("s", stages=[Stage(conv_head, width=8)], classes=7), "space s: classes are those of the task"),
        (lambda: Stage(mbconv, width=8, kernel=[3, 5]), r"kernel cannot be \[3, 5\].*use \(3, 5\)"),
        (lambda: Space("s", stages=[Stage(mbconv, width=8)], kernel=[3]), r"kernel cannot be \[3\]"),
        (lambda: Space("s", stages=[Stage(dense_layer, width=8)]), "stage1: the cell dense_layer needs 'growth_width'"),
    ],
)
def test_what_no_space_can_hold_is_refused_as_it_is_declared(declared: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        declared()


def returns_nothing(c_in: int, width: int, stride: int, *, kernel: int = 3) -> Any:
    Conv(width, kernel, stride)


def returns_a_module(c_in: int, width: int, stride: int, *, kernel: int = 3) -> Any:
    return object


def divides_by_zero(c_in: int, width: int, stride: int, *, kernel: int = 3) -> Node:
    return Conv(width // (c_in - c_in), kernel, stride)


def makes_no_channels(c_in: int, width: int, stride: int, *, kernel: int = 3) -> Node:
    return Conv(0, kernel, stride)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (returns_nothing, "must return a layer of searchspaces.layers, got None"),
        (returns_a_module, "must return a layer of searchspaces.layers, got <class 'object'>"),
        (divides_by_zero, "fails: ZeroDivisionError: "),
        (makes_no_channels, "fails: Conv: "),
    ],
)
def test_a_mistake_in_a_cell_is_one_line_with_the_stage_and_the_choices(cell: Any, said: str) -> None:
    space = Space("own", stages=[Stage(cell, width=8, kernel=choice(5, 7), stride=2)])
    network = space.architecture({"stage1.kernel": 5})
    where = f"stage1: the cell {cell.__name__}(c_in=3, width=8, stride=2, kernel=5) "
    for fails in (lambda: network.cost(SMALL), lambda: network.network(SMALL), lambda: space.walked(SMALL)):
        with pytest.raises(UserError, match=re.escape(where + said)) as caught:
            fails()
        assert "\n" not in str(caught.value)


def test_a_network_without_a_classifier_is_not_built() -> None:
    space = Space("bare", stages=[Stage(mbconv, width=8, kernel=choice(3, 5), stride=2)])
    with pytest.raises(UserError, match="space bare: its networks give 8 x 16 x 16 values, not a logit for each of 10"):
        next(space.enumerate()).build(SMALL)


def test_a_cost_does_not_depend_on_what_was_costed_before() -> None:
    def of(expansion: Any) -> int:
        space = Space("expanded", stem=Stage(conv_stem, width=10), stages=Stage(mbconv, width=16, expansion=expansion))
        return space.sample(rng_of(0)).cost(SMALL).macs

    whole, rounded = of(6), of(6.0)
    assert whole != rounded  # multiples of eight channels are for fractions
    assert (of(6.0), of(6)) == (rounded, whole)


BANDS = {"shufflenet": "2.2G..2.21G", "densenet": "17.4G..17.5G"}
"""Of chains, between two costs. That of DenseNet is refused in `benchmarks.proofs`."""


def refusal(name: str) -> str:
    """What is said of a space's band; nothing if it is not refused."""
    try:
        space_named(name).under(Budget.parse(BANDS[name]), Task())
    except UserError as refused:
        return str(refused)
    return ""


def test_a_band_between_two_costs_of_a_chain_is_refused() -> None:
    assert re.search("none of the .* architectures of shufflenet fits", refusal("shufflenet"))


@pytest.mark.parametrize("many", [False, True], ids=["counted", "sampled"])
def test_a_budget_is_refused_where_nothing_meets_all_its_bounds(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if many:  # as in a space that is too large to be counted one by one
        monkeypatch.setattr(chain, "COUNT_BINS", 1)
        monkeypatch.setattr(chain.Chains, "tries", 300)  # one of 24 is missed with probability 3e-6
    stem, kernel = Stage(conv_stem, width=choice(8, 16), stride=2), choice(3, 5)
    space = Space("tiny", stem=stem, stages=Stage(mbconv, width=choice(16, 24), depth=choice(1, 2, 3), kernel=kernel))
    costs = [each.cost(SMALL) for each in space.enumerate()]
    macs, params, peaks = (
        sorted({each.whole(name) for each in costs}) for name in ("macs", "params", "peak_activation_bytes")
    )
    low, middle, high = macs[0], macs[len(macs) // 2], macs[-1]
    fits = {}
    for text in (
        *(f"{middle}..{high},params={most}" for most in params[::4]),
        *(f"{low + 1}..{macs[1] - 1},params={most}" for most in params[-1:]),
        *(f"{middle},peak_activation_bytes={peak}..{peak}" for peak in peaks),
        *(f"peak_activation_bytes={peak - 1}..{peak - 1}" for peak in peaks[1:]),
    ):
        budget = Budget.parse(text)
        fits[text] = any(map(budget.admits, costs))
        with contextlib.nullcontext() if fits[text] else pytest.raises(UserError, match=r"none of .* fits"):
            space.under(budget, SMALL)
    assert 1 < sum(fits.values()) < len(fits) - 1
