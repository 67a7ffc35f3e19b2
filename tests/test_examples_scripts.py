"""`examples/spatial_transformer.py`: its networks, its images, and a run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np

from searchspaces.layers import SpatialTransformer, leaves


def script(name):
    path = Path(__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


transformer = script("spatial_transformer")


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
