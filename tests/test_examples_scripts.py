"""Scripts of `examples`: the networks and images of two, with a run of each, and folders that one must not empty."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from searchspaces import Task
from searchspaces.layers import Conv, Linear, SpatialTransformer, Sum, leaves


def script(name):
    path = Path(__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


transformer, degradation = script("spatial_transformer"), script("degradation")


def test_digits_lie_anywhere_and_those_that_are_judged_are_of_no_training():
    data = transformer.digits_in_places(2)
    train = np.setdiff1d(np.arange(len(data.labels)), data.validation)
    assert len(train) == 2 * 1258  # 70 % of 1,797 digits, twice
    assert len(data.validation) + len(data.test_labels) == 539
    there = data.images[..., 0] > 60
    assert there.any((1, 2)).all()
    assert there.any(0).mean() > 0.95  # somewhere on the canvas each
    assert (there.sum(0) / len(there)).max() < 0.5


def test_the_network_without_a_transformer_has_no_fewer_macs():
    ours, theirs = transformer.networks()
    assert theirs.cost().macs >= ours.cost().macs
    assert theirs.cost().macs < 1.1 * ours.cost().macs
    kinds = [
        [type(each) for each, _ in leaves(network.network(), transformer.TASK.shape)] for network in (ours, theirs)
    ]
    assert kinds[0] == [SpatialTransformer, *kinds[1]]


def test_the_script_of_the_transformer_says_both_accuracies(capsys):
    transformer.main(["--times", "1", "--epochs", "1", "--seeds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(re.search(r": \d+\.\d % of 270 digits \(3\d\dK MACs", line) for line in lines)


def sums(node):
    return isinstance(node, Sum) + sum(map(sums, node.children()))


def test_the_four_networks_have_20_and_56_layers_and_shortcuts_or_none():
    task = Task(16, 3, 10)
    found = degradation.networks(task)
    for name, network in found.items():
        depth = int(name.partition("-")[2])
        three = [each for each, _ in leaves(network.network(task), task.shape) if isinstance(each, Conv | Linear)]
        assert sum(isinstance(each, Linear) or each.kernel == 3 for each in three) == depth
        assert sums(network.network(task)) == (0 if name.startswith("plain") else (depth - 2) // 2)


def test_the_script_of_degradation_trains_four_networks_once_and_draws_them(tmp_path, capsys):
    words = ["--images", "120", "--epochs", "1", "--out", str(tmp_path)]
    degradation.main(words)
    out = capsys.readouterr().out
    page = tmp_path / "degradation.html"
    assert out.splitlines()[-1] == str(page)
    for name in ("plain-20", "ResNet-20", "plain-56", "ResNet-56"):
        loss = json.loads((tmp_path / f"{name}-0.json").read_text())["loss"]
        assert re.search(rf"^{name} +\S+ +{loss[-1]:.3f} ", out, re.MULTILINE)
        assert name in page.read_text()
    times = {each: each.stat().st_mtime_ns for each in tmp_path.glob("*.json")}
    degradation.main(words)
    assert times == {each: each.stat().st_mtime_ns for each in tmp_path.glob("*.json")}
    with pytest.raises(SystemExit):
        degradation.main([*words, "--epochs", "2"])
    assert "of other images or settings" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["--help", "full", "file", None])
def test_a_bare_environment_empties_no_folder_of_other_things(given, tmp_path, monkeypatch, capsys):
    bare = script("bare_environment")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_text("a photo")
    (tmp_path / "file").write_text("a file")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["bare_environment.py", *([given] if given else [])])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(bare.__file__, run_name="__main__")
    assert sorted(tmp_path.rglob("*")) == before
    assert {"--help": 0, None: 2}.get(given, str(ended.value.code)) == ended.value.code
    assert not (tmp_path / "--help").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "pyvenv.cfg").write_text("")
    assert bare.checked(tmp_path / "old") == tmp_path / "old"
    assert bare.checked(tmp_path / "new") == tmp_path / "new"
