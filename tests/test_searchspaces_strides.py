"""Strides on small images: a classic keeps its own, a space has a rule, and what it is stays the same everywhere."""

from __future__ import annotations

import contextlib
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.documents import strides_document
from searchspaces import (
    CLASSICS,
    SPACES,
    Budget,
    Buildable,
    Scale,
    Scaled,
    Task,
    UserError,
    architecture_from_json,
    classic,
    load_space,
    network_from_json,
    space_named,
)
from searchspaces.layers import ShapeError
from searchspaces.strides import (
    PUBLISHED,
    SMALL_IMAGES,
    rule_of,
    stated,
    strides_left_out,
    strides_note,
    with_strides,
)

SIZES = (16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 331)


def task(size: int) -> Task:
    return Task(image_size=size, channels=3, classes=4)


def by_size(network: Buildable) -> list[int]:
    """MACs on growing images, without those that the network cannot take."""
    macs = []
    for size in SIZES:
        with contextlib.suppress(ShapeError):
            macs.append(network.cost(task(size)).macs)
    return macs


@pytest.mark.parametrize("name", CLASSICS)
def test_the_macs_of_a_classic_do_not_fall_when_the_image_grows(name: str) -> None:
    macs = by_size(classic(name))
    assert len(macs) >= 5
    assert macs == sorted(macs)


@pytest.mark.parametrize("name", SPACES)
def test_macs_do_not_fall_when_the_image_grows_under_published_strides(name: str) -> None:
    space, rng = space_named(f"{name}@published"), np.random.default_rng(0)
    for _ in range(5):
        architecture = space.sample(rng)
        macs = by_size(architecture)
        assert len(macs) >= 10
        assert macs == sorted(macs), architecture.words()


@pytest.mark.parametrize("name", SPACES)
def test_macs_fall_under_the_rule_for_small_images_only_where_a_stride_comes_back(name: str) -> None:
    space, rng = space_named(name), np.random.default_rng(0)
    architecture = space.sample(rng)
    assert architecture_from_json(architecture.to_json()) == architecture
    fell = 0
    for smaller, larger in itertools.pairwise(SIZES):
        if architecture.cost(task(larger)).macs < architecture.cost(task(smaller)).macs:
            fell += 1
            assert strides_document(architecture, task(smaller))["left_out"]
    assert fell or name == "resnet-cifar"


def test_a_classic_on_small_images_costs_what_its_published_strides_cost(nas_cli: Any) -> None:
    # 386M x (96 / 224)**2 is 71M
    for size, macs in ((64, 31_971_712), (96, 71_145_952), (112, 106_243_408), (224, 384_539_872)):
        document = nas_cli("cost", "efficientnet_b0", "--task", f"{size}x{size}x3:4", "--json").json()
        assert document["macs"] == macs
        assert document["strides"] == {"rule": PUBLISHED, "left_out": []}
        again = nas_cli("cost", json.dumps(document["architecture"]), "--task", f"{size}x{size}x3:4", "--json").json()
        assert again["macs"] == macs
    assert "strides                 as published" in nas_cli("cost", "resnet18", "--task", "64x64x3:4").out


def test_the_rule_stands_wherever_a_cost_is(nas_cli: Any, tmp_path: Path) -> None:
    text = space_named("mbconv").references["efficientnet_b0"].to_json()
    document = nas_cli("cost", text, "--task", "96x96x3:4", "--json").json()
    assert (document["macs"], document["strides"]) == (282_686_848, {"rule": SMALL_IMAGES, "left_out": ["stem"]})
    said = nas_cli("cost", text, "--task", "96x96x3:4").out
    assert "left out in stem, since images of this size are too small" in said
    assert "(small-images)" in said
    assert "as published" in nas_cli("space", "mbconv", "--task", "96x96x3:4", "--strides", "published").out
    document = nas_cli("space", "mbconv", "--task", "96x96x3:4", "--strides", "published", "--json").json()
    assert (document["space"], document["strides"], document["strides_left_out"]) == ("mbconv@published", PUBLISHED, [])
    assert nas_cli("space", "mbconv@published", "--task", "96x96x3:4", "--json").json() == document


def test_where_strides_make_no_difference_nothing_is_said() -> None:
    for name in ("mbconv", "mbconv@published"):
        space = space_named(name)
        assert strides_note(rule_of(space), strides_left_out(space, Task()), Task()) is None
    small, kept = (space_named(name) for name in ("mbconv", "mbconv@published"))
    assert strides_note(rule_of(small), strides_left_out(small, task(96)), task(96)) == (
        "strides left out in stem (small-images)"
    )
    assert strides_note(rule_of(kept), strides_left_out(kept, task(96)), task(96)) == "strides as published"


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_b3", "nasnetamobile", "pnasnet5mobile", "resnet18"])
def test_the_text_form_of_a_classic_keeps_its_strides_and_an_earlier_one_what_it_had(name: str) -> None:
    network = replace(classic(name), task=task(32))
    form = json.loads(network.to_json())
    assert form.pop("strides") == PUBLISHED
    assert network_from_json(network.to_json()).network(task(32)) == network.network()
    earlier = network_from_json(json.dumps(form))
    assert earlier.network(task(32)) != network.network()
    assert earlier.cost(task(32)).macs > 2 * network.cost().macs
    assert json.loads(earlier.to_json()) == form  # it stays what it is
    with pytest.raises(UserError, match="unknown rule for strides 'publshed'; did you mean 'published'"):
        network_from_json(json.dumps({**form, "strides": "publshed"}))


