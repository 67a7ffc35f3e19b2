"""`nas cost`, `nas space` and `nas spaces`: what they print, and what machines read."""

from __future__ import annotations

import json

import pytest

from nas.layer_types import layer_types
from searchspaces.layers import Chain, Conv, Flatten, Linear, Norm, SpatialTransformer, SqueezeExcite
from searchspaces.modules import build

# Parameters and MACs at 224 x 224, as published with timm's weights.
CLASSICS = {
    "efficientnet_b0": (385_814_752, 5_288_548),
    "mobilenetv2_100": (300_774_272, 3_504_872),
    "semnasnet_100": (311_579_072, 3_887_038),
}


@pytest.mark.parametrize("name", CLASSICS)
def test_a_classic_costs_what_was_published(nas_cli, name):
    document = nas_cli("cost", name, "--json").json()
    assert (document["macs"], document["params"]) == CLASSICS[name]
    assert document["counted"] == "exactly"


@pytest.mark.parametrize("name", CLASSICS)
def test_the_stages_add_up_to_the_totals(nas_cli, name):
    document = nas_cli("cost", name, "--task", "160x160x3:10", "--json").json()
    for cost in ("macs", "params", "activations"):
        assert sum(stage[cost] for stage in document["stages"]) == document[cost]
    assert document["stages"][-1]["output"] == [10]


def test_the_screen_has_every_stage_and_the_exact_totals(nas_cli):
    said = nas_cli("cost", "efficientnet_b0")
    assert said.code == 0
    for text in ("stem", "stage7", "head", "385,814,752", "5,288,548", "dw 5x5", "14x14x112"):
        assert text in said.out


# Howard 2017, arXiv:1704.04861, table 2: percent of the mult-adds and of the parameters. The table prints 1.19 % of the
# mult-adds for the one 3x3 convolution, and its column then adds up to 99.29 %; with 1.91 % it is 100.
MOBILENET = {"conv 1x1": (94.86, 74.59), "conv dw 3x3": (3.06, 1.06), "conv 3x3": (1.91, 0.02), "linear": (0.18, 24.33)}


def test_mobilenet_has_its_published_resources_per_layer_type(nas_cli):
    document = nas_cli("cost", "mobilenetv1_100", "--json").json()
    types = {one["type"]: one for one in document["types"] if one["weights"]}
    shares = {
        name: (round(100 * one["share_of_macs"], 2), round(100 * one["share_of_weights"], 2))
        for name, one in types.items()
    }
    assert shares == MOBILENET
    said = nas_cli("cost", "mobilenetv1_100", "--by", "type").out
    for text in ("conv 1x1", "94.86", "74.59", "conv dw 3x3", "3.06", "24.33", "568,740,352"):
        assert text in said
    # stem: 3x3x3x32 weights on 112x112 pixels
    assert (types["conv 3x3"]["macs"], types["conv 3x3"]["weights"]) == (112 * 112 * 864, 864)


@pytest.mark.parametrize(
    "layer",
    [Conv(8, 3, groups=2), SqueezeExcite(2), SpatialTransformer(6), SpatialTransformer(6, width=2)],
    ids=repr,
)
def test_weights_of_a_type_are_the_matrices_of_the_module(layer):
    tree, given = Chain(layer, Norm(), Flatten(), Linear(5)), (4, 6, 6)
    weights = {one["type"]: one["weights"] for one in layer_types(tree, given)}
    matrices = sum(each.numel() for each in build(tree, given).parameters() if each.ndim > 1)
    assert sum(weights.values()) == matrices
    assert "SpatialTransformer" not in weights
    assert min(weights[name] for name in weights if name != "norm") > 0


def test_rows_that_a_table_of_costs_does_not_have_are_refused(nas_cli):
    refused = nas_cli("cost", "efficientnet_b0", "--by", "types")
    assert (refused.code, refused.err) == (2, "nas: --by: unknown rows 'types'; did you mean 'type'?\n")


def test_an_architecture_is_costed_from_its_text_and_from_its_file(nas_cli, tmp_path):
    document = nas_cli("cost", "mobilenetv2_100", "--json").json()
    text = json.dumps(document["architecture"])
    file = tmp_path / "best.json"
    file.write_text(text)
    assert nas_cli("cost", text, "--json").json()["macs"] == document["macs"]
    assert nas_cli("cost", str(file), "--json").json()["macs"] == document["macs"]


