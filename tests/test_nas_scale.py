"""`nas scale`: the grid, the study that finds the factors, the family and its files, mistakes."""

from __future__ import annotations

import contextlib
import csv
import html
import io
import json
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nas
from estimators import load_data
from estimators.recipe import make_recipe
from nas.cli import main
from nas.training import TrainingJob, plan_document
from searchspaces import Factors, Scale, Scaled, ScalingSpace, Task, classic, load_space, space_named, space_of
from searchspaces.layers import Dropout, leaves
from studies.manifest import Manifest
from studies.scaling import PUBLISHED, alone, candidates, curves, family, told_apart

GOLDEN = Path(__file__).parent / "golden" / "mobile.csv"
SIZES = {1: 240, 2: 260, 3: 300, 4: 380, 5: 456, 6: 528, 7: 600}  # tensorflow/tpu, efficientnet_builder.py

# Depth is worth most, then resolution; seeds matter a little.
PREFERS_DEPTH = """
import time
from estimators import Estimate

class Estimator:
    def describe(self):
        return {"name": "prefers-depth"}

    def estimate(self, architecture, context):
        time.sleep(SECONDS)
        depth, width, resolution = (architecture.choices[name] for name in ("depth", "width", "resolution"))
        accuracy = 0.5 + 0.1 * (depth - 1) + 0.02 * (resolution - 1) + context.seed % 7 / 10_000
        context.report(1, accuracy)
        return Estimate(accuracy, 0.0, (accuracy,))

estimator = Estimator()
"""

BASE = space_named("resnet-cifar").references["resnet32"]


def words_in(folder):
    (folder / "prefers.py").write_text(PREFERS_DEPTH.replace("SECONDS", "0"))
    (folder / "base.json").write_text(Scaled(BASE, Scale(), Task(32, 3, 10)).to_json())
    estimator = ["--estimator", f"{folder / 'prefers.py'}:estimator", "--phi", "1..3"]
    return ["scale", str(folder / "base.json"), *estimator, "--out", str(folder / "runs")]