@pytest.mark.parametrize("name", SPACES)
def test_a_space_under_published_strides_has_the_same_architectures_under_another_name(name: str) -> None:
    plain, kept = space_named(name), space_named(f"{name}@published")
    assert kept != plain
    assert (rule_of(plain), rule_of(kept)) == (SMALL_IMAGES, PUBLISHED)
    assert kept == with_strides(plain, PUBLISHED)
    assert with_strides(kept, PUBLISHED) is kept
    assert kept.size == plain.size
    architecture = plain.sample(np.random.default_rng(1))
    twin = kept.sample(np.random.default_rng(1))
    assert twin.choices == architecture.choices
    assert architecture_from_json(twin.to_json()) == twin
    assert twin.network(Task(), Scale()) == architecture.network(Task(), Scale())
    scaled = Scaled(twin, Scale(width=0.5), task(48))
    assert network_from_json(scaled.to_json()) == scaled


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="unknown rule for strides 'publish'; did you mean 'published'"):
        stated("mbconv", "publish")
    for space in ("mbconv@published", space_named("mbconv@published")):
        with pytest.raises(UserError, match="keeps its published strides; leave out '@published' for small-images"):
            stated(space, SMALL_IMAGES)
    with pytest.raises(UserError, match="unknown space 'mbcnov@published'; did you mean"):
        load_space("mbcnov@published")


OWN = """
from estimators import Estimate
from searchspaces import Space, Stage, Task, choice, conv_head, conv_stem, mbconv

class Instant:
    def describe(self):
        return {"name": "instant"}
    def estimate(self, architecture, context):
        accuracy = min(architecture.cost(Task()).macs / 1e9, 1.0)
        return Estimate(accuracy, 0.01, (accuracy,))

estimator = Instant()
space = Space(
    "mine",
    stem=Stage(conv_stem, width=8, stride=2),
    stages=[Stage(mbconv, width=choice(8, 16, 24), depth=choice(1, 2), stride=2), Stage(mbconv, width=16, stride=2)],
    head=Stage(conv_head, width=32),
    smallest_map=8,
)
"""


@pytest.mark.parametrize("given", ["mbconv", "own.py:space"])
def test_the_rule_is_the_same_from_search_to_export(nas_cli: Any, tmp_path: Path, given: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    own, run = f"{tmp_path / 'own.py'}:estimator", tmp_path / "runs" / "a"
    of_space = given.replace("own.py", str(tmp_path / "own.py"))
    words = ["--space", of_space, "--estimator", own, "--out", str(run.parent), "--name", "a", "--task", "32x32x3:4"]
    words += ["--budget", "100%", "--strategy", "random", "--strides", "published"]
    said = nas_cli("search", *words, "--trials", "2")
    assert said.code == 0
    assert "as published" in said.out
    name = json.loads((run / "study.json").read_text())["space"]["name"]
    assert name.endswith("@published")
    home = [] if given == "mbconv" else ["--space", of_space]
    resumed = nas_cli("resume", str(run), "--estimator", own, *home, "--trials", "3", "--json")
    assert resumed.json()["trials"]["complete"] == 3
    assert nas_cli("search", *words, "--trials", "4", "--json").json()["trials"]["complete"] == 4
    assert f"space was '{name}' when the study began" in nas_cli("search", *words[:-2], "--trials", "4").err
    best = nas_cli("cost", str(run / "best.json"), *home, "--json").json()
    architecture = architecture_from_json((run / "best.json").read_text(), load_space(of_space))
    assert best["macs"] == architecture.cost(Task.parse("32x32x3:4")).macs
    assert best["strides"] == {"rule": PUBLISHED, "left_out": []}
    plain = load_space(of_space).architecture(architecture.choices)
    assert best["macs"] < plain.cost(Task.parse("32x32x3:4")).macs
    exported = nas_cli(
        "export", str(run / "best.json"), *home, "--to", "python", "--out", str(tmp_path / "e"), "--json"
    )
    assert exported.json()["macs"] == best["macs"]


def test_a_family_has_the_rule_of_its_base(nas_cli: Any, tmp_path: Path) -> None:
    words = [
        "scale",
        "efficientnet_b0",
        "--task",
        "96x96x3:10",
        "--coefficients",
        "1.2,1.1,1.15",
        "--phi",
        "1",
        "--json",
    ]
    for rule, macs, space in (
        ([], 71_153_632, "mbconv@published"),
        (["--strides", "published"], 71_153_632, "mbconv@published"),
        (["--strides", "small-images"], 282_694_528, "mbconv"),
    ):
        family = nas_cli(*words, *rule, "--out", str(tmp_path / "".join(rule))).json()["family"]
        assert family["base"]["space"] == space
        assert family["members"][0]["macs"] == macs
        larger = json.loads(Path(family["members"][1]["file"]).read_text())
        assert (
            network_from_json(json.dumps(larger)).cost(Task.parse(larger["task"])).macs == family["members"][1]["macs"]
        )


@pytest.mark.parametrize("name", ["mixed@published", "inception@published"])
def test_a_space_with_blocks_that_do_not_fit_small_images_says_what_to_do(name: str) -> None:
    said = f"images of 28 pixels are too small for it: use larger ones, or {name.partition('@')[0]}, which leaves out"
    with pytest.raises(UserError, match=said):
        space_named(name).under(Budget.parse("1G"), Task(28, 1, 10))
