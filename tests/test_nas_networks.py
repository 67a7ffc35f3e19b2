"""`nas classics`, and `nas show` and `nas cost` of a network: rows, blocks and drawings."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from nas.networks import cost_document
from searchspaces import CLASSICS, Task, UserError, classic, space_named
from searchspaces.drawing import svg
from searchspaces.layers import Chain, Conv


def test_every_classic_is_listed_once_with_its_own_costs(nas_cli):
    listed = nas_cli("classics", "--json").json()["classics"]
    assert sorted(one["name"] for one in listed) == sorted(CLASSICS)
    for name in ("lenet5", "efficientnet_b3", "nasnetalarge"):
        (one,) = [each for each in listed if each["name"] == name]
        cost = classic(name).cost()
        assert (one["macs"], one["params"], one["task"]) == (cost.macs, cost.params, str(classic(name).task))


def test_a_part_of_the_name_leaves_out_the_others(nas_cli):
    listed = [one["name"] for one in nas_cli("classics", "ResNeXt", "--json").json()["classics"]]
    assert listed == ["resnext50_32x4d", "resnext101_32x8d", "seresnext50_32x4d"]
    said = nas_cli("classics", "densenet").out
    assert "densenet201" in said
    assert "resnet50" not in said
    assert f"{sum('densenet' in name for name in CLASSICS)} networks" in said
    listed = nas_cli("classics", "ResNet20", "--json").json()["classics"]  # of which preresnet200 has a part
    families = [one["family"] for one in listed]
    assert listed[0]["name"] == "resnet20"
    assert [one["name"] for one in listed[1:]].count("resnet20") == 0
    assert len(listed) > 1
    assert sum(one != other for one, other in pairwise(families)) == len(set(families)) - 1
    assert nas_cli("classics", "efficientnet_b9").err.startswith(
        "nas: no network has 'efficientnet_b9' in its name; did"
    )


def test_published_accuracies_stand_beside_costs_with_source_and_recipe(nas_cli):
    (resnet,) = nas_cli("classics", "resnet50d", "--json").json()["classics"]
    assert resnet["top1"] == [0.78742, 0.80956]  # timm 1.0: a3_in1k and ra4_e3600_r224_in1k at 224 pixels
    known = {one["weights"]: one for one in resnet["accuracies"]}
    assert known["resnet50d.a1_in1k"]["source"] == "timm"
    assert "2110.00476" in known["resnet50d.a1_in1k"]["recipe"]
    said = nas_cli("cost", "resnet50").out
    assert "76.1% (top-5 92.9%)  torchvision IMAGENET1K_V1" in said  # torchvision 0.29
    assert "ImageNet" not in nas_cli("cost", "resnet50", "--task", "224x224x3:10").out


def test_classics_are_sorted_by_their_highest_accuracy_and_those_without_come_last(nas_cli):
    listed = [one["top1"] for one in nas_cli("classics", "--sort", "top1", "--json").json()["classics"]]
    highest = [one[1] for one in listed if one]
    assert highest == sorted(highest, reverse=True)
    assert None not in listed[: len(highest)]


def test_published_accuracies_are_plotted_at_their_costs(nas_cli, tmp_path):
    page = tmp_path / "classics.html"
    assert nas_cli("classics", "densenet", "--plot", page).out.splitlines()[-1] == str(page)
    text = page.read_text()
    start = text.index('data-plot="published">') + len('data-plot="published">')
    figure, _ = json.JSONDecoder().raw_decode(text, start)
    (points,) = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    listed = [one for one in nas_cli("classics", "densenet", "--json").json()["classics"] if one["top1"]]
    assert len(listed) >= 4
    assert points["x"] == [one["macs"] for one in listed]
    assert points["y"] == [one["top1"][1] for one in listed]
    assert "None was trained here" in text
    none = nas_cli("classics", "wrn_", "--plot", page)
    assert none.code == 2
    assert "none of these networks has a published accuracy" in none.err


def test_a_classic_is_in_the_public_api():
    import nas

    assert nas.classic("resnet50").cost().params == 25_557_032  # timm's


# One of each kind of wiring: chains, free wiring, shared weights, several inputs.
WIRED = ["nasnetamobile", "amoebanet_a_mobile", "pnasnet5mobile", "polynet", "googlenet", "fractalnet", "vgg11"]


@pytest.mark.parametrize("name", WIRED)
def test_stages_and_their_blocks_add_up_however_a_network_is_wired(nas_cli, name):
    document = nas_cli("cost", name, "--json").json()
    for cost in ("macs", "params"):
        assert sum(stage[cost] for stage in document["stages"]) == document[cost]
        for stage in document["stages"]:
            assert sum(block[cost] for block in stage["opened"]) == stage[cost]
            assert sum(block["times"] for block in stage["opened"]) == stage["blocks"]


@pytest.mark.parametrize("name", [*WIRED, "efficientnet_b0", "dm_nfnet_f0", "resnext50_32x4d", "squeezenet1_0"])
def test_types_of_layers_add_up_however_a_network_is_wired(name):
    document = cost_document(name)
    for cost in ("macs", "params", "activations"):
        assert sum(one[cost] for one in document["types"]) == document[cost]
    for share in ("share_of_macs", "share_of_params", "share_of_weights"):
        assert sum(one[share] for one in document["types"]) == pytest.approx(1)


def test_freely_wired_cells_have_a_row_each(nas_cli):
    # NASNet-A (4 @ 1056), Zoph 2018, fig. 2: thrice four normal cells, reductions between them and two in the stem
    names = [stage["name"] for stage in nas_cli("cost", "nasnetamobile", "--json").json()["stages"]]
    normal = [[f"normal{index}"] * 4 for index in (1, 2, 3)]
    cells = ["stem1", "stem2", *normal[0], "reduction1", *normal[1], "reduction2", *normal[2]]
    assert names == ["stem", *cells, "head"]


def test_a_network_is_shown_block_by_block(nas_cli):
    said = nas_cli("show", "efficientnet_b0")
    assert said.code == 0
    # the first block of stage 4 halves the map, and two equal ones follow (Tan & Le 2019, table 1)
    for text in ("1x1 240, dw 3x3 /2 240, SE 10, 1x1 80", "1x1 480, dw 3x3 480, SE 20, 1x1 80", "385,814,752"):
        assert text in said.out
    stage4 = nas_cli("show", "efficientnet_b0", "--json").json()["stages"][4]
    assert [block["times"] for block in stage4["opened"]] == [1, 2]


def test_an_architecture_is_shown_from_its_text_and_from_its_file(nas_cli, tmp_path):
    member = space_named("mbconv").references["semnasnet_100"]
    (tmp_path / "best.json").write_text(member.to_json())
    wanted = member.cost(Task.parse("96x96x3:10")).macs
    for text in (member.to_json(), str(tmp_path / "best.json")):
        assert nas_cli("show", text, "--task", "96x96x3:10", "--json").json()["macs"] == wanted
    assert "stage2 d2" in nas_cli("show", member.to_json()).out


def test_an_architecture_of_a_space_of_ones_own_is_shown_where_the_space_is_given(nas_cli):
    from searchspaces import load_space

    own = "examples/my_space.py:space"
    text = next(iter(load_space(own).enumerate())).to_json()
    assert nas_cli("show", text, "--space", own, "--json").code == 0
    assert nas_cli("cost", text, "--space", own, "--json").code == 0
    for command in ("show", "cost"):
        refused = nas_cli(command, text)
        assert refused.err.startswith(
            "nas: unknown space 'three-stages': if the space is your own, add --space FILE.py"
        )
        assert "did you mean" not in refused.err


DRAWN = {
    "efficientnet_b0": ["stage7", "squeeze-excite 48", "dwconv 5x5 /2 672", "x 3", "global avg pool", "linear 1000"],
    "googlenet": ["3a", "5b", "concat", "conv 5x5 128"],
    "nasnetamobile": ["stem2", "normal1 x 2", "reduction2", "of stem1 and stem", "input 2", "dwconv 7x7 /2 88"],
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_network_is_drawn_with_its_cells_opened_up(nas_cli, tmp_path, name):
    file = tmp_path / "drawing.svg"
    said = nas_cli("show", name, "--svg", str(file))
    assert said.code == 0
    assert "drawing.svg" in said.out
    drawing = ElementTree.parse(file).getroot()
    texts = [each.text for each in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == name
    assert set(DRAWN[name]) <= set(texts)
    width, height = float(drawing.get("width")), float(drawing.get("height"))
    for box in drawing.iter("{http://www.w3.org/2000/svg}rect"):
        if box.get("width") != "100%":
            assert 0 <= float(box.get("x")) <= width - float(box.get("width"))
            assert 0 <= float(box.get("y")) <= height - float(box.get("height"))


def test_a_diagram_has_the_strides_and_groups_that_are_there():
    # as a reduction cell writes them, and a grouped convolution whose groups are its outputs and not its inputs
    convs = Conv(64, (1, 3), (1, 1)), Conv(64, (1, 3), (1, 2)), Conv(64, (7, 1), (2, 2)), Conv(32, 3, groups=32)
    drawn = svg(Chain(*convs, Conv(32, 3, groups=32)), Task(32, 3, 10))
    assert re.findall(r">((?:dw)?conv [^<]*)<", drawn) == [
        *("conv 1x3 64", "conv 1x3 /1x2 64", "conv 7x1 /2 64", "conv 3x3 32 g32", "dwconv 3x3 32")
    ]


MISTAKES = {
    "neither": (["show", "efficentnet_b0"], "'efficentnet_b0' is neither a run folder nor a known network"),
    "a trial of a network": (["show", "resnet50", "--trial", "1"], "--trial is for a run folder, and resnet50 is a"),
    "a drawing nowhere": (["show", "resnet50", "--svg", "no/where.svg"], "cannot write to no/where.svg"),
    "a drawing of a module": (["show", "examples/my_net.py:net", "--svg", "net.svg"], "is a torch module"),
    "too small": (["show", "vgg11", "--task", "4x4x3:10"], "vgg11 cannot take images of 4x4x3:10"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(nas_cli, mistake):
    words, said = MISTAKES[mistake]
    answer = nas_cli(*words)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert said in answer.err


def test_the_document_of_a_network_is_one_json_object(nas_cli):
    assert json.loads(nas_cli("show", "lenet5", "--json").out)["task"] == "32x32x1:10"


def test_a_file_that_holds_no_network_is_named(tmp_path):
    file = tmp_path / "best.json"
    for text in ("{", '{"space": "mbconv", "choices": {}}', '{"classic": "resnet81"}'):
        file.write_text(text)
        with pytest.raises(UserError, match=r"best\.json"):
            cost_document(str(file))