def test_a_torch_module_of_ones_own_is_counted_by_tracing_and_says_so(nas_cli):
    # 32x32x(32*27) + 16x16x(64*32*9) + 64*10 MACs; 864 + 64 + 18432 + 128 + 650 parameters.
    document = nas_cli("cost", "examples/my_net.py:net", "--task", "32x32x3:10", "--json").json()
    assert (document["macs"], document["params"]) == (5_603_968, 20_138)
    assert document["counted"] == "by tracing"
    assert "counted by tracing" in nas_cli("cost", "examples/my_net.py:net", "--task", "32x32x3:10").out


MODULES = """
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.attention, self.head = nn.Conv2d(3, 32, 4, 4), nn.MultiheadAttention(32, 4), nn.Linear(32, 10)

    def forward(self, x):
        x = self.stem(x).flatten(2).permute(2, 0, 1)
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(0))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.stem, self.encoder = nn.Conv2d(3, 32, 4, 4), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    @torch.inference_mode()
    def forward(self, x):
        return self.encoder(self.stem(x).flatten(2).transpose(1, 2)).mean(1)


class Product(nn.Module):
    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(x, x, x).mean(1)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.recurrent, self.head = kind(96, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.recurrent(x.permute(0, 2, 1, 3).flatten(2))[0][:, -1])


class Vectors(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(10, 3072), requires_grad=False)

    def forward(self, x):
        return torch.fft.rfft(self.weights @ x.flatten()).real[None]


def lstm(): return Recurrent(nn.LSTM)
def gru(): return Recurrent(nn.GRU)
def rnn(): return Recurrent(nn.RNN)
"""
TOKENS, STEPS = 8 * 8, 32  # of a 32 x 32 image: patches of 4 x 4, and rows
STEM = TOKENS * 32 * 3 * 4 * 4
ATTENTION = TOKENS * 32 * 32 * 4 + 2 * TOKENS * TOKENS * 32  # query, key, value and output; scores and their sum
OF_ONES_OWN = {
    "Attention": STEM + ATTENTION + 32 * 10,
    "Encoder": STEM + 2 * (ATTENTION + 2 * TOKENS * 32 * 64),
    "Product": 2 * 1024 * 1024 * 3,
    "lstm": STEPS * 4 * 64 * (96 + 64) + 64 * 10,
    "gru": STEPS * 3 * 64 * (96 + 64) + 64 * 10,
    "rnn": STEPS * 64 * (96 + 64) + 64 * 10,
    "Vectors": 10 * 3072,
}


@pytest.mark.parametrize("name", OF_ONES_OWN)
def test_attention_and_recurrent_layers_of_ones_own_are_counted(nas_cli, tmp_path, name):
    (tmp_path / "own.py").write_text(MODULES)
    network = f"{tmp_path / 'own.py'}:{name}"
    document = nas_cli("cost", network, "--task", "32x32x3:10", "--json").json()
    assert document["macs"] == OF_ONES_OWN[name]
    if name == "Vectors":
        assert document["params"] == 30_720  # frozen
        assert document["uncounted"] == {"fft_r2c": 1}
        assert document["fvcore"] is None
        return
    assert document["fvcore"]["macs"] < document["macs"]
    said = nas_cli("cost", network, "--task", "32x32x3:10").out
    assert f"counts {document['fvcore']['macs']:,} MACs; it does not support" in said
    for operator, times in document["uncounted"].items():
        assert f"{operator} {times}" in " ".join(said.split())


def test_frozen_layers_count_in_the_parameters_and_two_counts_agree(nas_cli, tmp_path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(4, 10), nn.Linear(10, 2))\nnet[4].requires_grad_(False)\n"
    )
    network = f"{tmp_path / 'own.py'}:net"
    document = nas_cli("cost", network, "--task", "8x8x3:2", "--json").json()
    assert document["params"] == 16 + 50 + 22
    assert document["fvcore"]["macs"] == document["macs"]
    assert document["uncounted"] == {"relu": 1, "mean": 1}
    said = nas_cli("cost", network, "--task", "8x8x3:2").out
    assert "counts the same MACs" in said
    assert "relu 1, mean 1" in said


