"""A scaled network: its text form, its costs, and every command that takes a network."""

from __future__ import annotations

import json

import pytest

from searchspaces import Scale, Scaled, Task, UserError, classic, space_named

B0 = classic("efficientnet_b0").architecture


def test_a_scaled_network_round_trips_and_is_its_architecture_with_size():
    b1 = Scaled(B0, Scale(width=1.0, depth=1.1), Task(240))
    text = json.loads(b1.to_json())
    assert text == {**json.loads(B0.to_json()), "scale": {"width": 1.0, "depth": 1.1}, "task": "240x240x3:1000"}
    assert Scaled.from_json(b1.to_json()) == b1
    assert Scaled.from_json(B0.to_json()) == Scaled(B0, Scale(), Task())


def test_a_scaled_network_is_the_classic_that_was_scaled_so():
    # EfficientNet-B3: width 1.2, depth 1.4, 300 pixels; 12,233,232 parameters (timm)
    b3 = Scaled(B0, Scale(1.2, 1.4), Task(300))
    assert b3.network() == classic("efficientnet_b3").network()
    assert b3.cost().params == 12_233_232
    assert b3.cost(Task(300, classes=10)).params == 12_233_232 - 1537 * 990


def test_a_scaled_network_is_built_with_the_parameters_it_says():
    small = Scaled(B0, Scale(0.25, 0.5), Task(32, classes=10))
    module = small.build(drop_path=0.1)
    assert sum(each.numel() for each in module.parameters()) == small.cost().params


WRONG = {
    "a factor of 0": ({"scale": {"width": 0}}, "width must be a number above 0, got 0"),
    "a factor in words": ({"scale": {"depth": "deep"}}, "depth must be a number above 0, got 'deep'"),
    "infinity": ({"scale": {"depth": float("inf")}}, "depth must be a number above 0"),
    "an unknown factor": ({"scale": {"heigth": 2}}, "does not look like"),
    "a number as scale": ({"scale": 2}, "does not look like"),
    "a wrong task": ({"scale": {}, "task": "240"}, "does not look like '224x224x3:1000'"),
    "no task at all": ({"scale": {}, "task": 240}, "does not look like '224x224x3:1000'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_size_is_one_line(nas_cli, what):
    more, said = WRONG[what]
    text = json.dumps({**json.loads(B0.to_json()), **more})
    with pytest.raises(UserError, match=r"scale|task"):
        Scaled.from_json(text)
    answer = nas_cli("cost", text)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert said in answer.err


def test_commands_take_a_scaled_network_at_its_own_image_size(nas_cli, tmp_path):
    b2 = Scaled(B0, Scale(1.1, 1.2), Task(260))
    file = tmp_path / "b2.json"
    file.write_text(json.dumps({**json.loads(b2.to_json()), "accuracy": 0.5}))
    for command in ("cost", "show"):
        document = nas_cli(command, str(file), "--json").json()
        assert (document["task"], document["macs"]) == ("260x260x3:1000", classic("efficientnet_b2").cost().macs)
        assert document["architecture"]["scale"] == {"width": 1.1, "depth": 1.2}
    assert "width x 1.1, depth x 1.2" in nas_cli("show", str(file)).out
    assert nas_cli("cost", str(file), "--task", "32x32x3:10", "--json").json()["task"] == "32x32x3:10"
    assert nas_cli("show", str(file), "--svg", str(tmp_path / "b2.svg")).code == 0


def test_a_file_may_name_a_classic_and_its_task(nas_cli, tmp_path):
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "network.json").write_text('{"classic": "resnet18", "task": "64x64x3:10"}')
    for given in (str(tmp_path / "trained"), str(tmp_path / "trained" / "network.json")):
        document = nas_cli("cost", given, "--json").json()
        assert (document["task"], document["params"]) == ("64x64x3:10", 11_689_512 - 513 * 990)
    assert "unknown network 'resnet17'" in nas_cli("cost", '{"classic": "resnet17"}').err


def test_a_run_folder_stands_for_its_best_on_its_task(nas_cli, tmp_path):
    (tmp_path / "fast.py").write_text(
        "from estimators import Estimate\n"
        "class Fast:\n"
        "    def describe(self): return {'name': 'fast'}\n"
        "    def estimate(self, architecture, context): return Estimate(0.5, 0.0)\n"
        "estimator = Fast()\n"
    )
    found = nas_cli(
        "search", "--budget", "90M", "--task", "64x64x3:10", "--trials", "2", "--name", "run", "--out", str(tmp_path),
        "--estimator", f"{tmp_path / 'fast.py'}:estimator", "--strategy", "random", "--json", "--quiet",
    ).json()  # fmt: skip
    run = tmp_path / "run"
    for given in (str(run), str(run / "best.json")):
        document = nas_cli("cost", given, "--json").json()
        assert (document["task"], document["macs"]) == ("64x64x3:10", found["best"]["macs"])
    (tmp_path / "empty").mkdir()
    assert "is not a run folder" in nas_cli("cost", str(tmp_path / "empty")).err


def test_a_scaled_network_is_no_member_to_start_from(nas_cli, tmp_path):
    member = space_named("mbconv").references["mobilenetv2_100"]
    text = Scaled(member, Scale(width=1.4), Task()).to_json()
    answer = nas_cli("search", "--budget", "400M", "--start-from", text, "--out", str(tmp_path))
    assert (answer.code, "a scaled network is no member of mbconv" in answer.err) == (2, True)