@pytest.fixture
def words(tmp_path):
    """A scaling study of ResNet-32 that trains nothing."""
    return words_in(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The study of `words` in one go: its document and its folder, in which nobody writes."""
    folder, out = tmp_path_factory.mktemp("whole"), io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
        main([*words_in(folder), "--json", "--quiet"])
    assert not ended.value.code
    return json.loads(out.getvalue()), folder / "runs" / "scale-base"


def test_published_coefficients_give_efficientnet_b0_to_b7_exactly(nas_cli, tmp_path):
    said = nas_cli("scale", "efficientnet_b0", "--coefficients", "published", "--out", str(tmp_path), "--json")
    members = said.json()["family"]["members"]
    published = {
        (row["name"], int(row["image_size"])): tuple(int(row[cost]) for cost in ("params", "macs", "activations"))
        for row in csv.DictReader(GOLDEN.read_text().splitlines())
        if row["name"].startswith("efficientnet_b")
    }
    for phi, one in enumerate(members):
        size = SIZES.get(phi, 224)
        assert one["image_size"] == size
        assert (one["params"], one["macs"], one["activations"]) == published[f"efficientnet_b{phi}", size]
    assert len(members) == 8
    for phi in (0, 3, 7):
        file = tmp_path / "scale-efficientnet_b0-published" / "family" / f"phi{phi}.json"
        assert nas_cli("cost", str(file), "--json").json()["macs"] == members[phi]["macs"]


def test_the_screen_tells_the_formula_from_the_truth(nas_cli, tmp_path):
    said = nas_cli("scale", "efficientnet_b0", "--coefficients", "published", "--out", str(tmp_path))
    flat = " ".join(said.out.split())
    for text in (
        "109 have α·β²·γ² within 5% of 2", "45 have 2 times the base's MACs within 5%: 20 different networks",
        "(1.2, 1.1, 1.15) is 1.92 by the formula, number 6", "its true MACs ratio is 2.57 for this base",
        "66.3M",
        "For comparison, the powers of (1.2, 1.1, 1.15)",
    ):  # fmt: skip
        assert text in flat
    grid = nas_cli("scale", "efficientnet_b0", "--coefficients", "published", "--out", str(tmp_path), "--json").json()
    listed = [Factors(**one) for one in grid["grid"]["formula"]]
    assert listed.index(PUBLISHED) == 5
    assert all(abs(each.formula / 2 - 1) <= 0.05 for each in listed)


def test_the_members_of_a_family_have_the_dropout_of_efficientnets(nas_cli, tmp_path):
    # tensorflow/tpu, efficientnet_builder.py
    published = [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]
    trees = [classic(f"efficientnet_b{n}").network(Task(64)) for n in range(8)]
    assert [
        leaf.rate for tree in trees for leaf, _ in leaves(tree, Task(64).shape) if isinstance(leaf, Dropout)
    ] == published
    for coefficients in ("published", "1.2,1.1,1.15"):
        said = nas_cli(
            "scale", "efficientnet_b0", "--coefficients", coefficients, "--out", str(tmp_path), "--json"
        ).json()["family"]["members"]  # fmt: skip
        assert [one["dropout"] for one in said] == published
        assert json.loads(Path(said[4]["file"]).read_text())["scale"]["dropout"] == 0.4
    screen = nas_cli("scale", "efficientnet_b0", "--coefficients", "1.2,1.1,1.15", "--out", str(tmp_path)).out
    assert "0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5 before the classifier" in " ".join(screen.split())


def test_powers_make_the_family_that_was_asked_for_and_no_other_is_left(nas_cli, tmp_path):
    said = nas_cli(
        "scale", "efficientnet_b0", "--coefficients", "1.2,1.1,1.15", "--phi", "0.5,1,2", "--out", str(tmp_path),
        "--json", "--name", "b",
    ).json()["family"]  # fmt: skip
    assert [one["phi"] for one in said["members"]] == [0, 0.5, 1, 2]
    assert said["members"][3]["depth"] == pytest.approx(1.44)
    assert said["members"][3]["image_size"] == 296  # 224 * 1.15**2 = 296.24
    assert (tmp_path / "b" / "family" / "phi0.5.json").exists()
    fewer = ["scale", "efficientnet_b0", "--coefficients", "1.2,1.1,1.15", "--phi", "1", "--out", str(tmp_path)]
    assert nas_cli(*fewer, "--name", "b").code == 0
    assert {each.name for each in (tmp_path / "b" / "family").iterdir()} == {"phi0.json", "phi1.json"}
    base = Scaled(classic("efficientnet_b0").architecture, Scale(), Task())
    assert [each.cost.macs for each in family(base, PUBLISHED, (0.5, 1, 2))] == [one["macs"] for one in said["members"]]


def test_a_family_by_given_factors_is_trained_next_on_the_images_that_were_given(nas_cli, tmp_path):
    np.savez(tmp_path / "mine.npz", train_images=np.zeros((6, 32, 32, 3), np.uint8), train_labels=[0, 1] * 3)
    command = ["scale", "resnet18", "--coefficients", "1.2,1.1,1.15", "--phi", "1", "--out", str(tmp_path)]
    assert "phi1.json --data DATA" in " ".join(nas_cli(*command, "--name", "none").out.split())
    given = [*command, "--name", "mine", "--data", str(tmp_path / "mine.npz")]
    assert nas_cli(*given, "--json").json()["family"]["data"] == str(tmp_path / "mine.npz")
    assert f"phi1.json --data {tmp_path / 'mine.npz'}" in " ".join(nas_cli(*given).out.split())


def test_a_study_finds_the_factors_and_every_candidate_is_within_the_band(whole):
    document, _ = whole
    grid, found = document["grid"], document["family"]
    offered = grid["candidates"]
    assert len(offered) >= 9
    assert all(0.95 <= one["ratio"] / 2 <= 1.05 for one in offered)
    assert document["study"]["confirmations"] == 9
    assert sum(document["study"]["trials"].values()) == len(offered) + 9
    trained = {(one["depth"], one["width"], one["resolution"]) for one in found["trained"]}
    assert trained == {(one["depth"], one["width"], one["resolution"]) for one in offered}
    deepest = max(offered, key=lambda one: (one["depth"], one["resolution"]))
    assert found["coefficients"]["depth"] == deepest["depth"]
    first = found["members"][1]
    assert first["trainings"] == 4
    assert first["accuracy"] == pytest.approx(0.5 + 0.1 * (deepest["depth"] - 1), abs=0.02)
    assert first["macs"] == next(one["macs"] for one in offered if one["depth"] == deepest["depth"])


def test_the_files_of_a_family_are_networks_and_a_page_that_needs_no_network(nas_cli, whole):
    found, run = whole[0]["family"], whole[1]
    assert json.loads((run / "family.json").read_text()) == found
    for one in found["members"]:
        said = nas_cli("cost", one["file"], "--json").json()
        assert (said["macs"], said["params"], said["task"]) == (one["macs"], one["params"], one["task"])
    assert nas_cli("cost", str(run), "--json").json()["macs"] == found["members"][1]["macs"]
    page = (run / "family.html").read_text()
    assert "scatterternary" in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)


def test_what_is_no_accuracy_is_shown_and_written_as_what_it_is(nas_cli, words, tmp_path):
    described = '"prefers-depth", "estimates": "training likelihood, not accuracy"'
    (tmp_path / "prefers.py").write_text(PREFERS_DEPTH.replace("SECONDS", "0").replace('"prefers-depth"', described))
    screen = nas_cli(*words, "--quiet").out
    run = tmp_path / "runs" / "scale-base"
    best, first = json.loads((run / "best.json").read_text()), json.loads((run / "family" / "phi1.json").read_text())
    shown = f"{first['likelihood']:.4f} ± {first['standard_error']:.4f}"
    assert screen.count(shown) == 2  # among the candidates, and in the family
    assert "by training likelihood" in screen
    assert first["standard_error"] == best["standard_error"]
    assert "accuracy" not in first
    page = (run / "family.html").read_text()
    page = page[page.index("<main>") : page.index("<footer>")].replace("\\u00b1", "±")
    assert page.count(shown) == 3  # of the candidate and of the member under the pointer, and in the table
    assert re.search(r"training likelihood 0\.\d{4} <i></i> 0\.\d{4}<", page)
    assert ">training likelihood</th>" in page
    assert not re.search(r"\d%", page)


def test_the_same_command_goes_on_and_ends_as_an_unbroken_one(nas_cli, words, tmp_path, whole):
    cut = nas_cli(*words, "--json", "--quiet", "--name", "cut", "--trials", "7", "--confirm", "3").err
    assert "confirm 3 takes 9 trials" in cut
    (tmp_path / "prefers.py").write_text(PREFERS_DEPTH.replace("SECONDS", "0.1"))
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from nas.cli import main; main()"
    command = [sys.executable, "-c", code, *words, "--name", "cut"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in child.stdout:
        if re.match(r"4/\d+", line):
            break
    child.send_signal(signal.SIGKILL)
    child.communicate()
    (tmp_path / "prefers.py").write_text(PREFERS_DEPTH.replace("SECONDS", "0"))
    again = nas_cli(*words, "--json", "--quiet", "--name", "cut").json()
    for key in ("trained", "coefficients"):
        assert again["family"][key] == whole[0]["family"][key]
    assert again["study"]["trials"] == whole[0]["study"]["trials"]
    changed = nas_cli(*words, "--name", "cut", "--step", "0.1")
    assert (changed.code, "the content of the space was" in changed.err) == (2, True)


def test_a_scaling_study_is_opened_from_its_folder_alone(nas_cli, whole):
    from studies import Study

    study = Study.open(whole[1])
    assert isinstance(study.space, ScalingSpace)
    assert study.space.base == Scaled(BASE, Scale(), Task(32, 3, 10))
    study.close()
    assert nas_cli("show", str(whole[1]), "--json").json()["space"] == "scaling"


def test_images_that_a_network_enlarges_are_said_the_same_everywhere(nas_cli, tmp_path):
    task = Task(32, 3, 10)
    network = ScalingSpace(Scaled(BASE, Scale(), task)).member(Factors(resolution=1.2))
    (tmp_path / "best.json").write_text(Scaled(network, Scale(), task).to_json())
    for more in ((), ("--task", str(task)), ("--image-size", "32")):
        found = nas_cli("cost", str(tmp_path / "best.json"), *more, "--json").json()
        assert (found["task"], found["enlarged"]) == ("32x32x3:10", "38x38x3:10")
        assert found["macs"] == network.cost(task).macs
    larger = nas_cli("cost", str(tmp_path / "best.json"), "--task", "64x64x3:10", "--json").json()
    assert (larger["enlarged"], larger["macs"]) == ("76x76x3:10", network.cost(Task(64, 3, 10)).macs)
    for command in ("cost", "show"):
        assert "32x32x3:10, enlarged to 38x38x3:10" in nas_cli(command, str(tmp_path / "best.json")).out
    data = load_data("digits")
    job = TrainingJob(network, data, None, "best")
    planned = plan_document(job, make_recipe("auto", 1000, 8, epochs=1), tmp_path, 0)
    assert (planned["task"], planned["enlarged"]) == ("8x8x1:10", "10x10x1:10")
    assert planned["macs"] == network.cost(data.task).macs
    same = plan_document(replace(job, network=BASE), make_recipe("auto", 1000, 8, epochs=1), tmp_path, 0)
    assert "enlarged" not in same


def test_any_other_strategy_finds_factors_too(nas_cli, words):
    few = ["--trials", "12", "--confirm", "1", "--json", "--quiet"]
    for strategy in ("random", "evolution", "tpe"):
        found = nas_cli(*words, *few, "--strategy", strategy, "--name", strategy).json()
        assert sum(found["study"]["trials"].values()) == 12
        assert len(found["family"]["trained"]) == 9


def test_settings_of_a_search_are_settings_of_its_study(nas_cli, words, tmp_path):
    given = ["--ledger", "journal", "--checkpoints", "none", "--replicas", "--strategy", "random", "--trials", "12"]
    said = nas_cli(*words, *given, "--confirm", "0", "--json", "--quiet")
    assert said.code == 0
    run = tmp_path / "runs" / "scale-base"
    assert (run / "ledger.log").exists()
    manifest = json.loads((run / "study.json").read_text())
    assert (manifest["ledger"], manifest["replicas"], manifest["strategy"]["name"]) == ("journal", True, "random")
    refused = nas_cli(*words, "--deterministic", "--ray", "auto", "--name", "other")
    assert (refused.code, "add --workers N" in refused.err) == (2, True)


def test_ctrl_c_leaves_the_best_so_far_and_says_so(nas_cli, words, tmp_path):
    counted = "calls.append(1)\n        if len(calls) == 4: raise KeyboardInterrupt"
    stops = PREFERS_DEPTH.replace("time.sleep(SECONDS)", counted).replace("import time", "calls = []")
    (tmp_path / "prefers.py").write_text(stops)
    said = nas_cli(*words, "--quiet")
    assert (said.code, f"resume with: nas {shlex.join([*words, '--quiet'])}" in said.err) == (130, True)
    assert "after 3 of " in said.out
    assert len(json.loads((tmp_path / "runs" / "scale-base" / "family.json").read_text())["trained"]) == 3


def test_before_the_first_trial_has_ended_it_is_known_which_family_is_wanted(nas_cli, words, tmp_path):
    stops = PREFERS_DEPTH.replace("time.sleep(SECONDS)", "raise KeyboardInterrupt")
    (tmp_path / "prefers.py").write_text(stops)
    said, run = nas_cli(*words, "--quiet", "--json"), tmp_path / "runs" / "scale-base"
    assert said.code == 130
    assert f"resume with: nas {shlex.join([*words, '--quiet', '--json'])}" in said.err
    assert "family" not in nas_cli("show", run, "--json").json()["files"]
    (tmp_path / "prefers.py").write_text(PREFERS_DEPTH.replace("SECONDS", "0"))
    ended = nas_cli(*shlex.split(said.json()["study"]["more"])[1:], "--trials", "4", "--quiet", "--json").json()
    assert ended["files"]["family"] == str(run / "family.json")
    family = json.loads((run / "family.json").read_text())
    assert [one["phi"] for one in family["members"]] == [0, 1, 2, 3]
    assert family["base"]["name"] == words[1]
    more = nas_cli(*words, "--phi", "1", "--quiet", "--json").json()["family"]
    assert [one["phi"] for one in more["members"]] == [0, 1]
    assert {each.name for each in (run / "family").iterdir()} == {"phi0.json", "phi1.json"}


@pytest.mark.parametrize("damage", ["{", "[]", '{"members": 3}'])
def test_a_damaged_family_is_made_anew_by_its_study(nas_cli, words, tmp_path, damage):
    few = ["--trials", "4", "--confirm", "0", "--quiet", "--json"]
    family = nas_cli(*words, *few).json()["family"]
    (tmp_path / "runs" / "scale-base" / "family.json").write_text(damage)
    assert nas_cli(*words, *few).json()["family"] == family


def test_one_dimension_alone_comes_as_near_to_the_same_macs_as_rounding_lets_it():
    base = Scaled(classic("efficientnet_b0").architecture, Scale(), Task())
    for factor in (1.4, 2.0):
        wanted = base.larger(Factors(depth=factor)).cost().macs
        assert alone(base, "depth", wanted).cost.macs == wanted
    members = family(base, PUBLISHED, (1, 2))
    for dimension, several in curves(members):
        for each, member in zip(several, members, strict=True):
            factors = {name: getattr(each.factors, name) for name in ("depth", "width", "resolution")}
            assert all(value == 1 for name, value in factors.items() if name != dimension)
            # an edge of the image, one block more or eight channels more in all stages: a tenth at most here
            assert abs(each.cost.macs / member.cost.macs - 1) < 0.1
    flat = Scaled(next(iter(space_named("inception").references.values())), Scale(), Task())
    assert alone(flat, "resolution", 2 * flat.cost().macs).cost.macs > flat.cost().macs


def test_a_shrunken_proxy_tells_fewer_candidates_apart():
    space = ScalingSpace(Scaled(BASE, Scale(), Task(32, 3, 10)))
    found = candidates(space)
    whole, shrunken = (
        told_apart(space, found.networks, {"data": {"task": "32x32x3:10"}, "width": width, "depth": depth})
        for width, depth in ((1.0, 1.0), (0.25, 0.5))
    )
    assert whole == len(found.networks) > shrunken
    assert told_apart(space, found.networks, {"name": "one that says nothing"}) is None


def test_it_is_in_the_public_api(words, tmp_path):
    import nas
    from searchspaces import load_object

    found = nas.scale(
        Scaled(BASE, Scale(), Task(32, 3, 10)), phi=(1, 2), out=tmp_path, name="api",
        estimator=load_object(f"{tmp_path / 'prefers.py'}:estimator"), trials=6, confirm=0, strategy="random",
    )  # fmt: skip
    assert [each.phi for each in found.members] == [0, 1, 2]
    assert set(found.alone) == {"depth", "width", "resolution"}
    assert (tmp_path / "api" / "family.html").exists()


def test_a_family_is_found_under_bounds_on_memory_and_macs(nas_cli, words, tmp_path):
    # Tan & Le 2019, eq. 2: Memory(N) at most the target memory, FLOPS(N) at most the target compute
    base = Scaled(BASE, Scale(), Task(32, 3, 10))
    free, bound = ScalingSpace(base), ScalingSpace(base, growth="params=1.7,activations=1.6")
    assert space_of("scaling", bound.of) == bound != free
    own, offered = base.cost(), candidates(free).networks
    kept = [each for each in offered if (cost := each.cost(base.task)).params <= 1.7 * own.params
            and cost.activations <= 1.6 * own.activations]  # fmt: skip
    assert 0 < len(kept) < len(offered)
    assert [each.choices for each in candidates(bound).networks] == [each.choices for each in kept]
    said = nas_cli(
        *words, "--growth", "params=1.7,activations=1.6", "--trials", "3", "--confirm", "0", "--json", "--quiet"
    )
    assert said.json()["family"]["members"][1]["params"] <= 1.7 * own.params
    assert len(said.json()["grid"]["candidates"]) == len(kept)
    assert "growth" not in free.of


@pytest.mark.parametrize(("rule", "grows"), [("resnet-rs", "depth"), ("resnet-rs-short", "width")])
def test_by_the_rules_of_resnet_rs_depth_or_width_grows_and_the_image_slowly(nas_cli, tmp_path, rule, grows):
    said = nas_cli(
        "scale", "resnetrs50", "--coefficients", rule, "--phi", "1..2", "--out", str(tmp_path), "--json"
    ).json()
    first = said["family"]["members"][1]
    assert first["formula"] == pytest.approx(2, abs=1e-4)
    assert {"depth", "width"} - {name for name in ("depth", "width") if first[name] == 1} == {grows}
    assert said["family"]["coefficients"]["how"] == rule
    # 160 to 320 pixels over 4.6 to 128 billion FLOPs (Bello 2021): log2(128 / 4.6) = 4.8 steps
    assert first["resolution"] == pytest.approx(2 ** (1 / 4.8), abs=0.001)


MISTAKES = {
    "no architecture": (["alexnet"], "alexnet cannot be scaled: it is not a member of a search space"),
    "a scaled classic": (["efficientnet_b3"], "did you mean 'efficientnet_b0'"),
    "a module": (["examples/my_net.py:net"], "is a torch module"),
    "unknown": (["efficientnet_b9"], "unknown network 'efficientnet_b9'"),
    "phi": (["efficientnet_b0", "--phi", "7..1"], "phi: '7..1' must be ascending"),
    "phi in words": (["efficientnet_b0", "--phi", "all"], "phi: 'all' does not look like '1..7'"),
    "phi unpublished": (
        ["efficientnet_b0", "--phi", "8", "--coefficients", "published"],
        "published are 1 to 7 (EfficientNet-B1 to B7), not 8",
    ),
    "growth of MACs": (["efficientnet_b0", "--growth", "1.5"], "growth: macs=1.5 cannot be; give multiples"),
    "growth below 1": (["efficientnet_b0", "--growth", "params=0.5"], "from 1 to 100"),
    "growth of nothing": (["efficientnet_b0", "--growth", "params=1.1,activations=1.1"], "or more --growth helps"),
    "a rule": (["resnet18", "--coefficients", "resnet-sr"], "did you mean 'resnet-rs'?"),
    "published of another": (["resnet18", "--coefficients", "published"], "are for efficientnet_b0"),
    "coefficients": (["efficientnet_b0", "--coefficients", "1.2,1.1"], "does not look like '1.2,1.1,1.15'"),
    "coefficients below": (["efficientnet_b0", "--coefficients", "0.9,1,1"], "each must be from 1 to 10"),
    "a search": (
        ["resnet18", "--coefficients", "1.2,1.1,1.15", "--strategy", "nosuch"],
        "--strategy is for the search for factors; leave it out with --coefficients",
    ),
    "a search on Ray": (["resnet18", "--coefficients", "published", "--ray"], "--ray is for the search for factors"),
    "as by default": (["resnet18", "--coefficients", "published", "--seed", "0"], "--seed is for the search for"),
    "band": (["efficientnet_b0", "--band", "five"], "band: 'five' does not look like '5%'"),
    "step": (["efficientnet_b0", "--step", "0"], "step must be a number above 0"),
    "target": (["efficientnet_b0", "--target", "1"], "target must be a number above 1"),
    "nothing fits": (["efficientnet_b0", "--band", "0.0001%"], "a wider --band or a smaller --step helps"),
}


def test_a_family_of_another_network_is_not_written_over(nas_cli, tmp_path):
    files = []
    for seed, folder in enumerate(("one", "other")):
        files.append(tmp_path / folder / "best.json")
        files[-1].parent.mkdir()
        files[-1].write_text(space_named("resnet").sample(np.random.default_rng(seed)).to_json())
    given = ("--coefficients", "1.2,1.1,1.15", "--phi", "1", "--out", str(tmp_path / "runs"))
    assert nas_cli("scale", files[0], *given).code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    before = (folder / "family.json").read_text()
    refused = nas_cli("scale", files[1], *given)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "already holds the family of another network" in refused.err
    assert (folder / "family.json").read_text() == before
    for again in ((), ("--task", "64x64x3:10"), ("--strides", "published")):  # the same network
        assert nas_cli("scale", files[0], *given, *again).code == 0


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(nas_cli, mistake, tmp_path):
    words, said = MISTAKES[mistake]
    answer = nas_cli("scale", *words, "--out", str(tmp_path / "runs"))
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert said in answer.err
    assert not (tmp_path / "runs").exists()


def test_resuming_a_scaling_run_makes_its_family_again(nas_cli, words, tmp_path, whole):
    few = ["--trials", "4", "--confirm", "0", "--quiet", "--json"]
    before = nas_cli(*words, *few).json()["family"]
    run = tmp_path / "runs" / "scale-base"
    own = ["--estimator", words[words.index("--estimator") + 1]]
    more = nas_cli("resume", str(run), "--trials", "13", *own, "--quiet", "--json").json()
    after = json.loads((run / "family.json").read_text())
    assert after["trials"]["ended"] == 13
    assert after["coefficients"] != before["coefficients"]  # the grid begins with the most even factors, not the best
    assert after["trained"][0]["trial"] == more["best"]["number"]
    assert [one["phi"] for one in after["members"]] == [0, 1, 2, 3]
    assert after["base"] == before["base"]
    assert more["files"]["family"] == str(run / "family.json")
    assert json.loads((run / "family" / "phi1.json").read_text())["factors"]["depth"] == after["coefficients"]["depth"]


def test_a_family_that_knows_fewer_trials_than_its_study_is_not_shown(nas_cli, words, tmp_path):
    from studies import Study

    nas_cli(*words, "--trials", "4", "--confirm", "0", "--quiet")
    run, own = tmp_path / "runs" / "scale-base", words[words.index("--estimator") + 1]
    assert "family" in nas_cli("show", str(run), "--json").json()["files"]
    study = Study.open(run, estimator=own)
    study.run(5)
    study.close()
    assert "family" not in nas_cli("show", str(run), "--json").json()["files"]


@pytest.mark.parametrize(
    "more", [["--growth", "params=1.8", "--band", "7%"], ["--step", "0.1", "--strategy", "random"]]
)
def test_the_command_of_a_report_makes_the_same_scaling_study(nas_cli, words, tmp_path, more):
    nas_cli(*words, *more, "--trials", "4", "--confirm", "0", "--target", "1.9", "--seed", "3", "--quiet")
    run = tmp_path / "runs" / "scale-base"
    command = command_of_report(run)
    assert command[:2] == ["nas", "scale"]
    command[command.index("--out") + 1] = str(tmp_path / "again")
    assert nas_cli(*command[1:], "--quiet").code == 0
    first, second = (Manifest.read(each) for each in (run, tmp_path / "again" / "scale-base"))
    assert replace(second, created=first.created) == first
    families = [json.loads((each / "family.json").read_text()) for each in (run, tmp_path / "again" / "scale-base")]
    assert len({json.dumps(one["coefficients"]) for one in families}) == 1
    assert len({tuple(member["phi"] for member in one["members"]) for one in families}) == 1


def test_commands_of_a_scaling_run_name_the_space_of_ones_own(nas_cli, tmp_path):
    (tmp_path / "prefers.py").write_text(PREFERS_DEPTH.replace("SECONDS", "0"))
    (tmp_path / "own.py").write_text((Path(__file__).parents[1] / "examples" / "my_space.py").read_text())
    space, estimator = f"{tmp_path / 'own.py'}:space", f"{tmp_path / 'prefers.py'}:estimator"
    base = load_space(space).sample(np.random.default_rng(0))
    (tmp_path / "base.json").write_text(Scaled(base, Scale(), Task(32, 3, 10)).to_json())
    words = ["scale", str(tmp_path / "base.json"), "--space", space, "--estimator", estimator, "--out", str(tmp_path)]
    found = nas_cli(*words, "--trials", "3", "--confirm", "0", "--name", "run", "--quiet", "--json").json()["study"]
    assert f"--space {space}" in found["more"]
    assert all(f"--space {space}" in look for look in found["looks"])
    look = next(look for look in found["looks"] if look.startswith("nas show"))
    assert nas_cli(*shlex.split(look)[1:]).code == 0
    assert f"--space {space}" in nas_cli("show", str(tmp_path / "run")).err
    command = command_of_report(tmp_path / "run", space)
    command[command.index("--out") + 1] = str(tmp_path / "again")
    assert nas_cli(*command[1:], "--quiet").code == 0
    first, second = (Manifest.read(each) for each in (tmp_path / "run", tmp_path / "again" / "run"))
    assert replace(second, created=first.created) == first


def command_of_report(run, space=None):
    """The first command of a report's last section, as words."""
    page = nas.report(run, space=space).read_text()
    section = page.partition("<h2>Reproduce</h2>")[2]
    return shlex.split(html.unescape(re.search(r"<pre[^>]*>(?:<code>)?(nas [^\n<]*)", section)[1]))
