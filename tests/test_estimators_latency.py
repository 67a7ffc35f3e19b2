"""Laws of measuring: what counts, when it ends, and that a table goes on where it stopped. Nothing here depends on how
fast the machine is."""

import math
from dataclasses import replace

import numpy as np
import pytest

from estimators import latency, latency_table
from estimators.latency import How, StoppingRule, measured, network_runner
from estimators.latency_table import agreement, begun, check_measurable, make_table
from searchspaces import Budget, Space, Stage, Task, UserError, choice, classic, conv_head, conv_stem, mbconv
from searchspaces.latency import Line
from searchspaces.layers import Chain, Conv, Flatten, GlobalPool, Linear, Shuffle

TASK = Task(8, 1, 4)
TINY = Space(
    "tiny",
    stem=Stage(conv_stem, width=8),
    stages=[Stage(mbconv, width=choice(8, 16), depth=choice(1, 2), kernel=choice(3, 5), expansion=choice(1, 2))],
    head=Stage(conv_head, width=16),
)
QUICK = StoppingRule(within=1.0, runs=1, turn_s=0, most_s=0.001)
TORCH = How("torch")


def clock(*times, disturbed=()):
    """A runner that takes these microseconds in turn, over and over; some of its runs are disturbed."""
    state = {"runs": 0}

    def run(runs):
        numbers = range(state["runs"], state["runs"] + runs)
        state["runs"] += runs
        return [(times[number % len(times)], number % len(times) not in disturbed) for number in numbers]

    return run


def test_a_median_is_that_of_the_runs_that_were_not_disturbed():
    [found] = measured(
        [clock(10.0, 11.0, 12.0, 5000.0, disturbed={3})], StoppingRule(0.2, runs=30, turn_s=0, most_s=10)
    )
    assert (found.median_us, found.low_us, found.high_us, found.stable) == (11.0, 10.0, 12.0, True)
    assert found.runs >= 30
    assert abs(found.disturbed - found.runs / 3) < 2


def test_where_every_run_is_disturbed_they_count_and_it_is_said():
    [found] = measured([clock(10.0, disturbed={0})], StoppingRule(0.2, runs=30, turn_s=0, most_s=0.01))
    assert (found.median_us, found.runs, found.stable) == (10.0, 0, False)
    assert found.disturbed > 0


def test_turns_go_on_until_every_median_is_known():
    steady, wild = clock(10.0), clock(*np.random.default_rng(0).uniform(5, 15, 997).tolist())
    rule = StoppingRule(within=0.02, runs=20, turn_s=0, most_s=60)
    one, other = measured([steady, wild], rule)
    assert one.stable
    assert other.stable
    assert one.runs == other.runs  # they took turns
    # of a uniform density 1/10 around 10, half the interval is 1.96 * sqrt(n) / 2 / n * 10: at most 0.2 from n = 2401
    assert 2000 < other.runs < 5000
    assert abs(other.median_us - 10) < 0.4


@pytest.mark.parametrize("runs", [20, 50, 100, 200])
def test_a_median_is_known_once_an_interval_that_covers_it_in_95_of_100_cases_is_narrow(runs):
    from scipy.stats import binom

    rule = StoppingRule(0.01, runs=1, turn_s=0, most_s=1)
    # not known where so many are fast that the interval begins among these and ends among the slow
    open_at = [n for n in range(runs + 1) if not latency._is_known([*np.where(np.arange(runs) < n, 1.0, 9.0)], rule)]
    covered = binom.cdf(open_at[-1], runs, 0.5) - binom.cdf(open_at[0] - 1, runs, 0.5)
    assert 0.95 <= covered < 0.99


def test_a_line_is_least_squares_and_never_negative():
    sums = np.array([100.0, 200.0, 300.0])
    assert latency_table._fitted(sums, 1.5 * sums + 20) == Line(pytest.approx(20), pytest.approx(1.5))
    through_origin = latency_table._fitted(sums, 1.5 * sums - 20)
    # the sum of x * y over the sum of x * x
    assert through_origin == Line(0.0, pytest.approx((100 * 130 + 200 * 280 + 300 * 430) / 140_000))
    with pytest.raises(UserError, match="nothing to add up"):
        latency_table._fitted(np.zeros(3), sums)


