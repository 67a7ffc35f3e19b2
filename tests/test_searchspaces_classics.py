"""Law: published networks have their published parameters, MACs and activations."""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from searchspaces import CLASSICS, Task, classic
from searchspaces.classics.accuracies import published_accuracies, published_on

_SCRIPT = Path(__file__).parent.parent / "benchmarks" / "classics.py"
_SPEC = importlib.util.spec_from_file_location("golden_table", _SCRIPT)
assert _SPEC is not None
assert _SPEC.loader is not None
table = sys.modules["golden_table"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(table)

_ACCURACIES = _SCRIPT.with_name("published_accuracies.py")
_SPEC = importlib.util.spec_from_file_location("accuracies_table", _ACCURACIES)
assert _SPEC is not None
assert _SPEC.loader is not None
accuracies_table = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(accuracies_table)

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


# billions of FLOPs of Bello 2021, arXiv:2103.07579, appendix: two for each MAC
RESNET_RS = {"resnetrs50": (160, 4.6), "resnetrs101": (192, 12), "resnetrs152": (256, 31), "resnetrs200": (256, 40),
             "resnetrs270": (256, 54), "resnetrs350": (320, 107), "resnetrs420": (320, 128)}  # fmt: skip


@pytest.mark.parametrize("name", RESNET_RS)
def test_resnet_rs_has_the_size_and_the_compute_of_its_paper(name):
    size, flops = RESNET_RS[name]
    network = classic(name)
    assert network.task == Task(size)
    assert 2 * network.cost().macs / 1e9 == pytest.approx(flops, abs=0.05 if flops < 10 else 0.5)


DROPOUT = {
    # Szegedy 2015, arXiv:1409.4842, table 1; torchvision's GoogLeNet; Chollet 2017, arXiv:1610.02357, sec. 4.3
    "googlenet": 0.4, "googlenet_torchvision": 0.2, "xception": 0.5,
    # tensorflow/tpu, models/official/resnet/resnet_rs/configs
    "resnetrs50": 0.25, "resnetrs101": 0.25, "resnetrs350": 0.4,
    # google/automl, efficientnetv2/effnetv2_configs.py
    "efficientnetv2_b0": 0.2, "efficientnetv2_b1": 0.2, "efficientnetv2_b2": 0.3, "efficientnetv2_b3": 0.3,
    "efficientnetv2_s": 0.2, "efficientnetv2_m": 0.3, "efficientnetv2_l": 0.4, "efficientnetv2_xl": 0.4,
    # tensorflow/tpu, models/official/efficientnet/efficientnet_builder.py
    "efficientnet_b0": 0.2, "efficientnet_b2": 0.3, "efficientnet_b4": 0.4, "efficientnet_b7": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("name", DROPOUT)
def test_a_classic_has_the_dropout_of_its_authors(name):
    assert classic(name).dropout == DROPOUT[name]
    assert classic(name).under("small-images").dropout == DROPOUT[name]


@pytest.mark.parametrize("name", ["googlenet", "resnetrs50", "efficientnetv2_l"])
def test_a_member_of_other_dropout_is_still_a_member_and_is_scaled_from_its_own(name):
    from nas.scaling import _base

    network = classic(name)
    assert network.architecture is not None
    base = _base(network, network.task, None)
    assert (base.dropout, base.cost()) == (network.dropout, network.cost())


def test_small_examples_cost_what_their_papers_print():
    assert [macs for _, macs, _ in table.examples()] == [854_196_224, 271_351_808, 358_055_936, 2160, 672]


def test_the_reference_table_is_there():
    if not table.PUBLISHED.is_file():
        pytest.skip("the table of exact counts is not there: ../shared/reference/published-networks.csv")
    assert sum(len(rows) for rows in ROWS.values()) > 200


def test_published_accuracies_are_those_of_the_tables_that_they_come_from():
    folder = table.PUBLISHED.parent
    if not all((folder / file).is_file() for file in ("published-networks.csv", *table.TABLES.values())):
        pytest.skip("the tables of other collections are not there: ../shared/reference")
    found = {(name, *one) for name in CLASSICS for one in _numbers(name)}
    rows = list(accuracies_table.rows(folder))
    assert len(found) == len(rows) > 300
    assert found == {
        (name, size, float(top1), float(top5) if top5 else None, weights, source)
        for name, size, top1, top5, weights, source in rows
    }


def _numbers(name):
    for one in published_accuracies(name):
        top5 = None if one.top5 is None else round(100 * one.top5, 3)
        yield one.image_size, round(100 * one.top1, 3), top5, one.weights, one.source


@pytest.mark.parametrize("name", CLASSICS)
def test_a_published_accuracy_is_on_imagenet_and_top_5_is_above_top_1(name):
    several = published_accuracies(name)
    assert not several or (classic(name).task.classes, classic(name).task.channels) == (1000, 3)
    for one in several:
        assert 0.3 < one.top1 < (one.top5 or 0.9999) < 1
    on = published_on(name, classic(name).task)
    assert bool(on) == bool(several)  # each has one at the network's own size
    assert [one.top1 for one in on] == sorted(one.top1 for one in on)


def test_an_accuracy_belongs_to_the_images_that_it_was_measured_on():
    assert {one.image_size for one in published_on("efficientnet_b1", Task(240))} == {240}
    assert published_on("efficientnet_b1", Task(224)) != published_on("efficientnet_b1", Task(240))
    assert published_on("resnet50", Task(224, 3, 10)) == ()
    assert published_on("resnet50", Task(32)) == ()


def test_weights_that_saw_more_than_imagenet_are_left_out():
    # torchvision's regnet_y_16gf reaches 86.0 % with 3.6 billion images of Instagram (SWAG), and 82.9 % without
    assert max(one.top1 for one in published_accuracies("regnety_160")) < 0.84