def test_a_space_says_what_it_holds_and_what_fits(nas_cli):
    document = nas_cli("space", "mbconv", "--budget", "360M..400M", "--json").json()
    assert document["budget"] == "macs=360M..400M"
    assert document["smallest"]["macs"] < 360e6 < 400e6 < document["largest"]["macs"]
    assert 0 < document["fits"]["low"] <= document["fits"]["high"] < document["size"]
    fits = {one["name"]: one["fits"] for one in document["references"]}
    assert {name: fits[name] for name in CLASSICS} == {
        "efficientnet_b0": True,
        "mobilenetv2_100": False,
        "semnasnet_100": False,
    }


def test_without_a_budget_everything_is_in(nas_cli):
    document = nas_cli("space", "mbconv", "--json").json()
    assert document["fits"] is None
    sizes = [len(one["options"]) for one in document["decisions"]]
    assert min(sizes) >= 2
    assert "1.83e15 architectures" in nas_cli("space", "mbconv").out  # as many as its size, to three digits


def test_a_space_of_ones_own_is_as_good_as_ours(nas_cli):
    document = nas_cli(
        "space", "examples/my_space.py:space", "--task", "32x32x3:10", "--budget", "20M", "--json"
    ).json()
    # stage 1: 2 widths, 2 depths, 2 expansions; stage 2: 2 widths, (2 kernels x 2 expansions) for each of 1, 2 or 3
    # blocks; stage 3: 2 cells, 3 widths, 2 depths, 2 kernels
    assert document["size"] == 8 * (2 * (4 + 16 + 64)) * 24
    assert {"stage2.block3.kernel", "stage3.cell"} <= {one["name"] for one in document["decisions"]}


def test_every_space_is_listed(nas_cli):
    from searchspaces import SPACES

    assert [one["name"] for one in nas_cli("spaces", "--json").json()["spaces"]] == list(SPACES)
    assert all(name in nas_cli("spaces").out for name in SPACES)


@pytest.mark.parametrize("command", ["search", "resume", "show", "plot", "space", "cost", "spaces", "classics"])
def test_every_command_has_help_with_an_example(nas_cli, command):
    said = nas_cli(command, "--help")
    assert said.code == 0
    assert f"Example:  nas {command}" in said.out
    assert "--json" in said.out


def test_a_count_that_is_an_estimate_says_from_how_many_draws(nas_cli):
    document = nas_cli("space", "nasnet", "--budget", "200M", "--json").json()
    assert document["draws"] == document["fits"]["draws"] == 400
    low, high = document["fits"]["share"]
    assert 0 < low < high < 1
    said = nas_cli("space", "nasnet", "--budget", "200M").out
    assert f"about {50 * (low + high):.2g}% (400 draws)" in said
    assert "at most" not in said
    assert nas_cli("space", "mbconv", "--budget", "200M", "--json").json()["fits"]["draws"] == 0


# 32x32 lasts for three halvings down to 4x4, the smallest map of a chain: the first two are left out. NASNet's papers
# have none of the three of its stem on CIFAR. What is made for 32x32 loses nothing.
LEFT_OUT = {"mbconv": ["stem", "stage2"], "resnet": ["stem", "pool"], "nasnet": ["stem", "stem1", "stem2"]}


@pytest.mark.parametrize("space", [*LEFT_OUT, "resnet-cifar"])
def test_a_small_task_says_which_strides_are_left_out(space):
    from searchspaces import Task, space_named
    from searchspaces.strides import strides_left_out

    assert strides_left_out(space_named(space), Task.parse("32x32x3:10")) == LEFT_OUT.get(space, [])
    assert strides_left_out(space_named(space), Task()) == []


def test_strides_left_out_are_on_the_screen(nas_cli):
    said = "left out in stem and stage2, since images of this size"
    assert said in nas_cli("space", "mbconv", "--task", "32x32x3:10").out
    assert "left out" not in nas_cli("space", "mbconv").out


@pytest.mark.parametrize("space", ["nasnet", "mixed"])
def test_many_kinds_of_decisions_are_listed_one_below_the_other(nas_cli, space):
    document = nas_cli("space", space, "--json").json()
    said = nas_cli("space", space).out
    head = next(line for line in said.splitlines() if "decision" in line)
    assert head.split() == ["decision", "options", "where"]
    for key in {one["name"].rpartition(".")[2] for one in document["decisions"]}:
        assert any(line.split()[:1] == [key] for line in said.splitlines())