def test_agreement_tells_ranks_and_error():
    told = agreement(np.array([10.0, 20.0, 30.0, 40.0]), np.array([10.0, 30.0, 20.0, 40.0]))
    # one of six pairs is the wrong way round: (5 - 1) / 6; errors 0, 10 of 30, 10 of 20, 0
    assert told == {"spearman": 0.8, "kendall": 0.6667, "error_percent": 20.8}
    assert agreement(np.ones(3), np.array([1.0, 2.0, 3.0]))["kendall"] is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"runtime": "torhc"}, "did you mean 'torch'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"threads": 0}, "threads must be from 1"),
        ({"threads": 4097}, "threads must be from 1"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"runtime": "onnxruntime", "device": "cuda"}, "on cuda give --runtime torch"),
    ],
)
def test_what_cannot_be_measured_is_refused(given, words):
    with pytest.raises(UserError, match=words):
        How(**given)


def test_a_device_that_is_not_there_is_refused():
    import torch

    if torch.cuda.is_available():
        assert How(device="cuda").runtime == "torch"
    else:
        with pytest.raises(UserError, match="no device 'cuda' here"):
            How(device="cuda")


WHOLE = {
    "mobilenetv3_small_100": classic("mobilenetv3_small_100").network(Task(32, 3, 10)),
    "shuffled": Chain(Conv(8, 3), Shuffle(2), GlobalPool(), Flatten(), Linear(10)),  # for torch's newer exporter only
}


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
@pytest.mark.parametrize("name", WHOLE)
def test_whole_networks_run(runtime, name):
    run = network_runner(WHOLE[name], Task(32, 3, 10), How(runtime, batch=2))
    assert all(took > 0 and isinstance(undisturbed, bool) for took, undisturbed in run(2))


def made(table, **settings):
    return make_table(TINY, table, TORCH, networks=4, parts_rule=QUICK, networks_rule=QUICK, **settings)


def test_a_table_goes_on_where_it_stopped_and_measures_no_part_twice(monkeypatch):
    monkeypatch.setattr(latency_table, "GROUP", 4)
    kept, built = [], []
    runner = latency_table._part_runner

    def counted(node, given, how):
        built.append((node, given))
        return runner(node, given, how)

    monkeypatch.setattr(latency_table, "_part_runner", counted)

    def cut(table):
        kept.append(table)
        if len(kept) == 2:
            raise KeyboardInterrupt

    empty = begun(TINY, TASK, TORCH, None)
    with pytest.raises(KeyboardInterrupt):
        made(empty, keep=cut)
    assert len(kept[-1].parts) == 8
    whole = made(begun(TINY, TASK, TORCH, kept[-1]))
    assert len(built) == len(set(built)) == len(whole.parts)
    assert all(whole.parts[name] == took for name, took in kept[-1].parts.items())
    assert whole.check["fitted_on"] == whole.check["checked_on"] == 4
    assert len(whole.check["measured_us"]) == 8
    again = made(begun(TINY, TASK, TORCH, whole))
    assert again is whole  # there was nothing to do
    drawn = TINY.sample(np.random.default_rng(5))
    assert drawn.cost(whole.on(TASK)).latency_us > 0


def test_the_line_is_fitted_on_one_half_and_checked_on_the_other():
    table = made(begun(TINY, TASK, TORCH, None))
    half = table.check["fitted_on"]
    sums, whole = (np.array(table.check[key]) for key in ("sums_us", "measured_us"))
    line = latency_table._fitted(sums[:half], whole[:half])
    assert math.isclose(line.slope, table.line.slope)
    assert agreement(np.array([line(each) for each in sums[half:]]), whole[half:]) == table.check["table"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"space": "other"}, "started with space other, not tiny"),
        ({"task": Task(16, 1, 4)}, "started with task 16x16x1:4, not 8x8x1:4"),
        ({"how": {"threads": 2}}, "started with threads 2, not 1"),
        ({"how": {"versions": {"torch": "1.0"}}}, "started with versions torch 1.0, not torch"),
        ({"how": {"processor": "abacus"}}, "started with processor abacus"),
    ],
)
def test_a_table_of_something_else_is_not_gone_on_with(change, words):
    table = begun(TINY, TASK, TORCH, None)
    if "how" in change:
        change = {"how": {**table.how, **change["how"]}}
    with pytest.raises(UserError, match=words):
        begun(TINY, TASK, TORCH, replace(table, **change))


def test_too_few_networks_are_refused_before_anything_is_measured():
    with pytest.raises(UserError, match="too few for a latency table"):
        check_measurable(TINY, TASK, Budget.parse("macs=1K..30K"), 4)
    with pytest.raises(UserError, match="check must be at least 2"):
        check_measurable(TINY, TASK, None, 1)
