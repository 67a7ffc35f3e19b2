"""The loss around a trained network: `examples/loss_surface.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from estimators.trained import Trained
from searchspaces import UserError

_SCRIPT = Path(__file__).parents[1] / "examples" / "loss_surface.py"
_SPEC = importlib.util.spec_from_file_location("loss_surface", _SCRIPT)
assert _SPEC is not None
assert _SPEC.loader is not None
example = sys.modules["loss_surface"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from benchmarks.one_way import made_network

    return made_network(tmp_path_factory.mktemp("surface"))


def test_directions_have_the_norm_of_each_filter_and_leave_norms_and_biases(folder):
    module = Trained.open(folder).module()
    found = example.direction(module, 3)
    moved = {id(weight) for weight, _ in found}
    for layer in module.modules():
        for name, weight in layer.named_parameters(recurse=False):
            assert (id(weight) in moved) == (isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) and name == "weight")
    for weight, drawn in found:
        norms = drawn.flatten(1).norm(dim=1)
        assert torch.allclose(norms, weight.detach().flatten(1).norm(dim=1), rtol=1e-4)
    again, other = example.direction(module, 3), example.direction(module, 4)
    assert all(torch.equal(one, two) for (_, one), (_, two) in zip(found, again, strict=True))
    assert not torch.equal(found[0][1], other[0][1])


def test_the_middle_is_the_trained_network_and_the_surface_follows_from_the_seed(folder):
    trained = Trained.open(folder)
    losses = example.surface(trained, 3, 40, seed=1)
    images, labels = example.training_images(trained, 40)
    assert len(images) == len(labels) == 40
    want = float(functional.cross_entropy(torch.from_numpy(trained.logits(images)), torch.from_numpy(labels)))
    assert losses[1, 1] == pytest.approx(want, rel=1e-5)
    assert np.array_equal(losses, example.surface(trained, 3, 40, seed=1))
    assert not np.allclose(losses[0], example.surface(trained, 3, 40, seed=2)[0])
    module, wanted = trained.module(), torch.from_numpy(labels)
    with torch.no_grad():
        for weight, d in example.direction(module, 2):  # the first direction of seed 1
            weight += d
        moved = float(functional.cross_entropy(module(trained.scaled_images(images)), wanted))
    assert losses[1, 2] == pytest.approx(moved, rel=1e-5)


def test_two_networks_are_drawn_with_one_scale_on_a_page(folder, tmp_path, capsys):
    page = tmp_path / "surfaces.html"
    example.main([str(folder), str(folder), "--points", "3", "--images", "20", "--out", str(page)])
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    text = page.read_text()
    assert text.count('class="canvas square"') == 2
    assert "20 training images" in text


def test_other_images_than_those_of_the_training_are_refused(folder):
    trained = Trained.open(folder)
    trained.facts["data"]["fingerprint"] = "another"
    with pytest.raises(UserError, match="not those that it was trained on"):
        example.training_images(trained, 10)
